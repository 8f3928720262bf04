//! A transcript as an HTTP archive (HAR 1.2) with `_webSocketMessages`, as Chromium writes it.

use super::numbered;
use crate::{
    base64,
    json::quote,
    payload::Payload,
    time::Millis,
    transcript::{Direction, EntryKind, Transcript},
};

/// Writes the connections of a transcript; `iso` writes a time in the form of ISO 8601.
pub fn write(transcript: &Transcript, version: &str, iso: impl Fn(Millis) -> String) -> String {
    let mut text = format!(
        "{{\"log\":{{\"version\":\"1.2\",\"creator\":{{\"name\":\"echogate\",\"version\":\"{version}\"}},\
         \"entries\":["
    );
    let (mut current, mut has_message) = (0, false);
    for (connection, entry) in numbered(transcript) {
        if connection != current {
            text.push_str(match current {
                0 => "\n",
                _ => "]},\n",
            });
            let (url, status) = match &entry.kind {
                EntryKind::Opened { url, .. } => (&**url, "101"),
                // An attempt that failed: developer tools write 0 for it.
                EntryKind::Ended(reason) => (&*reason.url, "0"),
                _ => ("", "101"),
            };
            begin(&mut text, url, status, &iso(entry.at));
            (current, has_message) = (connection, false);
        }
        if let Some((direction, payload)) = entry.kind.message() {
            text.push_str(if has_message { ",\n" } else { "\n" });
            message(&mut text, direction, payload, entry.at);
            has_message = true;
        }
    }
    text.push_str(if current > 0 { "]}\n]}}\n" } else { "]}}\n" });
    text
}

/// The beginning of an entry, up to its messages.
fn begin(text: &mut String, url: &str, status: &str, started: &str) {
    text.push_str(&format!(
        "{{\"startedDateTime\":\"{started}\",\"time\":0,\"request\":{{\"method\":\"GET\",\"url\":"
    ));
    quote(url, text);
    text.push_str(&format!(
        ",\"httpVersion\":\"HTTP/1.1\",\"cookies\":[],\"headers\":[],\"queryString\":[],\
         \"headersSize\":-1,\"bodySize\":0}},\"response\":{{\"status\":{status},\"statusText\":\"\",\
         \"httpVersion\":\"HTTP/1.1\",\"cookies\":[],\"headers\":[],\
         \"content\":{{\"size\":0,\"mimeType\":\"x-unknown\"}},\"redirectURL\":\"\",\
         \"headersSize\":-1,\"bodySize\":-1}},\"cache\":{{}},\"timings\":{{\"send\":0,\"wait\":0,\
         \"receive\":0}},\"_resourceType\":\"websocket\",\"_webSocketMessages\":["
    ));
}

fn message(text: &mut String, direction: Direction, payload: &Payload, at: Millis) {
    let kind = match direction {
        Direction::Sent => "send",
        Direction::Received => "receive",
    };
    let micros = (at * 1000.0).round() as u64;
    let (seconds, micros) = (micros / 1_000_000, micros % 1_000_000);
    let opcode = match payload {
        Payload::Text(_) => 1,
        Payload::Binary(_) => 2,
    };
    text.push_str(&format!(
        "{{\"type\":\"{kind}\",\"time\":{seconds}.{micros:06},\"opcode\":{opcode},\"data\":"
    ));
    match payload {
        Payload::Text(written) => quote(written, text),
        Payload::Binary(bytes) => quote(&base64::encode(bytes), text),
    }
    text.push('}');
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        close_reason::{CloseReason, Outcome},
        transcript::Delivery,
    };
    use echogate_proto::close::CloseCode;
    use serde_json::{Value, json};

    fn read(transcript: &Transcript) -> Value {
        serde_json::from_str(&write(transcript, "1.0", |at| format!("at {at}"))).unwrap()
    }

    #[test]
    fn each_connection_is_an_entry_with_its_messages() {
        let mut transcript = Transcript::new();
        for url in ["ws://h/a", "ws://h/b\""] {
            let opened =
                EntryKind::Opened { url: url.to_owned(), protocol: String::new(), refused: false };
            transcript.push(1000.0, opened);
            transcript.push(1250.5, EntryKind::Sent("a\"".into(), Delivery::Sent));
            transcript.push(1250.5, EntryKind::Sent("lost".into(), Delivery::NotSent));
            transcript.push(1500.0, EntryKind::Received(vec![0, 255].into(), None));
        }
        let har = read(&transcript);
        let entries = har["log"]["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 2);
        assert_eq!(entries[1]["request"]["url"], "ws://h/b\"");
        assert_eq!(entries[0]["startedDateTime"], "at 1000");
        assert_eq!(
            entries[0]["_webSocketMessages"],
            json!([
                { "type": "send", "time": 1.2505, "opcode": 1, "data": "a\"" },
                { "type": "receive", "time": 1.5, "opcode": 2, "data": "AP8=" },
            ])
        );
    }

    fn ended(outcome: Outcome, code: CloseCode) -> EntryKind {
        let (url, reason) = ("ws://h/none".to_owned(), String::new());
        EntryKind::Ended(CloseReason { outcome, url, code, reason, unsent: 0, unanswered: 0 })
    }

    #[test]
    fn an_attempt_that_failed_is_an_entry_without_a_response() {
        let mut transcript = Transcript::new();
        transcript.push(1.0, ended(Outcome::NotOpened, CloseCode::ABNORMAL));
        let har = read(&transcript);
        let entry = &har["log"]["entries"][0];
        assert_eq!(entry["request"]["url"], "ws://h/none");
        assert_eq!(entry["response"]["status"], 0);
    }

    #[test]
    fn a_refusal_by_a_close_frame_is_an_entry_with_the_response_to_the_handshake() {
        let mut transcript = Transcript::new();
        let (url, protocol) = ("ws://h/nope".to_owned(), String::new());
        transcript.push(1.0, EntryKind::Opened { url, protocol, refused: false });
        transcript.push(2.0, ended(Outcome::ClosedByPeer, CloseCode::POLICY));
        assert!(transcript.ends_with_refusal());
        let har = read(&transcript);
        let entries = har["log"]["entries"].as_array().unwrap();
        assert_eq!(entries.len(), 1);
        assert_eq!(entries[0]["request"]["url"], "ws://h/nope");
        assert_eq!(entries[0]["response"]["status"], 101);
    }

    #[test]
    fn an_empty_transcript_is_an_archive_without_entries() {
        assert_eq!(read(&Transcript::new())["log"]["entries"], json!([]));
    }
}
