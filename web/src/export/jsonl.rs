//! A transcript as JSON Lines, in the form of the server's recordings
//! ([`echogate_proto::recording`]): written for export, read on import by [`super::reader`].
//!
//! Two members are the page's own: `pairing` in `opened` events, and `pinned`.

use echogate_proto::{close::CloseCode, hex, recording};

use super::{OUTCOMES, numbered, reader::Reader};
use crate::{
    close_reason::{CloseReason, Outcome},
    json::{Json, quote},
    pairing::Pairing,
    payload::Payload,
    time::Millis,
    transcript::{Direction, Entry, EntryKind, Observed, Transcript},
};

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
/// lines are skipped.
pub fn read(text: &str) -> Result<(Transcript, Pairing), usize> {
    let (mut reader, mut transcript) = (Reader::default(), Transcript::new());
    for (number, line) in (1usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let event = Json::read(line).ok_or(number)?;
        let row = reader.read(&event).ok_or(number)?;
        if let Some((at, kind)) = row {
            let id = transcript.push(at, kind);
            if event.get("pinned") == Some(&Json::Bool(true)) {
                transcript.toggle_pin(id);
            }
        }
    }
    Ok((transcript, reader.into_pairing()))
}

fn write_entry(connection: u64, entry: &Entry, pairing: &Pairing, text: &mut String) {
    let begin = |event: &str, text: &mut String| begin(entry.at, connection, event, text);
    match &entry.kind {
        EntryKind::Opened { url, protocol, .. } => {
            begin("opened", text);
            member("kind", "websocket", text);
            member("target", url, text);
            text.push_str(",\"client_has_frames\":true");
            if !protocol.is_empty() {
                member("protocol", protocol, text);
            }
            write_pairing(pairing, text);
        }
        EntryKind::Sent(payload, _) => {
            begin("data", text);
            write_message(Direction::Sent, payload, text);
        }
        EntryKind::Received(payload, _) => {
            begin("data", text);
            write_message(Direction::Received, payload, text);
        }
        EntryKind::HalfClosed { by_us } => {
            begin("data", text);
            write_tap_point(if *by_us { Direction::Sent } else { Direction::Received }, text);
            text.push_str(",\"kind\":\"binary\",\"hex\":\"\"");
        }
        EntryKind::Ended(close) => {
            let CloseReason { outcome, url, code, reason, .. } = close;
            let by = match outcome {
                Outcome::ClosedHere | Outcome::ClosedHereUnanswered => Some(Direction::Sent),
                Outcome::ClosedByPeer => Some(Direction::Received),
                _ => None,
            };
            if let Some(direction) = by {
                begin("close", text);
                let code = (*code != CloseCode::NO_STATUS).then_some(code.0);
                write_close(direction, code, reason, text);
                text.push_str("}\n");
            }
            begin("closed", text);
            let named = OUTCOMES.iter().find(|(named, _)| named == outcome);
            member("reason", named.map_or("", |(_, name)| name), text);
            if by.is_none() {
                text.push_str(&format!(",\"code\":{}", code.0));
                member("error", reason, text);
                member("target", url, text);
            }
        }
        EntryKind::Observed(event) => {
            begin(event_name(event), text);
            write_observed(event, text);
        }
    }
    text.push_str("}\n");
}

/// The beginning of an event, with the members that all events have.
fn begin(at: Millis, connection: u64, event: &str, text: &mut String) {
    let micros = (at * 1000.0).round() as u64;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    text.push_str(&format!("{{\"time\":{seconds}.{micros:06}"));
    text.push_str(&format!(",\"connection\":{connection},\"event\":\"{event}\""));
}

fn event_name(event: &Observed) -> &'static str {
    match event {
        Observed::Ping(..) => "ping",
        Observed::Pong(..) => "pong",
        Observed::Close(..) => "close",
        Observed::EndOfInput(_) => "end-of-input",
        Observed::Reset(_) => "reset",
        Observed::Lost(..) | Observed::Before(_) => "lost",
        Observed::Closed(_) => "closed",
    }
}

fn write_observed(event: &Observed, text: &mut String) {
    match event {
        Observed::Ping(direction, payload) | Observed::Pong(direction, payload) => {
            write_tap_point(*direction, text);
            write_payload(payload, text);
        }
        Observed::Close(direction, code, reason) => write_close(*direction, *code, reason, text),
        Observed::EndOfInput(direction) | Observed::Reset(direction) => {
            write_tap_point(*direction, text);
        }
        Observed::Lost(events, bytes) => {
            text.push_str(&format!(",\"events\":{events},\"bytes\":{bytes}"));
        }
        Observed::Before(bytes) => text.push_str(&format!(",\"events\":0,\"bytes\":{bytes}")),
        Observed::Closed(reason) => member("reason", reason, text),
    }
}

fn member(name: &str, value: &str, text: &mut String) {
    text.push_str(&format!(",\"{name}\":"));
    quote(value, text);
}

fn write_message(direction: Direction, payload: &Payload, text: &mut String) {
    write_tap_point(direction, text);
    member("kind", payload.kind(), text);
    write_payload(payload, text);
}

/// The side and the direction of an event.
fn write_tap_point(direction: Direction, text: &mut String) {
    let direction = match direction {
        Direction::Sent => "to-server",
        Direction::Received => "to-client",
    };
    text.push_str(&format!(",\"side\":\"client\",\"direction\":\"{direction}\""));
}

fn write_payload(payload: &Payload, text: &mut String) {
    match recording::Payload::text(payload.bytes()) {
        Some(written) => member("text", written, text),
        None => {
            let digits: String = payload.bytes().iter().copied().flat_map(hex::pair).collect();
            member("hex", &digits, text);
        }
    }
}

fn write_close(direction: Direction, code: Option<u16>, reason: &str, text: &mut String) {
    write_tap_point(direction, text);
    let code = code.map_or_else(|| "null".to_owned(), |code| code.to_string());
    text.push_str(&format!(",\"code\":{code}"));
    member("reason", reason, text);
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{session::Session, transcript::Delivery};
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
            (text(), text()).prop_map(|(url, protocol)| EntryKind::Opened {
                url,
                protocol,
                refused: false
            }),
        ]
    }

    fn any_end() -> impl Strategy<Value = EntryKind> {
        let code = prop_oneof![Just(CloseCode::POLICY.0), any::<u16>()];
        (prop::sample::select(&OUTCOMES[..]), code, "\\PC{0,9}").prop_map(
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
        let opened =
            EntryKind::Opened { url: "ws://h/".into(), protocol: String::new(), refused: false };
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
            let frame = format!(r#"{{"fin":{fin},"opcode":1,"length":{}}}"#, text.len());
            let point = r#""side":"client","direction":"to-server""#;
            event(&format!(r#""data",{point},"kind":"{kind}","frame":{frame},"text":"{text}""#))
        };
        let text = [
            event(r#""opened","target":"/ws","peer":"127.0.0.1:9""#),
            part("text", false, "he"),
            event(r#""ping","side":"client","direction":"to-client","text":"""#),
            part("continuation", true, "llo"),
            event(r#""data","side":"upstream","direction":"to-server","kind":"bytes","text":"x""#),
            event(r#""close","side":"client","direction":"to-client","code":null"#),
            event(r#""closed","reason":"closed by the service""#),
        ];
        let (transcript, _) = read(&text.join("\n")).unwrap();
        let kinds: Vec<_> = transcript.rows().map(|row| row.kind.clone()).collect();
        assert_eq!(
            kinds,
            [
                EntryKind::Opened { url: "/ws".into(), protocol: String::new(), refused: false },
                EntryKind::Observed(Observed::Ping(Direction::Received, vec![].into())),
                EntryKind::Sent("hello".into(), Delivery::Sent),
                EntryKind::Observed(Observed::Close(Direction::Received, None, String::new())),
                EntryKind::Observed(Observed::Closed("closed by the service".into())),
            ]
        );
        let again = read(&write(&transcript, &Pairing::None)).unwrap().0;
        assert_eq!(again.len(), transcript.len() - 1, "a Close of the page is part of the end");
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
