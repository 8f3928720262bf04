//! The events of a recording, or of a tap, as rows of a transcript.

use echogate_proto::close::CloseCode;

use super::OUTCOMES;
use crate::{
    close_reason::CloseReason,
    json::Json,
    pairing::Pairing,
    payload::Payload,
    session::{HALF_CLOSE, is_end_of_input},
    time::Millis,
    transcript::{Delivery, Direction, EntryKind, Observed},
};

/// A reader of events.
#[derive(Default)]
pub struct Reader {
    pairing: Pairing,
    protocol: String,
    url: String,
    /// Whether the server recorded the connection, so that Close frames are rows. In recordings of a
    /// page a Close frame is part of the connection's end.
    is_observed: bool,
    /// The latest Close frame.
    close: Option<(CloseCode, String)>,
    /// The message of each direction whose frames have not all been read, and whether it is text.
    partial: [Option<(bool, Vec<u8>)>; 2],
}

impl Reader {
    /// The pairing of the connection that was read last.
    pub fn into_pairing(self) -> Pairing {
        self.pairing
    }

    /// Reads an event: `None` for JSON that is not one, otherwise its row and time. Parts of messages
    /// and events of the upstream side have no row.
    pub fn read(&mut self, event: &Json) -> Option<Option<(Millis, EntryKind)>> {
        let at = event.number("time")? * 1000.0;
        event.number("connection")?;
        let name = event.text("event")?;
        if event.text("side") == Some("upstream") {
            return Some(None);
        }
        let kind = match name {
            "opened" => self.opened(event)?,
            "data" => match self.data(event)? {
                Some(kind) => kind,
                None => return Some(None),
            },
            "close" => match self.close(event)? {
                Some(kind) => kind,
                None => return Some(None),
            },
            "closed" => self.closed(event)?,
            "ping" => {
                EntryKind::Observed(Observed::Ping(direction(event)?, event.payload()?.into()))
            }
            "pong" => {
                EntryKind::Observed(Observed::Pong(direction(event)?, event.payload()?.into()))
            }
            "end-of-input" => EntryKind::Observed(Observed::EndOfInput(direction(event)?)),
            "reset" => EntryKind::Observed(Observed::Reset(direction(event)?)),
            "lost" => {
                EntryKind::Observed(Observed::Lost(event.whole("events")?, event.whole("bytes")?))
            }
            _ => return None,
        };
        Some(Some((at, kind)))
    }

    fn opened(&mut self, event: &Json) -> Option<EntryKind> {
        self.pairing = read_pairing(event);
        self.protocol = event.text("protocol").unwrap_or_default().to_owned();
        self.is_observed = event.get("peer").is_some();
        self.close = None;
        self.partial = Default::default();
        self.url = event.text("target")?.to_owned();
        if let Some(before) = event.whole("bytes_before").filter(|bytes| *bytes > 0) {
            return Some(EntryKind::Observed(Observed::Before(before)));
        }
        let (url, protocol) = (self.url.clone(), self.protocol.clone());
        Some(EntryKind::Opened { url, protocol, refused: false })
    }

    /// The message that an event completes, if it completes one.
    fn data(&mut self, event: &Json) -> Option<Option<EntryKind>> {
        let direction = direction(event)?;
        let bytes = event.payload()?;
        let length = bytes.len() as u64;
        let (mut is_text, mut all) = (event.text("kind")? == "text", bytes);
        if let Some(frame) = event.get("frame") {
            let partial = &mut self.partial[direction as usize];
            if let Some((was_text, mut before)) = partial.take() {
                is_text = was_text;
                before.append(&mut all);
                all = before;
            }
            let end = frame.whole("offset").unwrap_or(0).saturating_add(length);
            if frame.get("fin") != Some(&Json::Bool(true)) || end < frame.whole("length")? {
                *partial = Some((is_text, all));
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

    /// A Close frame: part of the end of a connection of the page, otherwise a row.
    fn close(&mut self, event: &Json) -> Option<Option<EntryKind>> {
        let direction = direction(event)?;
        let code = event.whole("code").and_then(|code| code.try_into().ok());
        let reason = event.text("reason").unwrap_or_default().to_owned();
        if self.is_observed {
            return Some(Some(EntryKind::Observed(Observed::Close(direction, code, reason))));
        }
        self.close = Some((code.map_or(CloseCode::NO_STATUS, CloseCode), reason));
        Some(None)
    }

    fn closed(&mut self, event: &Json) -> Option<EntryKind> {
        let text = event.text("reason")?;
        let close = self.close.take();
        let Some((outcome, _)) = OUTCOMES.iter().find(|(_, name)| *name == text) else {
            return Some(EntryKind::Observed(Observed::Closed(text.to_owned())));
        };
        let (code, reason) = close.unwrap_or_else(|| {
            let code = event.whole("code").and_then(|code| code.try_into().ok());
            let error = event.text("error").unwrap_or_default().to_owned();
            (code.map_or(CloseCode::ABNORMAL, CloseCode), error)
        });
        let url = event.text("target").unwrap_or(&self.url).to_owned();
        let (outcome, unsent, unanswered) = (*outcome, 0, 0);
        Some(EntryKind::Ended(CloseReason { outcome, url, code, reason, unsent, unanswered }))
    }
}

fn read_pairing(opened: &Json) -> Pairing {
    let Some(pairing) = opened.get("pairing") else { return Pairing::None };
    match pairing.text("field") {
        Some(name) => Pairing::Field(name.to_owned()),
        None => pairing.as_text().and_then(Pairing::of_name).unwrap_or_default(),
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

    fn rows(lines: &[&str]) -> Vec<EntryKind> {
        let mut reader = Reader::default();
        let read = |line: &&str| reader.read(&Json::read(line).unwrap()).unwrap();
        lines.iter().filter_map(read).map(|(_, kind)| kind).collect()
    }

    fn data(direction: &str, text: &str, frame: &str) -> String {
        format!(
            r#"{{"time":1,"connection":1,"event":"data","direction":"{direction}","kind":"text","text":"{text}","frame":{{{frame}}}}}"#
        )
    }

    #[test]
    fn fragments_of_both_directions_that_alternate_are_joined_by_direction() {
        let (part, end) = (r#""fin":false,"length":1"#, r#""fin":true,"length":1"#);
        let lines = [
            data("to-server", "a", part),
            data("to-client", "x", part),
            data("to-server", "b", end),
            data("to-client", "y", end),
        ];
        let sent = EntryKind::Sent("ab".into(), Delivery::Sent);
        let received = EntryKind::Received("xy".into(), None);
        assert_eq!(rows(&lines.each_ref().map(String::as_str)), [sent, received]);
    }

    #[test]
    fn a_message_cut_by_the_end_of_its_connection_is_no_part_of_the_next_one() {
        let opened = r#"{"time":1,"connection":2,"event":"opened","target":"ws://h/"}"#;
        let part = data("to-server", "a", r#""fin":false,"length":1"#);
        let whole = data("to-server", "b", r#""fin":true,"length":1"#);
        let sent = EntryKind::Sent("b".into(), Delivery::Sent);
        assert_eq!(rows(&[&part, opened, &whole]).last(), Some(&sent));
    }

    #[test]
    fn an_offset_beyond_all_bounds_does_not_overflow() {
        let line =
            data("to-server", "ab", r#""fin":true,"length":2,"offset":18446744073709551615"#);
        let _ = Reader::default().read(&Json::read(&line).unwrap());
    }
}
