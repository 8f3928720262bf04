//! The events of a connection as steps of a sequence diagram with three lanes: the client, echogate
//! and the upstream, each explained in a sentence.

use echogate_proto::hex;

use crate::{
    format,
    i18n::{Texts, fill},
    json::Json,
    payload::Payload,
    time::Millis,
    wire,
};

/// A step of the diagram.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// The time of the event.
    pub at: Millis,
    /// The arrow; `None` for what happened at echogate itself.
    pub arrow: Option<Arrow>,
    /// A few words: the kind of frame with its flags, or the bytes.
    pub label: String,
    /// A sentence that explains the step.
    pub about: &'static str,
    /// The head of a handshake or the payload, longer than in the label; empty if the label says all.
    pub detail: String,
}

/// An arrow between two lanes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrow {
    /// Whether the lanes are echogate and the upstream, instead of the client and echogate.
    pub upstream: bool,
    /// Whether the arrow points from the client towards the upstream.
    pub to_server: bool,
}

/// The most characters or bytes of payload in a label.
const MAX_LABEL: usize = 60;
/// The most characters or bytes of payload in a detail.
const MAX_DETAIL: usize = 2000;

/// The steps of an event of a tap or recording; empty for other JSON.
pub fn steps(event: &Json, texts: &Texts) -> Vec<Step> {
    let (Some(name), Some(at)) = (event.text("event"), event.number("time")) else {
        return Vec::new();
    };
    let at = at * 1000.0;
    let arrow = event.text("direction").map(|direction| Arrow {
        upstream: event.text("side") == Some("upstream"),
        to_server: direction == "to-server",
    });
    let step = |label: String, about: &'static str, detail: String| {
        vec![Step { at, arrow, label, about, detail }]
    };
    let code = || match event.whole("code") {
        Some(code) => code.to_string(),
        None => texts.no_code.to_owned(),
    };
    match name {
        "opened" => opened(event, at, texts),
        "data" => {
            let payload = payload(event);
            let (label, about) = data(event, &payload, texts);
            step(label, about, format::preview(&payload, 0, MAX_DETAIL))
        }
        "ping" => step("Ping".to_owned(), texts.ladder_ping, shown(&payload(event))),
        "pong" => step("Pong".to_owned(), texts.ladder_pong, shown(&payload(event))),
        "close" => {
            let reason = event.text("reason").unwrap_or_default();
            step(format!("Close {} {reason}", code()), texts.ladder_close, String::new())
        }
        "end-of-input" => step("FIN".to_owned(), texts.ladder_end, String::new()),
        "reset" => step("RST".to_owned(), texts.ladder_reset, String::new()),
        "lost" => {
            let [events, bytes] = ["events", "bytes"].map(|name| event.whole(name).unwrap_or(0));
            step(texts.lost(events, bytes), texts.ladder_lost, String::new())
        }
        "closed" => {
            let reason = texts.reason(event.text("reason").unwrap_or_default());
            step(fill(texts.seen_closed, &[&reason]), texts.ladder_closed, String::new())
        }
        _ => Vec::new(),
    }
}

/// The beginning: the connection, the heads of the opening handshake, the dial of the upstream.
fn opened(event: &Json, at: Millis, texts: &Texts) -> Vec<Step> {
    let mut steps = Vec::new();
    let mut add = |arrow: Option<(bool, bool)>, label: String, about, detail: &str| {
        let arrow = arrow.map(|(upstream, to_server)| Arrow { upstream, to_server });
        steps.push(Step { at, arrow, label, about, detail: detail.to_owned() });
    };
    let peer = event.text("peer").unwrap_or("–");
    let kind = event.text("kind").unwrap_or_default();
    let kind = match wire::kind(kind) {
        Some(kind) => format::transport_name(kind),
        None => kind,
    };
    let accepted = fill(texts.ladder_from, &[kind, peer]);
    add(Some((false, true)), accepted, texts.ladder_accept, "");
    for (name, to_server, about) in
        [("request", true, texts.ladder_request), ("response", false, texts.ladder_response)]
    {
        if let Some(head) = event.text(name) {
            let line = head.lines().next().unwrap_or_default().to_owned();
            add(Some((false, to_server)), line, about, head.trim_end());
        }
    }
    if let Some(upstream) = event.text("upstream") {
        add(Some((true, true)), upstream.to_owned(), texts.ladder_dial, "");
    }
    if let Some(before) = event.whole("bytes_before").filter(|bytes| *bytes > 0) {
        let label = fill(texts.seen_before, &[&format::size(before)]);
        add(None, label, texts.ladder_before, "");
    }
    steps
}

/// The label and the explanation of payload.
fn data(event: &Json, payload: &Payload, texts: &Texts) -> (String, &'static str) {
    let kind = event.text("kind").unwrap_or_default();
    let (kind, about) = match kind {
        "text" => (texts.text, texts.ladder_text),
        "binary" => (texts.binary, texts.ladder_binary),
        "continuation" => (texts.continuation, texts.ladder_continuation),
        "datagram" => (texts.datagram, texts.ladder_datagram),
        _ => (texts.bytes_type, texts.ladder_bytes),
    };
    let mut label = kind.to_owned();
    let mut bytes = texts.bytes(payload.len() as u64);
    if let Some(frame) = event.get("frame") {
        let is = |name: &str| frame.get(name) == Some(&Json::Bool(true));
        // The header came with the first part.
        if frame.whole("offset").is_none_or(|offset| offset == 0) {
            label.push_str(if is("fin") { " · FIN" } else { texts.no_fin });
            if is("masked") {
                label.push_str(texts.has_mask);
            }
            let opcode = frame.whole("opcode").unwrap_or(0);
            label.push_str(&fill(texts.has_opcode, &[&opcode.to_string()]));
        }
        let length = frame.whole("length").unwrap_or_default();
        if length > payload.len() as u64 {
            bytes = format!("{bytes} / {}", texts.bytes(length));
        }
    }
    label = format!("{label} · {bytes}");
    if !payload.is_empty() {
        label.push_str(&format!(" · {}", shown(payload)));
    }
    (label, about)
}

fn payload(event: &Json) -> Payload {
    match event.text("text") {
        Some(text) => text.into(),
        None => hex::decode(event.text("hex").unwrap_or_default()).unwrap_or_default().into(),
    }
}

fn shown(payload: &Payload) -> String {
    format::preview(payload, 0, MAX_LABEL)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    fn read(event: &str) -> Vec<Step> {
        steps(&Json::read(event).unwrap(), Language::English.texts())
    }

    fn labels(steps: &[Step]) -> Vec<(Option<(bool, bool)>, &str)> {
        let arrow = |step: &Step| step.arrow.map(|arrow| (arrow.upstream, arrow.to_server));
        steps.iter().map(|step| (arrow(step), &*step.label)).collect()
    }

    #[test]
    fn a_connection_begins_with_its_handshake_and_its_dial() {
        let steps = read(
            r#"{"time":1.5,"connection":7,"event":"opened","kind":"websocket","target":"/ws",
            "peer":"127.0.0.1:40001","upstream":"tcp://127.0.0.1:7007",
            "request":"GET /ws HTTP/1.1\r\nHost: h\r\n\r\n",
            "response":"HTTP/1.1 101 Switching Protocols\r\n\r\n"}"#,
        );
        assert_eq!(
            labels(&steps),
            [
                (Some((false, true)), "WebSocket from 127.0.0.1:40001"),
                (Some((false, true)), "GET /ws HTTP/1.1"),
                (Some((false, false)), "HTTP/1.1 101 Switching Protocols"),
                (Some((true, true)), "tcp://127.0.0.1:7007"),
            ]
        );
        assert_eq!(steps[1].detail, "GET /ws HTTP/1.1\r\nHost: h");
        assert_eq!(steps[1].at, 1500.0);
    }

    #[test]
    fn frames_have_their_flags_and_bytes_their_text() {
        let point = r#""time":1,"connection":7,"side":"client","direction":"to-server""#;
        let frame = r#"{"fin":true,"opcode":1,"masked":true,"length":2}"#;
        let text =
            format!(r#"{{{point},"event":"data","kind":"text","frame":{frame},"text":"hi"}}"#);
        let expected = "text · FIN · mask · opcode 1 · 2 bytes · hi";
        assert_eq!(labels(&read(&text)), [(Some((false, true)), expected)]);
        let rest = r#"{"fin":true,"opcode":1,"masked":true,"length":5,"offset":3}"#;
        let part =
            format!(r#"{{{point},"event":"data","kind":"text","frame":{rest},"text":"lo"}}"#);
        let expected = "text · 2 bytes / 5 bytes · lo";
        assert_eq!(labels(&read(&part)), [(Some((false, true)), expected)]);
        let empty = format!(r#"{{{point},"event":"data","kind":"binary","hex":""}}"#);
        assert_eq!(labels(&read(&empty)), [(Some((false, true)), "binary · 0 bytes")]);
        let bytes = r#"{"time":1,"connection":7,"event":"data","side":"upstream",
            "direction":"to-client","kind":"bytes","hex":"00ff"}"#;
        assert_eq!(labels(&read(bytes)), [(Some((true, false)), "bytes · 2 bytes · 00 ff")]);
        let close = format!(r#"{{{point},"event":"close","code":4000,"reason":"done"}}"#);
        assert_eq!(labels(&read(&close)), [(Some((false, true)), "Close 4000 done")]);
        assert_eq!(labels(&read("{}")), []);
    }
}
