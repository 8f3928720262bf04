//! A transcript as JSON Lines, in the form of the server's recordings
//! ([`echogate_proto::recording`]): written for export, read on import. A recording of the server is
//! read as the transcript of its clients.
//!
//! Members of the page's own: `pairing` of an opened connection, and `pinned`.

use echogate_proto::{close::CloseCode, hex};

use super::numbered;
use crate::{
    close_reason::{CloseReason, Outcome},
    json::{Json, quote},
    pairing::Pairing,
    payload::Payload,
    session::{HALF_CLOSE, is_end_of_input},
    time::Millis,
    transcript::{Delivery, Direction, Entry, EntryKind, Transcript},
};

/// The reasons of `closed` events.
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Rejected, "URL rejected by the browser"),
    (Outcome::Cancelled, "cancelled by the page"),
    (Outcome::NotOpened, "opening handshake failed"),
    (Outcome::ClosedHere, "closed by the page"),
    (Outcome::ClosedHereUnanswered, "closed by the page, no Close frame from the server"),
    (Outcome::ClosedByPeer, "closed by the server"),
    (Outcome::Lost, "connection lost, no Close frame"),
];

/// Writes a transcript whose messages are paired by this rule.
pub fn write(transcript: &Transcript, pairing: &Pairing) -> String {
    let mut text = String::new();
    for (connection, entry) in numbered(transcript) {
        let start = text.len();
        write_entry(connection, entry, pairing, &mut text);
        if transcript.is_pinned(entry.id) && text.len() > start {
            text.truncate(text.len() - "}\n".len());
            text.push_str(",\"pinned\":true}\n");
        }
    }
    text
}

/// Reads JSON Lines; the error is the number, from 1, of the first line that is not an event. Empty
/// lines are skipped, and so are events that a transcript does not have, such as Pings, and those of
/// the upstream's side.
pub fn read(text: &str) -> Result<(Transcript, Pairing), usize> {
    let mut reader = Reader::default();
    for (number, line) in (1usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        Json::read(line).and_then(|event| reader.read(&event)).ok_or(number)?;
    }
    Ok((reader.transcript, reader.pairing))
}

fn write_entry(connection: u64, entry: &Entry, pairing: &Pairing, text: &mut String) {
    let begin = |event: &str, text: &mut String| {
        text.push_str("{\"time\":");
        let micros = (entry.at * 1000.0).round() as u64;
        text.push_str(&format!("{}.{:06}", micros / 1_000_000, micros % 1_000_000));
        text.push_str(&format!(",\"connection\":{connection},\"event\":\"{event}\""));
    };
    let member = |name: &str, value: &str, text: &mut String| {
        text.push_str(&format!(",\"{name}\":"));
        quote(value, text);
    };
    match &entry.kind {
        EntryKind::Opened { url, protocol } => {
            begin("opened", text);
            member("kind", "websocket", text);
            member("target", url, text);
            text.push_str(",\"client_has_frames\":true");
            if !protocol.is_empty() {
                member("protocol", protocol, text);
            }
            write_pairing(pairing, text);
        }
        EntryKind::Sent(..) | EntryKind::Received(..) | EntryKind::HalfClosed { .. } => {
            begin("data", text);
            let end = Payload::from(Vec::new());
            let by_us = if matches!(entry.kind, EntryKind::HalfClosed { by_us: true }) {
                Direction::Sent
            } else {
                Direction::Received
            };
            let (direction, payload) = entry.kind.message().unwrap_or((by_us, &end));
            member("side", "client", text);
            member("direction", name_of(direction), text);
            member("kind", payload.kind(), text);
            match payload.as_text().filter(|text| !text.chars().any(is_hidden)) {
                Some(written) => member("text", written, text),
                None => {
                    let digits: String =
                        payload.bytes().iter().copied().flat_map(hex::pair).collect();
                    member("hex", &digits, text);
                }
            }
        }
        EntryKind::Ended(close) => {
            let CloseReason { outcome, code, reason, .. } = close;
            let by = match outcome {
                Outcome::ClosedHere | Outcome::ClosedHereUnanswered => Some(Direction::Sent),
                Outcome::ClosedByPeer => Some(Direction::Received),
                _ => None,
            };
            if let Some(direction) = by {
                begin("close", text);
                member("side", "client", text);
                member("direction", name_of(direction), text);
                let code = (*code != CloseCode::NO_STATUS).then(|| code.0.to_string());
                text.push_str(&format!(",\"code\":{}", code.as_deref().unwrap_or("null")));
                member("reason", reason, text);
                text.push_str("}\n");
            }
            begin("closed", text);
            let named = OUTCOMES.iter().find(|(named, _)| named == outcome);
            member("reason", named.map_or("", |(_, name)| name), text);
            if by.is_none() {
                text.push_str(&format!(",\"code\":{}", code.0));
                member("error", reason, text);
                member("target", &close.url, text);
            }
        }
    }
    text.push_str("}\n");
}

/// Whether the form of recordings has a text with this character as hexadecimal digits.
fn is_hidden(c: char) -> bool {
    c.is_control() && !matches!(c, '\t' | '\r' | '\n')
}

fn name_of(direction: Direction) -> &'static str {
    match direction {
        Direction::Sent => "to-server",
        Direction::Received => "to-client",
    }
}

fn write_pairing(pairing: &Pairing, text: &mut String) {
    match pairing {
        Pairing::None => {}
        Pairing::Field(name) => {
            text.push_str(",\"pairing\":{\"field\":");
            quote(name, text);
            text.push('}');
        }
        named => text.push_str(&format!(",\"pairing\":\"{}\"", named.name())),
    }
}

fn read_pairing(opened: &Json) -> Pairing {
    let Some(pairing) = opened.get("pairing") else { return Pairing::None };
    match pairing.text("field") {
        Some(name) => Pairing::Field(name.to_owned()),
        None => pairing.as_text().and_then(Pairing::of_name).unwrap_or_default(),
    }
}

#[derive(Default)]
struct Reader {
    transcript: Transcript,
    pairing: Pairing,
    protocol: String,
    url: String,
    /// The latest Close frame.
    close: Option<(Direction, CloseCode, String)>,
    /// A message whose frames have not all been read, and its direction.
    partial: Option<(Direction, bool, Vec<u8>)>,
}

impl Reader {
    /// Reads an event; `None` if it is not one.
    fn read(&mut self, event: &Json) -> Option<()> {
        let at = event.number("time")? * 1000.0;
        event.number("connection")?;
        let name = event.text("event")?;
        if event.text("side") == Some("upstream") {
            return Some(());
        }
        let kind = match name {
            "opened" => {
                self.pairing = read_pairing(event);
                self.protocol = event.text("protocol").unwrap_or_default().to_owned();
                self.close = None;
                self.url = event.text("target")?.to_owned();
                EntryKind::Opened { url: self.url.clone(), protocol: self.protocol.clone() }
            }
            "data" => match self.data(event)? {
                Some(kind) => kind,
                None => return Some(()),
            },
            "close" => {
                let code = event.whole("code").and_then(|code| code.try_into().ok());
                let code = code.map_or(CloseCode::NO_STATUS, CloseCode);
                let reason = event.text("reason").unwrap_or_default().to_owned();
                // The first Close frame is that of the side that closes.
                self.close.get_or_insert((direction(event)?, code, reason));
                return Some(());
            }
            "closed" => EntryKind::Ended(self.closed(event)?),
            "ping" | "pong" | "end-of-input" | "reset" | "lost" => return Some(()),
            _ => return None,
        };
        self.push(at, kind, event);
        Some(())
    }

    fn push(&mut self, at: Millis, kind: EntryKind, event: &Json) {
        let id = self.transcript.push(at, kind);
        if event.get("pinned") == Some(&Json::Bool(true)) {
            self.transcript.toggle_pin(id);
        }
    }

    /// The message that an event completes.
    fn data(&mut self, event: &Json) -> Option<Option<EntryKind>> {
        let direction = direction(event)?;
        let bytes = match event.text("text") {
            Some(text) => text.as_bytes().to_vec(),
            None => hex::decode(event.text("hex")?).ok()?,
        };
        let length = bytes.len() as u64;
        let (mut is_text, mut all) = (event.text("kind")? == "text", bytes);
        if let Some(frame) = event.get("frame") {
            if let Some((_, was_text, before)) = self.partial.take_if(|it| it.0 == direction) {
                is_text = was_text;
                all.splice(0..0, before);
            }
            let end = frame.whole("offset").unwrap_or(0) + length;
            if frame.get("fin") != Some(&Json::Bool(true)) || end < frame.whole("length")? {
                self.partial = Some((direction, is_text, all));
                return Some(None);
            }
        }
        let text = if is_text { str::from_utf8(&all).ok().map(Payload::from) } else { None };
        let payload = text.unwrap_or_else(|| Payload::from(all));
        Some(Some(match direction {
            _ if self.protocol == HALF_CLOSE && is_end_of_input(&payload) => {
                EntryKind::HalfClosed { by_us: direction == Direction::Sent }
            }
            Direction::Sent => EntryKind::Sent(payload, Delivery::Sent),
            Direction::Received => EntryKind::Received(payload, None),
        }))
    }

    fn closed(&mut self, event: &Json) -> Option<CloseReason> {
        let text = event.text("reason")?;
        let close = self.close.take();
        let by = close.as_ref().map(|(direction, ..)| *direction);
        let known = OUTCOMES.iter().find(|(_, name)| *name == text);
        let outcome = known.map_or(
            match by {
                Some(Direction::Sent) => Outcome::ClosedHere,
                Some(Direction::Received) => Outcome::ClosedByPeer,
                None => Outcome::Lost,
            },
            |(outcome, _)| *outcome,
        );
        let (code, reason) = close.map_or_else(
            || {
                let code = event.whole("code").and_then(|code| code.try_into().ok());
                let error = event.text("error").unwrap_or_default().to_owned();
                (code.map_or(CloseCode::ABNORMAL, CloseCode), error)
            },
            |(_, code, reason)| (code, reason),
        );
        let url = event.text("target").unwrap_or(&self.url).to_owned();
        Some(CloseReason { outcome, url, code, reason, unsent: 0, unanswered: 0 })
    }
}

fn direction(event: &Json) -> Option<Direction> {
    match event.text("direction")? {
        "to-server" => Some(Direction::Sent),
        "to-client" => Some(Direction::Received),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::session::Session;
    use proptest::prelude::*;

    fn any_kind() -> impl Strategy<Value = EntryKind> {
        let text = || "\\PC{0,9}";
        let payload = prop_oneof![
            any::<String>().prop_map(|text| Payload::from(&*text)),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Payload::from),
        ];
        prop_oneof![
            payload.clone().prop_map(|payload| EntryKind::Received(payload, None)),
            payload.prop_map(|payload| EntryKind::Sent(payload, Delivery::Sent)),
            (text(), text()).prop_map(|(url, protocol)| EntryKind::Opened { url, protocol }),
        ]
    }

    fn any_end() -> impl Strategy<Value = EntryKind> {
        (prop::sample::select(&OUTCOMES[..]), any::<u16>(), "\\PC{0,9}").prop_map(
            |((outcome, _), code, reason)| {
                let code = CloseCode(code);
                let url = String::new();
                EntryKind::Ended(CloseReason {
                    outcome,
                    url,
                    code,
                    reason,
                    unsent: 0,
                    unanswered: 0,
                })
            },
        )
    }

    proptest! {
        #[test]
        fn an_exported_transcript_is_read_back_the_same(
            rows in prop::collection::vec((0..1u64 << 40, any_kind(), any::<bool>()), 0..9),
            end in any_end(),
        ) {
            let mut transcript = Transcript::new();
            for (at, kind, pin) in rows {
                let id = transcript.push(at as f64, kind);
                if pin {
                    transcript.toggle_pin(id);
                }
            }
            // A connection that was open has its URL in the row of its beginning.
            let mut end = end;
            let opened = transcript.rows().filter_map(|row| match &row.kind {
                EntryKind::Opened { url, .. } => Some(url.clone()),
                _ => None,
            });
            let url = { opened }.next_back().unwrap_or_default();
            if let EntryKind::Ended(reason) = &mut end {
                reason.url = url;
            }
            transcript.push(1.0, end);
            let text = write(&transcript, &Pairing::None);
            let (again, _) = read(&text).unwrap();
            let rows: Vec<_> = again.rows().map(|row| (&row.kind, again.is_pinned(row.id))).collect();
            let before: Vec<_> =
                transcript.rows().map(|row| (&row.kind, transcript.is_pinned(row.id))).collect();
            prop_assert_eq!(rows, before);
            prop_assert_eq!(write(&again, &Pairing::None), text);
        }
    }

    #[test]
    fn a_row_is_an_event_of_a_recording() {
        let mut transcript = Transcript::new();
        let opened = EntryKind::Opened { url: "ws://h/".into(), protocol: String::new() };
        transcript.push(1250.0, opened);
        transcript.push(1500.0, EntryKind::Sent("a".into(), Delivery::Answered(2)));
        transcript.push(2000.0, EntryKind::Received(vec![0, 255].into(), None));
        transcript.push(2000.0, EntryKind::Sent("b".into(), Delivery::NotSent));
        let text = write(&transcript, &Pairing::Order);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(
            lines,
            [
                concat!(
                    r#"{"time":1.250000,"connection":1,"event":"opened","kind":"websocket","#,
                    r#""target":"ws://h/","client_has_frames":true,"pairing":"order"}"#
                ),
                concat!(
                    r#"{"time":1.500000,"connection":1,"event":"data","side":"client","#,
                    r#""direction":"to-server","kind":"text","text":"a"}"#
                ),
                concat!(
                    r#"{"time":2.000000,"connection":1,"event":"data","side":"client","#,
                    r#""direction":"to-client","kind":"binary","hex":"00ff"}"#
                ),
            ]
        );
        let (again, pairing) = read(&text).unwrap();
        assert_eq!(Session::from_transcript(again, pairing).stats().round_trips.count(), 1);
    }

    #[test]
    fn frames_of_a_recording_are_messages_and_its_upstream_is_left_out() {
        let event = |rest: &str| format!(r#"{{"time":1,"connection":7,"event":{rest}}}"#);
        let part = |kind: &str, fin: bool, text: &str| {
            event(&format!(
                r#""data","side":"client","direction":"to-server","kind":"{kind}",
                "frame":{{"fin":{fin},"opcode":1,"length":{}}},"text":"{text}""#,
                text.len()
            ))
            .replace('\n', "")
        };
        let text = [
            part("text", false, "he"),
            event(r#""ping","side":"client","direction":"to-client","text":"""#),
            part("continuation", true, "llo"),
            event(r#""data","side":"upstream","direction":"to-server","kind":"bytes","text":"x""#),
            event(r#""close","side":"client","direction":"to-client","code":null"#),
            event(r#""closed","reason":"closed by the service""#),
        ];
        let (transcript, _) = read(&text.join("\n")).unwrap();
        let kinds: Vec<_> = transcript.rows().map(|row| &row.kind).collect();
        let end = CloseReason {
            outcome: Outcome::ClosedByPeer,
            url: String::new(),
            code: CloseCode::NO_STATUS,
            reason: String::new(),
            unsent: 0,
            unanswered: 0,
        };
        let hello = EntryKind::Sent("hello".into(), Delivery::Sent);
        assert_eq!(kinds, [&hello, &EntryKind::Ended(end)]);
    }

    #[test]
    fn the_first_invalid_line_is_named() {
        let right = r#"{"time":1,"connection":1,"event":"closed","reason":""}"#;
        for wrong in ["{}", "hello", r#"{"time":1}"#, r#"{"time":1,"connection":1,"event":"x"}"#] {
            assert_eq!(read(&format!("{right}\n\n{wrong}\n")).unwrap_err(), 3, "{wrong}");
        }
        assert!(read("").unwrap().0.is_empty());
    }
}
