//! What happened on a connection, in order: bounded, and honest about what it let go.

use std::collections::VecDeque;

use crate::{ending::Ending, payload::Payload, time::Millis};

/// One row of the transcript.
#[derive(Clone, Debug, PartialEq)]
pub struct Entry {
    /// Its number, counted from 0 over the life of the transcript.
    pub id: u64,
    /// When it began.
    pub at: Millis,
    /// What happened.
    pub what: What,
}

/// What a row tells of.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A message that was sent from here, and what became of it.
    Sent(Payload, Fate),
    /// A message that answers none of ours.
    Received(Payload),
    /// The connection opened, with this subprotocol (often none).
    Opened {
        /// Where to.
        url: String,
        /// What was agreed; empty for none.
        protocol: String,
    },
    /// The connection ended, or never was.
    Ended(Ending),
}

/// What became of a message that was sent.
#[derive(Clone, Debug, PartialEq)]
pub enum Fate {
    /// The browser has not taken it yet: it holds enough that is not sent.
    Queued,
    /// On its way; no reply yet.
    Sent,
    /// Answered.
    Answered {
        /// With what.
        reply: Payload,
        /// How long after it was handed to the browser.
        round_trip: Millis,
    },
    /// No reply came, and none will.
    Unanswered,
    /// The connection ended before it could be sent.
    NotSent,
}

/// What the transcript has let go to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many rows.
    pub rows: u64,
    /// The bytes of the messages in them.
    pub bytes: u64,
}

/// The latest rows, oldest first.
#[derive(Debug)]
pub struct Transcript {
    rows: VecDeque<Entry>,
    next_id: u64,
    bytes: usize,
    dropped: Dropped,
}

impl Transcript {
    /// The most rows that are kept.
    pub const MAX_ROWS: usize = 1000;
    /// The most payload that is kept, in bytes. The latest row stays, whatever its size.
    pub const MAX_BYTES: usize = 16 << 20;

    /// An empty transcript.
    pub fn new() -> Self {
        Transcript { rows: VecDeque::new(), next_id: 0, bytes: 0, dropped: Dropped::default() }
    }

    /// Adds a row; answers with its number.
    pub fn push(&mut self, at: Millis, what: What) -> u64 {
        let id = self.next_id;
        self.next_id += 1;
        self.bytes += what.bytes();
        self.rows.push_back(Entry { id, at, what });
        self.keep_within_bounds();
        id
    }

    /// Says what became of a message that was sent; nothing if its row is gone.
    pub fn settle(&mut self, id: u64, new: Fate) {
        let Some(index) = self.index(id) else { return };
        if let What::Sent(_, fate) = &mut self.rows[index].what {
            self.bytes = self.bytes - fate.bytes() + new.bytes();
            *fate = new;
        }
        self.keep_within_bounds();
    }

    /// The row of this number, unless it was let go.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.index(id).map(|index| &self.rows[index])
    }

    /// The rows, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Entry> + ExactSizeIterator {
        self.rows.iter()
    }

    /// What is no longer here.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Forgets every row, and what was let go: somebody asked for it.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.bytes = 0;
        self.dropped = Dropped::default();
    }

    fn index(&self, id: u64) -> Option<usize> {
        let first = self.rows.front()?.id;
        let index = usize::try_from(id.checked_sub(first)?).ok()?;
        (index < self.rows.len()).then_some(index)
    }

    fn keep_within_bounds(&mut self) {
        while self.rows.len() > 1
            && (self.rows.len() > Self::MAX_ROWS || self.bytes > Self::MAX_BYTES)
        {
            let Some(row) = self.rows.pop_front() else { return };
            let bytes = row.what.bytes();
            self.bytes -= bytes;
            self.dropped.rows += 1;
            self.dropped.bytes += bytes as u64;
        }
    }
}

impl Default for Transcript {
    fn default() -> Self {
        Self::new()
    }
}

impl What {
    /// The message that went out.
    pub fn sent(&self) -> Option<&Payload> {
        match self {
            What::Sent(payload, _) => Some(payload),
            _ => None,
        }
    }

    /// The message that came in.
    pub fn received(&self) -> Option<&Payload> {
        match self {
            What::Sent(_, Fate::Answered { reply, .. }) => Some(reply),
            What::Received(payload) => Some(payload),
            _ => None,
        }
    }

    /// How long the reply took.
    pub fn round_trip(&self) -> Option<Millis> {
        match self {
            What::Sent(_, Fate::Answered { round_trip, .. }) => Some(*round_trip),
            _ => None,
        }
    }

    /// In place of a reply: why there is none.
    pub fn remark(&self) -> Option<&'static str> {
        match self {
            What::Sent(_, Fate::Queued) => Some("waiting to be sent"),
            What::Sent(_, Fate::Sent) => Some("no reply yet"),
            What::Sent(_, Fate::Unanswered) => Some("no reply"),
            What::Sent(_, Fate::NotSent) => Some("not sent"),
            _ => None,
        }
    }

    /// Goes up whenever the row's content changes.
    pub fn stage(&self) -> u8 {
        match self {
            What::Sent(_, Fate::Queued) => 0,
            What::Sent(_, Fate::Sent) => 1,
            _ => 2,
        }
    }

    fn bytes(&self) -> usize {
        match self {
            What::Sent(payload, fate) => payload.len() + fate.bytes(),
            What::Received(payload) => payload.len(),
            What::Opened { .. } | What::Ended(_) => 0,
        }
    }
}

impl Fate {
    fn bytes(&self) -> usize {
        match self {
            Fate::Answered { reply, .. } => reply.len(),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of_size(bytes: usize) -> What {
        What::Received(vec![0; bytes].into())
    }

    #[test]
    fn the_latest_rows_stay_and_the_rest_is_counted() {
        let mut transcript = Transcript::new();
        for _ in 0..Transcript::MAX_ROWS + 3 {
            transcript.push(0.0, of_size(10));
        }
        assert_eq!(transcript.rows().len(), Transcript::MAX_ROWS);
        assert_eq!(transcript.dropped(), Dropped { rows: 3, bytes: 30 });
        assert_eq!(transcript.get(2), None);
        assert_eq!(transcript.get(3).unwrap().id, 3);
    }

    #[test]
    fn large_messages_push_out_older_ones_but_the_latest_always_stays() {
        let mut transcript = Transcript::new();
        transcript.push(0.0, of_size(1));
        transcript.push(0.0, of_size(Transcript::MAX_BYTES + 1));
        assert_eq!(transcript.rows().map(|row| row.id).collect::<Vec<_>>(), [1]);
        assert_eq!(transcript.dropped(), Dropped { rows: 1, bytes: 1 });
    }

    #[test]
    fn a_reply_to_a_row_that_is_gone_changes_nothing() {
        let mut transcript = Transcript::new();
        let id = transcript.push(0.0, What::Sent("a".into(), Fate::Sent));
        transcript.push(0.0, of_size(Transcript::MAX_BYTES));
        transcript.settle(id, Fate::Answered { reply: "A".into(), round_trip: 1.0 });
        assert_eq!(transcript.rows().len(), 1);
        assert_eq!(transcript.dropped(), Dropped { rows: 1, bytes: 1 });
    }

    #[test]
    fn numbers_go_on_after_the_transcript_was_cleared() {
        let mut transcript = Transcript::new();
        let before = transcript.push(0.0, of_size(1));
        transcript.clear();
        let after = transcript.push(0.0, of_size(1));
        assert!(after > before);
        assert_eq!(transcript.get(before), None);
        assert_eq!(transcript.get(after).unwrap().id, after);
    }

    proptest! {
        #[test]
        fn no_byte_is_lost_without_being_counted(
            sizes in prop::collection::vec(0..Transcript::MAX_BYTES / 3, 0..9),
            answered: Vec<bool>,
        ) {
            let mut transcript = Transcript::new();
            let mut total = 0;
            for (i, &size) in sizes.iter().enumerate() {
                total += size;
                let id = transcript.push(0.0, What::Sent(vec![0; size].into(), Fate::Sent));
                if answered.get(i) == Some(&true) {
                    total += size;
                    transcript.settle(
                        id,
                        Fate::Answered { reply: vec![0; size].into(), round_trip: 0.0 },
                    );
                }
            }
            let kept: usize = transcript.rows().map(|row| row.what.bytes()).sum();
            prop_assert_eq!(kept as u64 + transcript.dropped().bytes, total as u64);
            prop_assert_eq!(kept, transcript.bytes);
            prop_assert!(kept <= Transcript::MAX_BYTES || transcript.rows().len() == 1);
            prop_assert_eq!(
                transcript.rows().len() as u64 + transcript.dropped().rows,
                sizes.len() as u64
            );
        }
    }
}
