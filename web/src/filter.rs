//! Which rows of a transcript are shown: those of a kind, with a text or bytes in them.

use echogate_proto::hex;

use crate::{
    payload::Payload,
    transcript::{Entry, Transcript, What},
};

/// What somebody wants to see.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    show: Show,
    /// In lower case; empty for everything.
    text: String,
    /// What the text means as hexadecimal digits, if it can: sought in binary messages.
    bytes: Option<Vec<u8>>,
}

/// A kind of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Every row.
    #[default]
    All,
    /// Messages that were sent, and their replies.
    Sent,
    /// Messages that answer none of ours.
    Received,
    /// Beginnings and ends.
    Events,
    /// Pinned rows.
    Pinned,
}

impl Show {
    /// All of them.
    pub const ALL: [Show; 5] = [Show::All, Show::Sent, Show::Received, Show::Events, Show::Pinned];
}

impl Filter {
    /// Rows of this kind in which the text occurs, in whatever case.
    pub fn new(show: Show, text: &str) -> Filter {
        let bytes = hex::decode(text).ok().filter(|bytes| !bytes.is_empty());
        Filter { show, text: text.to_lowercase(), bytes }
    }

    /// Whether it lets everything pass.
    pub fn is_off(&self) -> bool {
        self.show == Show::All && self.text.is_empty()
    }

    /// Whether a row passes.
    pub fn passes(&self, row: &Entry, pinned: bool) -> bool {
        let shown = match (self.show, &row.what) {
            (Show::All, _) | (Show::Sent, What::Sent(..)) | (Show::Received, What::Received(_)) => {
                true
            }
            (Show::Events, What::Sent(..) | What::Received(_)) => false,
            (Show::Events, _) => true,
            (Show::Pinned, _) => pinned,
            _ => false,
        };
        shown && (self.text.is_empty() || self.occurs(&row.what))
    }

    fn occurs(&self, what: &What) -> bool {
        match what {
            What::Opened { url, .. } => self.in_text(url),
            What::Ended(ending) => {
                self.in_text(&ending.reason) || self.text == ending.code.0.to_string()
            }
            What::HalfClosed { .. } => false,
            What::Sent(..) | What::Received(_) => [what.sent(), what.received()]
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

/// The rows that pass a filter, kept up to date at the cost of what is new.
#[derive(Debug, Default)]
pub struct Matches {
    filter: Filter,
    ids: Vec<u64>,
    /// Rows below this number have been looked at.
    seen: u64,
}

impl Matches {
    /// Those of another filter.
    pub fn choose(&mut self, filter: Filter) {
        *self = Matches { filter, ..Matches::default() };
    }

    /// The filter.
    pub fn filter(&self) -> &Filter {
        &self.filter
    }

    /// Looks at what has changed since the last time.
    pub fn update(&mut self, transcript: &mut Transcript) {
        let settled = transcript.take_settled();
        if self.filter.is_off() {
            return;
        }
        let first = transcript.first_id();
        // A reply may hold what was sought, and what was sought may be gone.
        self.seen = settled.map_or(self.seen, |settled| self.seen.min(settled));
        let stale = self.ids.partition_point(|&id| id < self.seen);
        self.ids.truncate(stale);
        self.ids.retain(|&id| id >= first || transcript.is_pinned(id));
        let passing = |row: &&Entry| self.filter.passes(row, transcript.is_pinned(row.id));
        for row in transcript.from(self.seen).filter(passing) {
            self.ids.push(row.id);
        }
        self.seen = transcript.next_id();
    }

    /// How many rows are shown of the transcript that this is kept for.
    pub fn len(&self, transcript: &Transcript) -> usize {
        if self.filter.is_off() { transcript.len() } else { self.ids.len() }
    }

    /// The row shown at this place.
    pub fn at<'a>(&self, transcript: &'a Transcript, index: usize) -> Option<&'a Entry> {
        if self.filter.is_off() {
            return transcript.at(index);
        }
        self.ids.get(index).and_then(|&id| transcript.get(id))
    }

    /// The place at which a row is shown.
    pub fn place(&self, transcript: &Transcript, id: u64) -> Option<usize> {
        if self.filter.is_off() {
            return transcript.place(id);
        }
        self.ids.binary_search(&id).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transcript::Fate;

    fn shown(matches: &Matches, transcript: &Transcript) -> Vec<u64> {
        let rows = (0..matches.len(transcript)).map(|at| matches.at(transcript, at).unwrap().id);
        rows.collect()
    }

    fn filled() -> Transcript {
        let mut transcript = Transcript::new();
        transcript.push(0.0, What::Opened { url: "ws://h/ws".into(), protocol: String::new() });
        transcript.push(0.0, What::Sent("Hello".into(), Fate::Sent));
        transcript.push(0.0, What::Received("world".into()));
        transcript.push(0.0, What::Received(vec![0, 0x61, 0xff].into()));
        transcript
    }

    fn found(show: Show, text: &str) -> Vec<u64> {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        transcript.toggle_pin(2);
        matches.choose(Filter::new(show, text));
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
        matches.choose(Filter::new(Show::All, "late"));
        matches.update(&mut transcript);
        assert_eq!(shown(&matches, &transcript), [0u64; 0]);
        transcript.settle(1, Fate::Answered { reply: "LATER".into(), round_trip: 1.0 });
        let new = transcript.push(0.0, What::Received("too late".into()));
        matches.update(&mut transcript);
        assert_eq!(shown(&matches, &transcript), [1, new]);
        assert_eq!(matches.place(&transcript, new), Some(1));
    }

    #[test]
    fn rows_that_are_let_go_are_not_found_any_more() {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        matches.choose(Filter::new(Show::All, "world"));
        matches.update(&mut transcript);
        for _ in 0..Transcript::MAX_ROWS {
            transcript.push(0.0, What::Received("".into()));
        }
        matches.update(&mut transcript);
        assert_eq!(matches.len(&transcript), 0);
    }
}
