//! A filter for the rows of a transcript: by kind, and by a text, bytes or a regular expression in
//! them.

use crate::{
    i18n::Texts,
    search::Query,
    transcript::{Entry, EntryKind, Transcript},
};

/// The rows that the user wants to see.
#[derive(Clone, Default)]
pub struct Filter {
    /// The kind of rows.
    pub show: Show,
    /// The text in them.
    pub query: Query,
}

/// A kind of rows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// Every row.
    #[default]
    All,
    /// Sent messages.
    Sent,
    /// Received messages.
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
    /// Whether every row passes.
    pub fn is_off(&self) -> bool {
        self.show == Show::All && self.query.is_any()
    }

    /// Whether a row passes, as it is written with these texts.
    pub fn passes(&self, row: &Entry, pinned: bool, texts: &Texts) -> bool {
        let shown = match (self.show, &row.kind) {
            (Show::All, _)
            | (Show::Sent, EntryKind::Sent(..))
            | (Show::Received, EntryKind::Received(..)) => true,
            (Show::Events, EntryKind::Sent(..) | EntryKind::Received(..)) => false,
            (Show::Events, _) => true,
            (Show::Pinned, _) => pinned,
            _ => false,
        };
        shown && (self.query.is_any() || self.occurs(&row.kind, texts))
    }

    fn occurs(&self, kind: &EntryKind, texts: &Texts) -> bool {
        match kind.message() {
            Some((_, payload)) => self.query.is_in(payload),
            None => kind.sentence(texts).is_some_and(|text| self.query.is_in_text(&text)),
        }
    }
}

/// The rows that pass a filter, updated incrementally.
#[derive(Default)]
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

    /// Examines the rows that were added since the last call.
    pub fn update(&mut self, transcript: &Transcript, texts: &Texts) {
        if self.filter.is_off() {
            return;
        }
        // Matching rows may have been dropped.
        let first = transcript.first_id();
        self.ids.retain(|&id| id >= first || transcript.is_pinned(id));
        let passing = |row: &&Entry| self.filter.passes(row, transcript.is_pinned(row.id), texts);
        for row in transcript.rows_from(self.examined).filter(passing) {
            self.ids.push(row.id);
        }
        self.examined = transcript.next_id();
    }

    /// The number of matching rows.
    pub fn len(&self, transcript: &Transcript) -> usize {
        if self.filter.is_off() { transcript.len() } else { self.ids.len() }
    }

    /// The number of matching rows before the row of this number.
    pub fn len_before(&self, transcript: &Transcript, id: u64) -> usize {
        if self.filter.is_off() {
            return transcript.len_before(id);
        }
        self.ids.partition_point(|&match_id| match_id < id)
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
    use crate::{i18n::Language, transcript::Delivery};

    fn update(matches: &mut Matches, transcript: &Transcript) {
        matches.update(transcript, Language::English.texts());
    }

    fn shown(matches: &Matches, transcript: &Transcript) -> Vec<u64> {
        let rows = (0..matches.len(transcript)).map(|at| matches.at(transcript, at).unwrap().id);
        rows.collect()
    }

    fn filled() -> Transcript {
        let mut transcript = Transcript::new();
        transcript.push(
            0.0,
            EntryKind::Opened { url: "ws://h/ws".into(), protocol: String::new(), refused: false },
        );
        transcript.push(0.0, EntryKind::Sent("Hello".into(), Delivery::Sent));
        transcript.push(0.0, EntryKind::Received("world".into(), None));
        transcript.push(0.0, EntryKind::Received(vec![0, 0x61, 0xff].into(), None));
        transcript
    }

    fn found(show: Show, text: &str) -> Vec<u64> {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        transcript.toggle_pin(2);
        matches.set_filter(Filter { show, query: Query::text(text) });
        update(&mut matches, &transcript);
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
        assert_eq!(found(Show::All, "connected to WS://"), [0]);
        assert_eq!(found(Show::Sent, "world"), [0u64; 0]);
    }

    #[test]
    fn rows_that_are_added_later_are_found() {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        matches.set_filter(Filter { show: Show::Received, query: Query::text("late") });
        update(&mut matches, &transcript);
        assert_eq!(shown(&matches, &transcript), [0u64; 0]);
        let new = transcript.push(0.0, EntryKind::Received("too late".into(), None));
        update(&mut matches, &transcript);
        assert_eq!(shown(&matches, &transcript), [new]);
        assert_eq!(matches.position(&transcript, new), Some(0));
        let before = [0, new, new + 1].map(|id| matches.len_before(&transcript, id));
        assert_eq!(before, [0, 0, 1]);
    }

    #[test]
    fn dropped_rows_are_not_found_any_more() {
        let (mut transcript, mut matches) = (filled(), Matches::default());
        matches.set_filter(Filter { show: Show::All, query: Query::text("world") });
        update(&mut matches, &transcript);
        for _ in 0..Transcript::MAX_ROWS {
            transcript.push(0.0, EntryKind::Received("".into(), None));
        }
        update(&mut matches, &transcript);
        assert_eq!(matches.len(&transcript), 0);
    }
}
