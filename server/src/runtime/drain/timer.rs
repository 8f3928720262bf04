//! The timers of a group, sorted by time.

use std::time::Duration;

/// A time, in milliseconds since the start of the group, and behind it, in the lowest
/// [`KEY_BITS`], the key of a waker: a third of the memory of both apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Timer(u64);

/// The bits of a waker's key in a [`Timer`]: more than a process can have connections. The bits
/// in front of them are enough for eight years.
const KEY_BITS: u32 = 26;

impl Timer {
    /// The timer that expires when `after` has passed since the start, rounded up.
    pub(super) fn new(after: Duration, key: usize) -> Timer {
        let millis = after.as_secs() * 1000 + u64::from(after.subsec_nanos().div_ceil(1_000_000));
        Timer(millis << KEY_BITS | key as u64)
    }

    /// The time since the start.
    pub(super) fn after(self) -> Duration {
        Duration::from_millis(self.0 >> KEY_BITS)
    }

    pub(super) fn key(self) -> usize {
        (self.0 & ((1 << KEY_BITS) - 1)) as usize
    }
}
