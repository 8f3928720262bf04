//! A transcript as JSON Lines, to be kept, sent to somebody, and read back.
//!
//! A row is an object: `at` in milliseconds since 1970, and what happened. Payloads stand as
//! `{"text": …}` or `{"hex": "00 61 ff"}`.

use echogate_proto::{close::CloseCode, hex};

use crate::{
    ending::{Ending, How},
    json::{Json, quote},
    payload::Payload,
    transcript::{Fate, Transcript, What},
};

/// The ways to end, by name.
const ENDS: [(How, &str); 7] = [
    (How::NotTried, "not-tried"),
    (How::CalledOff, "called-off"),
    (How::NotOpened, "not-opened"),
    (How::ByUs, "by-us"),
    (How::ByUsUnanswered, "by-us-unanswered"),
    (How::ByPeer, "by-peer"),
    (How::Broken, "broken"),
];

/// The whole transcript, a line for each row.
pub fn write(transcript: &Transcript) -> String {
    let mut text = String::new();
    for entry in transcript.rows() {
        text.push_str(&format!("{{\"at\":{}", entry.at as u64));
        write_what(&entry.what, &mut text);
        if transcript.is_pinned(entry.id) {
            text.push_str(",\"pinned\":true");
        }
        text.push_str("}\n");
    }
    text
}

/// Reads back what [`write()`] wrote; the number of the line that is none of it, from 1,
/// otherwise. Empty lines do no harm.
pub fn read(text: &str) -> Result<Transcript, usize> {
    let mut transcript = Transcript::new();
    for (number, line) in (1usize..).zip(text.lines()).filter(|(_, line)| !line.trim().is_empty()) {
        let row = Json::read(line).ok_or(number)?;
        let at = row.number("at").ok_or(number)?;
        let id = transcript.push(at, read_what(&row).ok_or(number)?);
        if row.get("pinned") == Some(&Json::Bool(true)) {
            transcript.toggle_pin(id);
        }
    }
    Ok(transcript)
}

fn write_what(what: &What, text: &mut String) {
    let mut member = |name: &str, value: &str| {
        text.push_str(&format!(",\"{name}\":"));
        quote(value, text);
    };
    match what {
        What::Opened { url, protocol } => {
            member("opened", url);
            if !protocol.is_empty() {
                member("protocol", protocol);
            }
        }
        What::HalfClosed { by_us } => member("input_ended_by", if *by_us { "us" } else { "them" }),
        What::Ended(Ending { how, code, reason, .. }) => {
            let name = ENDS.iter().find(|(named, _)| named == how).map_or("", |(_, name)| name);
            text.push_str(&format!(
                ",\"closed\":{{\"code\":{},\"how\":\"{name}\",\"reason\":",
                code.0
            ));
            quote(reason, text);
            text.push('}');
        }
        What::Sent(..) | What::Received(_) => {}
    }
    for (name, payload) in [("sent", what.sent()), ("received", what.received())] {
        if let Some(payload) = payload {
            text.push_str(&format!(",\"{name}\":"));
            write_payload(payload, text);
        }
    }
    if let Some(span) = what.round_trip() {
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

fn read_what(row: &Json) -> Option<What> {
    if let Some(closed) = row.get("closed") {
        let name = closed.text("how")?;
        let (how, _) = *ENDS.iter().find(|(_, known)| *known == name)?;
        let code = CloseCode(closed.whole("code")?.try_into().ok()?);
        let reason = closed.text("reason")?.to_owned();
        return Some(What::Ended(Ending { how, code, reason, unsent: 0, unanswered: 0 }));
    }
    if let Some(url) = row.text("opened") {
        let protocol = row.text("protocol").unwrap_or_default().to_owned();
        return Some(What::Opened { url: url.to_owned(), protocol });
    }
    if let Some(by) = row.text("input_ended_by") {
        return Some(What::HalfClosed { by_us: by == "us" });
    }
    match (row.get("sent"), row.get("received")) {
        (Some(sent), None) => Some(What::Sent(read_payload(sent)?, Fate::Unanswered)),
        (Some(sent), Some(reply)) => {
            let round_trip = row.number("round_trip_us").unwrap_or(0.0) / 1000.0;
            let reply = read_payload(reply)?;
            Some(What::Sent(read_payload(sent)?, Fate::Answered { reply, round_trip }))
        }
        (None, Some(received)) => Some(What::Received(read_payload(received)?)),
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

    fn any_what() -> impl Strategy<Value = What> {
        let text = "\\PC{0,9}";
        let payload = prop_oneof![
            text.prop_map(|text| Payload::from(&*text)),
            prop::collection::vec(any::<u8>(), 0..9).prop_map(Payload::from),
        ];
        let ending = (prop::sample::select(&ENDS[..]), any::<u16>(), text);
        prop_oneof![
            payload.clone().prop_map(What::Received),
            (text, text).prop_map(|(url, protocol)| What::Opened { url, protocol }),
            any::<bool>().prop_map(|by_us| What::HalfClosed { by_us }),
            ending.prop_map(|((how, _), code, reason)| What::Ended(Ending {
                how,
                code: CloseCode(code),
                reason,
                unsent: 0,
                unanswered: 0,
            })),
            (payload.clone(), proptest::option::of((payload, 0..9000u32))).prop_map(
                |(sent, reply)| {
                    let answered = |(reply, micros)| Fate::Answered {
                        reply,
                        round_trip: f64::from(micros) / 1000.0,
                    };
                    What::Sent(sent, reply.map_or(Fate::Unanswered, answered))
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back_the_same(
            rows in prop::collection::vec((0..1u64 << 40, any_what(), any::<bool>()), 0..9),
        ) {
            let mut transcript = Transcript::new();
            for (at, what, pin) in rows {
                let id = transcript.push(at as f64, what);
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
    fn a_row_is_easy_to_read_for_other_programs() {
        let mut transcript = Transcript::new();
        let answered = Fate::Answered { reply: "A".into(), round_trip: 0.5 };
        transcript.push(1.0, What::Sent("a".into(), answered));
        transcript.push(2.0, What::Received(vec![0, 255].into()));
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
    fn the_first_line_that_is_wrong_is_named() {
        let right = r#"{"at":1,"sent":{"text":"a"}}"#;
        for wrong in ["{}", "hello", r#"{"at":1}"#, r#"{"at":1,"received":{"hex":"0"}}"#] {
            assert_eq!(read(&format!("{right}\n\n{wrong}\n")).unwrap_err(), 3, "{wrong}");
        }
        assert!(read("").unwrap().is_empty());
    }
}
