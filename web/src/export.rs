//! A transcript as JSON Lines: written for export, read on import.
//!
//! A row is an object: `at` in milliseconds since 1970, and the event. Payloads are
//! `{"text": …}` or `{"hex": "00 61 ff"}`.

use echogate_proto::{close::CloseCode, hex};

use crate::{
    close_reason::{CloseReason, Outcome},
    json::{Json, quote},
    payload::Payload,
    transcript::{Delivery, EntryKind, Transcript},
};

/// The names of outcomes in the file.
const OUTCOMES: [(Outcome, &str); 7] = [
    (Outcome::Rejected, "not-tried"),
    (Outcome::Cancelled, "called-off"),
    (Outcome::NotOpened, "not-opened"),
    (Outcome::ClosedHere, "by-us"),
    (Outcome::ClosedHereUnanswered, "by-us-unanswered"),
    (Outcome::ClosedByPeer, "by-peer"),
    (Outcome::Lost, "broken"),
];

/// Writes a transcript, a line for each row.
pub fn write(transcript: &Transcript) -> String {
    let mut text = String::new();
    for entry in transcript.rows() {
        text.push_str(&format!("{{\"at\":{}", entry.at as u64));
        write_kind(&entry.kind, &mut text);
        if transcript.is_pinned(entry.id) {
            text.push_str(",\"pinned\":true");
        }
        text.push_str("}\n");
    }
    text
}

/// Reads the output of [`write()`]; the error is the number, from 1, of the first line that is not
/// a row. Empty lines are skipped.
pub fn read(text: &str) -> Result<Transcript, usize> {
    let mut transcript = Transcript::new();
    for (number, line) in (1usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let row = Json::read(line).ok_or(number)?;
        let at = row.number("at").ok_or(number)?;
        let id = transcript.push(at, read_kind(&row).ok_or(number)?);
        if row.get("pinned") == Some(&Json::Bool(true)) {
            transcript.toggle_pin(id);
        }
    }
    Ok(transcript)
}

fn write_kind(kind: &EntryKind, text: &mut String) {
    let mut member = |name: &str, value: &str| {
        text.push_str(&format!(",\"{name}\":"));
        quote(value, text);
    };
    match kind {
        EntryKind::Opened { url, protocol } => {
            member("opened", url);
            if !protocol.is_empty() {
                member("protocol", protocol);
            }
        }
        EntryKind::HalfClosed { by_us } => {
            member("input_ended_by", if *by_us { "us" } else { "them" });
        }
        EntryKind::Ended(CloseReason { outcome, code, reason, .. }) => {
            let name =
                OUTCOMES.iter().find(|(named, _)| named == outcome).map_or("", |(_, name)| name);
            text.push_str(&format!(
                ",\"closed\":{{\"code\":{},\"how\":\"{name}\",\"reason\":",
                code.0
            ));
            quote(reason, text);
            text.push('}');
        }
        EntryKind::Sent(..) | EntryKind::Received(_) => {}
    }
    for (name, payload) in [("sent", kind.sent()), ("received", kind.received())] {
        if let Some(payload) = payload {
            text.push_str(&format!(",\"{name}\":"));
            write_payload(payload, text);
        }
    }
    if let Some(span) = kind.round_trip() {
        text.push_str(&format!(",\"round_trip_us\":{}", (span * 1000.0).round() as u64));
    }
}

fn write_payload(payload: &Payload, text: &mut String) {
    match payload {
        Payload::Text(written) => {
            text.push_str("{\"text\":");
            quote(written, text);
        }
        Payload::Binary(bytes) => {
            text.push_str("{\"hex\":");
            quote(&hex::encode(bytes), text);
        }
    }
    text.push('}');
}

fn read_kind(row: &Json) -> Option<EntryKind> {
    if let Some(closed) = row.get("closed") {
        let name = closed.text("how")?;
        let (outcome, _) = *OUTCOMES.iter().find(|(_, known)| *known == name)?;
        let code = CloseCode(closed.whole("code")?.try_into().ok()?);
        let reason = closed.text("reason")?.to_owned();
        return Some(EntryKind::Ended(CloseReason {
            outcome,
            code,
            reason,
            unsent: 0,
            unanswered: 0,
        }));
    }
    if let Some(url) = row.text("opened") {
        let protocol = row.text("protocol").unwrap_or_default().to_owned();
        return Some(EntryKind::Opened { url: url.to_owned(), protocol });
    }
    if let Some(by) = row.text("input_ended_by") {
        return Some(EntryKind::HalfClosed { by_us: by == "us" });
    }
    match (row.get("sent"), row.get("received")) {
        (Some(sent), None) => Some(EntryKind::Sent(read_payload(sent)?, Delivery::Unanswered)),
        (Some(sent), Some(reply)) => {
            let round_trip = row.number("round_trip_us").unwrap_or(0.0) / 1000.0;
            let reply = read_payload(reply)?;
            Some(EntryKind::Sent(read_payload(sent)?, Delivery::Answered { reply, round_trip }))
        }
        (None, Some(received)) => Some(EntryKind::Received(read_payload(received)?)),
        (None, None) => None,
    }
}

fn read_payload(it: &Json) -> Option<Payload> {
    match it.text("text") {
        Some(text) => Some(Payload::from(text)),
        None => hex::decode(it.text("hex")?).ok().map(Payload::from),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_kind() -> impl Strategy<Value = EntryKind> {
        let text = "\\PC{0,9}";
        let payload = prop_oneof![
            text.prop_map(|text| Payload::from(&*text)),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Payload::from),
        ];
        let cause = (prop::sample::select(&OUTCOMES[..]), any::<u16>(), text);
        prop_oneof![
            payload.clone().prop_map(EntryKind::Received),
            (text, text).prop_map(|(url, protocol)| EntryKind::Opened { url, protocol }),
            any::<bool>().prop_map(|by_us| EntryKind::HalfClosed { by_us }),
            cause.prop_map(|((outcome, _), code, reason)| EntryKind::Ended(CloseReason {
                outcome,
                code: CloseCode(code),
                reason,
                unsent: 0,
                unanswered: 0,
            })),
            (payload.clone(), proptest::option::of((payload, 0..9000u32))).prop_map(
                |(sent, reply)| {
                    let answered = |(reply, micros)| Delivery::Answered {
                        reply,
                        round_trip: f64::from(micros) / 1000.0,
                    };
                    EntryKind::Sent(sent, reply.map_or(Delivery::Unanswered, answered))
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn an_exported_transcript_is_read_back_the_same(
            rows in prop::collection::vec((0..1u64 << 40, any_kind(), any::<bool>()), 0..9),
        ) {
            let mut transcript = Transcript::new();
            for (at, kind, pin) in rows {
                let id = transcript.push(at as f64, kind);
                if pin {
                    transcript.toggle_pin(id);
                }
            }
            let text = write(&transcript);
            let again = read(&text).unwrap();
            prop_assert!(again.rows().eq(transcript.rows()));
            prop_assert_eq!(write(&again), text);
        }
    }

    #[test]
    fn rows_are_plain_objects() {
        let mut transcript = Transcript::new();
        let answered = Delivery::Answered { reply: "A".into(), round_trip: 0.5 };
        transcript.push(1.0, EntryKind::Sent("a".into(), answered));
        transcript.push(2.0, EntryKind::Received(vec![0, 255].into()));
        assert_eq!(
            write(&transcript),
            concat!(
                r#"{"at":1,"sent":{"text":"a"},"received":{"text":"A"},"round_trip_us":500}"#,
                "\n",
                r#"{"at":2,"received":{"hex":"00 ff"}}"#,
                "\n"
            )
        );
    }

    #[test]
    fn the_first_invalid_line_is_named() {
        let right = r#"{"at":1,"sent":{"text":"a"}}"#;
        for wrong in ["{}", "hello", r#"{"at":1}"#, r#"{"at":1,"received":{"hex":"0"}}"#] {
            assert_eq!(read(&format!("{right}\n\n{wrong}\n")).unwrap_err(), 3, "{wrong}");
        }
        assert!(read("").unwrap().is_empty());
    }
}
