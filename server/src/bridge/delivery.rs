//! The delivery of what a client sent before its end: the upstream is owed it for as long
//! as it makes progress.

use std::time::Duration;

use tokio::time::Instant;

use crate::unacknowledged::InFlight;

/// How long an upstream may take none of what a client sent before its Close.
pub(super) const STALL: Duration = Duration::from_secs(60);

/// How often the kernel is asked what is still in flight, at first and later.
const FIRST_LOOK: Duration = Duration::from_millis(5);
const LATER_LOOKS: Duration = Duration::from_millis(200);

/// How long bytes in flight are waited for where the kernel does not tell of them.
const BLIND_WAIT: Duration = Duration::from_millis(200);

/// A delivery in progress.
#[derive(Debug)]
pub(super) struct Delivery {
    /// When the upstream last took something.
    progress: Instant,
    /// How long it may take nothing.
    stall: Duration,
    /// Bytes, or replies that are owed for them, that wait here.
    waiting: usize,
    /// Bytes that the upstream's kernel has acknowledged.
    acknowledged: u64,
    /// When to look again, and how long after that.
    look: Instant,
    interval: Duration,
}

impl Delivery {
    /// One that begins `now`, with `waiting` bytes that are not written yet.
    pub(super) fn new(now: Instant, stall: Duration, waiting: usize) -> Delivery {
        let interval = FIRST_LOOK;
        Delivery { progress: now, stall, waiting, acknowledged: 0, look: now, interval }
    }

    /// Looks how far it is. `waiting` is what is not written yet, and `in_flight` what is
    /// written and not acknowledged, as far as the kernel tells.
    pub(super) fn look(&mut self, now: Instant, waiting: usize, in_flight: Option<InFlight>) {
        let acknowledged = in_flight.map_or(0, |in_flight| in_flight.acknowledged);
        if waiting < self.waiting || acknowledged > self.acknowledged {
            self.progress = now;
            self.interval = FIRST_LOOK;
        }
        (self.waiting, self.acknowledged) = (waiting, acknowledged);
        if self.look <= now {
            self.look = now + self.interval;
            self.interval = (self.interval * 2).min(LATER_LOOKS);
        }
    }

    /// When to look again. While bytes wait here the upstream's socket tells of progress.
    pub(super) fn next_look(&self) -> Instant {
        let stalled = self.progress + self.stall;
        if self.waiting > 0 { stalled } else { stalled.min(self.look) }
    }

    /// Whether the upstream has taken nothing for too long.
    pub(super) fn has_stalled(&self, now: Instant) -> bool {
        now >= self.progress + self.stall
    }

    /// Whether everything written can be taken to have arrived, where nobody tells.
    pub(super) fn has_waited_blindly(&self, now: Instant) -> bool {
        now >= self.progress + BLIND_WAIT
    }
}
