//! Turns: the time for which a task may run before others do.

use std::time::{Duration, Instant};

/// Reads and writes in one turn, at most.
pub(crate) const BUDGET: u32 = 128;

/// Reads and writes in one turn before the clock is read. Most turns make fewer: turns of small
/// messages pay for no clock.
pub(crate) const UNTIMED_OPERATIONS: u32 = 4;

/// Bytes in one read or write from which on the clock is read before the next one.
const BULK_BYTES: usize = 16 * 1024;

/// The duration of a turn from the moment at which its clock is first read.
pub(crate) const TIME_SLICE: Duration = Duration::from_micros(500);

/// The turn of the task that is being polled.
#[derive(Clone, Copy, Default)]
pub(crate) struct Turn {
    /// Reads and writes so far.
    operations: u32,
    /// One of them moved [`BULK_BYTES`] or more, or the task has other lengthy work.
    pub(crate) is_bulk: bool,
    /// The end of the turn, once the clock has been read.
    until: Option<Instant>,
    /// The task has to wait for its next turn.
    pub(crate) is_over: bool,
}

impl Turn {
    /// Whether the task may read or write once more. If not, the task has to return, and is
    /// polled again after others.
    #[inline]
    pub(crate) fn may_continue(&mut self) -> bool {
        if self.operations < UNTIMED_OPERATIONS && !self.is_bulk {
            return true;
        }
        self.may_continue_by_clock()
    }

    fn may_continue_by_clock(&mut self) -> bool {
        let is_over = self.operations >= BUDGET || {
            let now = Instant::now();
            now >= *self.until.get_or_insert(now + TIME_SLICE)
        };
        self.is_over |= is_over;
        !is_over
    }

    /// Counts a read or write of `len` bytes.
    #[inline]
    pub(crate) fn count(&mut self, len: usize) {
        self.operations += 1;
        self.is_bulk |= len >= BULK_BYTES;
    }
}
