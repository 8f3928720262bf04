//! The time to the first byte of an upstream: from the first write to the upstream, or from the
//! beginning of the connection if the upstream sends first.
//!
//! A flag for each of the two events is set until the event has occurred. The flags share a byte
//! with those of the observers, so that a read or write tests both with one load and one mask.

use std::sync::atomic::Ordering;

use super::{
    Entry,
    observed::{AWAITS_READ, AWAITS_WRITE, UPSTREAM_TAPPED},
};

impl Entry {
    /// Whether a read from the upstream is to be reported.
    #[inline]
    pub(crate) fn watches_upstream_reads(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (UPSTREAM_TAPPED | AWAITS_READ) != 0
    }

    /// Whether a write to the upstream is to be reported.
    #[inline]
    pub(crate) fn watches_upstream_writes(&self) -> bool {
        self.flags.load(Ordering::Relaxed) & (UPSTREAM_TAPPED | AWAITS_WRITE) != 0
    }

    /// Records that bytes were written to the upstream.
    pub(crate) fn upstream_written(&self) {
        if self.flags.load(Ordering::Relaxed) & AWAITS_WRITE != 0 {
            let after = u32::try_from(self.since.elapsed().as_micros()).unwrap_or(u32::MAX);
            self.first_write.store(after, Ordering::Relaxed);
            self.flags.fetch_and(!AWAITS_WRITE, Ordering::Relaxed);
        }
    }

    /// Records that bytes were read from the upstream.
    pub(crate) fn upstream_read(&self) {
        if self.flags.load(Ordering::Relaxed) & AWAITS_READ == 0 {
            return;
        }
        self.flags.fetch_and(!AWAITS_READ, Ordering::Relaxed);
        let first_write = self.first_write.load(Ordering::Relaxed);
        // Microseconds in 32 bits end after 71 minutes: the time of a later first write is not
        // known.
        if let Some(metrics) = self.target.metrics.as_ref().filter(|_| first_write < u32::MAX) {
            let written = f64::from(first_write) / 1e6;
            let seconds = self.since.elapsed().as_secs_f64() - written;
            metrics.first_byte_seconds.observe(seconds.max(0.0));
        }
    }
}
