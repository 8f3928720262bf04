//! What happened on a connection, in order: bounded, and honest about what it let go.

mod entry;

use std::collections::VecDeque;

pub use self::entry::{Entry, Fate, What};
use crate::time::Millis;

/// What the transcript has let go to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// How many rows.
    pub rows: u64,
    /// The bytes of the messages in them.
    pub bytes: u64,
}

/// The latest rows, oldest first, and those older ones that somebody pinned.
#[derive(Debug)]
pub struct Transcript {
    rows: VecDeque<Entry>,
    /// Pinned rows that are older than all of `rows`.
    kept: Vec<Entry>,
    /// In order.
    pins: Vec<u64>,
    /// The oldest row that was settled since somebody last asked.
    settled: Option<u64>,
    next_id: u64,
    bytes: usize,
    dropped: Dropped,
}

impl Transcript {
    /// The most rows that are kept.
    pub const MAX_ROWS: usize = 50_000;
    /// The most payload that is kept, in bytes. The latest row stays, whatever its size.
    pub const MAX_BYTES: usize = 32 << 20;
    /// The most rows that can be pinned. A pinned row is not let go.
    pub const MAX_PINS: usize = 100;

    /// An empty transcript.
    pub fn new() -> Self {
        Transcript {
            rows: VecDeque::new(),
            kept: Vec::new(),
            pins: Vec::new(),
            settled: None,
            next_id: 0,
            bytes: 0,
            dropped: Dropped::default(),
        }
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
            self.settled = Some(self.settled.map_or(id, |oldest| oldest.min(id)));
        }
        self.keep_within_bounds();
    }

    /// The oldest of the rows that were settled since this was last asked.
    pub fn take_settled(&mut self) -> Option<u64> {
        self.settled.take()
    }

    /// Pins a row, or takes its pin away; answers whether it is pinned now.
    pub fn toggle_pin(&mut self, id: u64) -> bool {
        let place = self.pins.binary_search(&id);
        if let Ok(at) = place {
            self.pins.remove(at);
            if let Ok(at) = self.kept.binary_search_by_key(&id, |row| row.id) {
                let row = self.kept.remove(at);
                self.dropped.rows += 1;
                self.dropped.bytes += row.what.bytes() as u64;
            }
            return false;
        }
        let pinned = self.get(id).is_some() && self.pins.len() < Self::MAX_PINS;
        if pinned && let Err(at) = place {
            self.pins.insert(at, id);
        }
        pinned
    }

    /// Whether a row is pinned.
    pub fn is_pinned(&self, id: u64) -> bool {
        self.pins.binary_search(&id).is_ok()
    }

    /// The number that the next row will have.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The number of the oldest row that is still in its place.
    pub fn first_id(&self) -> u64 {
        self.rows.front().map_or(self.next_id, |row| row.id)
    }

    /// The row at this place in [`Self::rows`].
    pub fn at(&self, index: usize) -> Option<&Entry> {
        match index.checked_sub(self.kept.len()) {
            Some(index) => self.rows.get(index),
            None => self.kept.get(index),
        }
    }

    /// How many rows there are.
    pub fn len(&self) -> usize {
        self.kept.len() + self.rows.len()
    }

    /// Whether there is no row.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this number, unless it was let go.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        let kept = || self.kept.binary_search_by_key(&id, |row| row.id).ok();
        self.index(id).map(|index| &self.rows[index]).or_else(|| kept().map(|at| &self.kept[at]))
    }

    /// The rows, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.kept.iter().chain(&self.rows)
    }

    /// The rows from this number on, oldest first.
    pub fn from(&self, id: u64) -> impl Iterator<Item = &Entry> {
        let kept = self.kept.partition_point(|row| row.id < id);
        let first = usize::try_from(id.saturating_sub(self.first_id())).unwrap_or(usize::MAX);
        self.kept[kept..].iter().chain(self.rows.range(first.min(self.rows.len())..))
    }

    /// Where in [`Self::rows`] the row of this number is.
    pub fn place(&self, id: u64) -> Option<usize> {
        let kept = || self.kept.binary_search_by_key(&id, |row| row.id).ok();
        self.index(id).map(|index| index + self.kept.len()).or_else(kept)
    }

    /// What is no longer here.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Forgets every row, and what was let go: somebody asked for it.
    pub fn clear(&mut self) {
        self.rows.clear();
        self.kept.clear();
        self.pins.clear();
        self.settled = None;
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
            if self.pins.binary_search(&row.id).is_ok() {
                self.kept.push(row);
                continue;
            }
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

#[cfg(test)]
mod tests;
