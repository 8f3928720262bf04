//! The transcript of a connection: bounded, with a count of the rows that were dropped.

mod entry;

use std::collections::VecDeque;

pub use self::entry::{Answer, Delivery, Direction, Entry, EntryKind, Observed};
use crate::time::Millis;

/// Rows that the transcript has dropped to stay within its bounds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// The number of rows.
    pub rows: u64,
    /// The payload bytes in them.
    pub bytes: u64,
}

/// The latest rows, oldest first, and older ones that the user pinned.
#[derive(Debug)]
pub struct Transcript {
    rows: VecDeque<Entry>,
    /// Pinned rows that are older than all of `rows`.
    older_pins: Vec<Entry>,
    /// The numbers of pinned rows, ascending.
    pins: Vec<u64>,
    next_id: u64,
    bytes: usize,
    dropped: Dropped,
    /// The rows removed by [`Self::clear`], as long as they and the newer rows fit into the bounds.
    cleared: Option<Box<Transcript>>,
}

impl Transcript {
    /// The most rows, pinned ones aside.
    pub const MAX_ROWS: usize = 50_000;
    /// The most payload bytes. The latest row stays, whatever its size.
    pub const MAX_BYTES: usize = 32 << 20;
    /// The most pinned rows. A pinned row is not dropped.
    pub const MAX_PINS: usize = 100;

    /// A connection that the peer closes within this time of its opening, with a code of refusals and
    /// without a message, was refused.
    const REFUSED_WITHIN: Millis = 1000.0;

    /// An empty transcript.
    pub fn new() -> Self {
        Transcript {
            rows: VecDeque::new(),
            older_pins: Vec::new(),
            pins: Vec::new(),
            next_id: 0,
            bytes: 0,
            dropped: Dropped::default(),
            cleared: None,
        }
    }

    /// Adds a row; returns its number. The refusal of a connection is recorded in the row before.
    pub fn push(&mut self, at: Millis, kind: EntryKind) -> u64 {
        if matches!(&kind, EntryKind::Ended(cause) if cause.may_be_refusal())
            && let Some(Entry { at: opened_at, kind: EntryKind::Opened { refused, .. }, .. }) =
                self.rows.back_mut()
        {
            *refused = at - *opened_at <= Self::REFUSED_WITHIN;
        }
        let id = self.next_id;
        self.next_id += 1;
        self.bytes += kind.bytes();
        self.rows.push_back(Entry { id, at, kind });
        self.keep_within_bounds();
        id
    }

    /// Updates the delivery of a sent message, unless its row was dropped.
    pub fn set_delivery(&mut self, id: u64, new: Delivery) {
        if let Some(index) = self.index(id) {
            if let EntryKind::Sent(_, delivery) = &mut self.rows[index].kind {
                *delivery = new;
            }
        } else if let Some(cleared) = &mut self.cleared {
            cleared.set_delivery(id, new);
        }
    }

    /// Sets the message that a received one answers, unless its row was dropped.
    pub fn set_answer(&mut self, id: u64, new: Option<Answer>) {
        if let Some(index) = self.index(id)
            && let EntryKind::Received(_, answer) = &mut self.rows[index].kind
        {
            *answer = new;
        }
    }

    /// Pins or unpins a row; returns whether it is pinned now.
    pub fn toggle_pin(&mut self, id: u64) -> bool {
        let found = self.pins.binary_search(&id);
        if let Ok(at) = found {
            self.pins.remove(at);
            if let Ok(at) = self.older_pins.binary_search_by_key(&id, |row| row.id) {
                let row = self.older_pins.remove(at);
                self.dropped.rows += 1;
                self.dropped.bytes += row.kind.bytes() as u64;
            }
            return false;
        }
        let pinned = self.get(id).is_some() && self.pins.len() < Self::MAX_PINS;
        if pinned && let Err(at) = found {
            self.pins.insert(at, id);
        }
        pinned
    }

    /// Whether a row is pinned.
    pub fn is_pinned(&self, id: u64) -> bool {
        self.pins.binary_search(&id).is_ok()
    }

    /// Whether any row is pinned.
    pub fn has_pins(&self) -> bool {
        !self.pins.is_empty()
    }

    /// The number of the next row.
    pub fn next_id(&self) -> u64 {
        self.next_id
    }

    /// The number of the oldest row, older pinned ones aside.
    pub fn first_id(&self) -> u64 {
        self.rows.front().map_or(self.next_id, |row| row.id)
    }

    /// The row at this index in [`Self::rows`].
    pub fn at(&self, index: usize) -> Option<&Entry> {
        match index.checked_sub(self.older_pins.len()) {
            Some(index) => self.rows.get(index),
            None => self.older_pins.get(index),
        }
    }

    /// The number of rows.
    pub fn len(&self) -> usize {
        self.older_pins.len() + self.rows.len()
    }

    /// Whether there are no rows.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The row of this number, unless it was dropped.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.at(self.position(id)?)
    }

    /// The rows, oldest first.
    pub fn rows(&self) -> impl DoubleEndedIterator<Item = &Entry> {
        self.older_pins.iter().chain(&self.rows)
    }

    /// The rows from this number on, oldest first.
    pub fn rows_from(&self, id: u64) -> impl Iterator<Item = &Entry> {
        let (older, first) = self.before(id);
        self.older_pins[older..].iter().chain(self.rows.range(first..))
    }

    /// The number of rows before that of this number.
    pub fn len_before(&self, id: u64) -> usize {
        let (older, rows) = self.before(id);
        older + rows
    }

    /// The numbers of older pinned rows and of other rows before that of this number.
    fn before(&self, id: u64) -> (usize, usize) {
        let rows = usize::try_from(id.saturating_sub(self.first_id())).unwrap_or(usize::MAX);
        (self.older_pins.partition_point(|row| row.id < id), rows.min(self.rows.len()))
    }

    /// The index in [`Self::rows`] of the row of this number.
    pub fn position(&self, id: u64) -> Option<usize> {
        let older = || self.older_pins.binary_search_by_key(&id, |row| row.id).ok();
        self.index(id).map(|index| index + self.older_pins.len()).or_else(older)
    }

    /// The rows that were dropped.
    pub fn dropped(&self) -> Dropped {
        self.dropped
    }

    /// Whether the last row is the end of a connection that was refused.
    pub fn ends_with_refusal(&self) -> bool {
        let before = self.rows.iter().nth_back(1);
        before.is_some_and(|row| matches!(row.kind, EntryKind::Opened { refused: true, .. }))
    }

    /// Removes all rows, and resets the count of dropped ones, until [`Self::restore`].
    pub fn clear(&mut self) {
        if self.is_empty() {
            return;
        }
        self.cleared = None;
        let next_id = self.next_id;
        let cleared = std::mem::replace(self, Transcript { next_id, ..Transcript::new() });
        self.cleared = Some(Box::new(cleared));
    }

    /// Whether the rows that were cleared can be restored.
    pub fn has_cleared(&self) -> bool {
        self.cleared.is_some()
    }

    /// Restores the rows that were cleared, before those that were added since.
    pub fn restore(&mut self) {
        if let Some(cleared) = self.cleared.take() {
            let since = std::mem::replace(self, *cleared);
            self.rows.extend(since.rows);
            self.pins.extend(since.pins);
            self.pins.truncate(Self::MAX_PINS);
            self.bytes += since.bytes;
            self.next_id = since.next_id;
        }
    }

    fn index(&self, id: u64) -> Option<usize> {
        let first = self.rows.front()?.id;
        let index = usize::try_from(id.checked_sub(first)?).ok()?;
        (index < self.rows.len()).then_some(index)
    }

    fn keep_within_bounds(&mut self) {
        // All rows together stay within the bounds of one transcript.
        self.cleared.take_if(|cleared| {
            self.rows.len() + cleared.rows.len() > Self::MAX_ROWS
                || self.bytes + cleared.bytes > Self::MAX_BYTES
        });
        while self.rows.len() > 1
            && (self.rows.len() > Self::MAX_ROWS || self.bytes > Self::MAX_BYTES)
        {
            let Some(row) = self.rows.pop_front() else { return };
            let bytes = row.kind.bytes();
            self.bytes -= bytes;
            if self.pins.binary_search(&row.id).is_ok() {
                self.older_pins.push(row);
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
