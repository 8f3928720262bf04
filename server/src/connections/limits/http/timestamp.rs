//! The time of the last progress of a connection.

use std::sync::atomic::{AtomicU64, Ordering};

use tokio::time::{Duration, Instant};

/// An instant that any thread can set to now.
#[derive(Debug)]
pub(crate) struct Timestamp {
    start: Instant,
    /// Microseconds after `start`.
    after: AtomicU64,
}

impl Timestamp {
    pub(crate) fn now() -> Timestamp {
        Timestamp { start: Instant::now(), after: AtomicU64::new(0) }
    }

    pub(crate) fn touch(&self) {
        // A process does not run for 2^64 microseconds.
        self.after.store(self.start.elapsed().as_micros() as u64, Ordering::Relaxed);
    }

    pub(crate) fn get(&self) -> Instant {
        self.start + Duration::from_micros(self.after.load(Ordering::Relaxed))
    }
}
