//! A filter for the rows of a transcript: by kind, and by a text or bytes in them.

use echogate_proto::hex;

use crate::{
    payload::Payload,
    transcript::{Entry, EntryKind, Transcript},
};

/// The rows that the user wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    show: Show,
    /// The text to find, in lower case; empty to find everything.
    text: String,
    /// The bytes that the text stands for, if it is hexadecimal digits: searched in binary messages.
    bytes: Option<Vec<u8>>,
}

/// A kind of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Every row.
    #[default]
    All,
    /// Sent messages and their replies.
    Sent,
    /// Received messages that are no replies.
    Received,
    /// Connects and closes.
    Events,
    /// Pinned rows.
    Pinned,
}

impl Show {
    /// All kinds, in the order of the page's list.
    pub const ALL: [Show; 5] = [Show::All, Show::Sent, Show::Received, Show::Events, Show::Pinned];
}

impl Filter {
    /// A filter for rows of this kind in which the text occurs, in upper or lower case.
    pub fn new(show: Show, text: &str) -> Filter {
        let bytes = hex::decode(text).ok().filter(|bytes| !bytes.is_empty());
        Filter { show, text: text.to_lowercase(), bytes }
    }

    /// Whether every row passes.
    pub fn is_off(&self) -> bool {
        self.show == Show::All && self.text.is_empty()
    }

    /// Whether a row passes.
    pub fn passes(&self, row: &Entry, pinned: bool) -> bool {
        let shown = match (self.show, &row.kind) {
            (Show::All, _)
            | (Show::Sent, EntryKind::Sent(..))
            | (Show::Received, EntryKind::Received(_)) => true,
            (Show::Events, EntryKind::Sent(..) | EntryKind::Received(_)) => false,
            (Show::Events, _) => true,
            (Show::Pinned, _) => pinned,
            _ => false,
        };
        shown && (self.text.is_empty() || self.occurs(&row.kind))
    }

    fn occurs(&self, kind: &EntryKind) -> bool {
        match kind {
            EntryKind::Opened { url, .. } => self.in_text(url),
            EntryKind::Ended(cause) => {
                self.in_text(&cause.reason) || self.text == cause.code.0.to_string()
            }
            EntryKind::HalfClosed { .. } => false,
            EntryKind::Sent(..) | EntryKind::Received(_) => [kind.sent(), kind.received()]
                .into_iter()
                .flatten()
                .any(|payload| self.in_payload(payload)),
        }
    }

    fn in_payload(&self, payload: &Payload) -> bool {
        match payload {
            Payload::Text(text) => self.in_text(text),
            Payload::Binary(bytes) => self
                .bytes
                .as_ref()
                .is_some_and(|wanted| bytes.windows(wanted.len()).any(|window| window == wanted)),
        }
    }

    fn in_text(&self, text: &str) -> bool {
        text.to_lowercase().contains(&self.text)
    }
}

/// The rows that pass a filter, updated incrementally.
#[derive(Debug, Default)]
pub struct Matches {
    filter: Filter,
    ids: Vec<u64>,
    /// Rows below this number have been examined.
    examined: u64,
}

impl Matches {
    /// Replaces the filter.
    pub fn set_filter(&mut self, filter: Filter) {
        *self = Matches { filter, ..Matches::default() };
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Examines the rows that were added or changed since the last call.
    pub fn update(&mut self, transcript: &mut Transcript) {
        let changed = transcript.take_oldest_changed();
        if self.filter.is_off() {
            return;
        }
        let first = transcript.first_id();
        // A late reply may match, and matching rows may have been dropped.
        self.examined = changed.map_or(self.examined, |changed| self.examined.min(changed));
        let stale = self.ids.partition_point(|&id| id < self.examined);
        self.ids.truncate(stale);
        self.ids.retain(|&id| id >= first || transcript.is_pinned(id));
        let passing = |row: &&Entry| self.filter.passes(row, transcript.is_pinned(row.id));
        for row in transcript.rows_from(self.examined).filter(passing) {
            self.ids.push(row.id);
        }
        self.examined = transcript.next_id();
    }

    /// The number of matching rows.
    pub fn len(&self, transcript: &Transcript) -> usize {
        if self.filter.is_off() { transcript.len() } else { self.ids.len() }
    }

    /// The matching row at this index.
    pub fn at<'a>(&self, transcript: &'a Transcript, index: usize) -> Option<&'a Entry> {
        if self.filter.is_off() {
            return transcript.at(index);
        }
        self.ids.get(index).and_then(|&id| transcript.get(id))
    }

    /// The index of a row among those that match.
    pub fn position(&self, transcript: &Transcript, id: u64) -> Option<usize> {
        if self.filter.is_off() {
            return transcript.position(id);
        }
        self.ids.binary_search(&id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Delivery;

    fn shown(matches: &Matches, transcript: &Transcript) -> Vec<u64> {
        let rows = (0..matches.len(transcript)).map(|at| matches.at(transcript, at).unwrap().id);
        rows.collect()
    }

    fn filled() -> Transcript {
        let mut transcript = Transcript::new();
        transcript
            .push(0.0, EntryKind::Opened { url: "ws://h/ws".into(), protocol: String::new() });
        transcript.push(0.0, EntryKind::Sent("Hello".into(), Delivery::Sent));
        transcript.push(0.0, EntryKind::Received("world".into()));
        transcript.push(0.0, EntryKind::Received(vec![0, 0x61, 0xff].into()));
        transcript
    }

    fn found(show: Show, text: &str) -> Vec<u64> {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        transcript.toggle_pin(2);
        matches.set_filter(Filter::new(show, text));
        matches.update(&mut transcript);
        shown(&matches, &transcript)
    }

    #[test]
    fn rows_are_found_by_kind_text_and_bytes() {
        assert_eq!(found(Show::All, ""), [0, 1, 2, 3]);
        assert_eq!(found(Show::Sent, ""), [1]);
        assert_eq!(found(Show::Received, ""), [2, 3]);
        assert_eq!(found(Show::Events, ""), [0]);
        assert_eq!(found(Show::Pinned, ""), [2]);
        assert_eq!(found(Show::All, "hELLO"), [1]);
        assert_eq!(found(Show::All, "61 FF"), [3]);
        assert_eq!(found(Show::Sent, "world"), [0u64; 0]);
    }

    #[test]
    fn a_reply_that_comes_later_is_found() {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        matches.set_filter(Filter::new(Show::All, "late"));
        matches.update(&mut transcript);
        assert_eq!(shown(&matches, &transcript), [0u64; 0]);
        transcript.set_delivery(1, Delivery::Answered { reply: "LATER".into(), round_trip: 1.0 });
        let new = transcript.push(0.0, EntryKind::Received("too late".into()));
        matches.update(&mut transcript);
        assert_eq!(shown(&matches, &transcript), [1, new]);
        assert_eq!(matches.position(&transcript, new), Some(1));
    }

    #[test]
    fn dropped_rows_are_not_found_any_more() {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        matches.set_filter(Filter::new(Show::All, "world"));
        matches.update(&mut transcript);
        for _ in 0..Transcript::MAX_ROWS {
            transcript.push(0.0, EntryKind::Received("".into()));
        }
        matches.update(&mut transcript);
        assert_eq!(matches.len(&transcript), 0);
    }
}
