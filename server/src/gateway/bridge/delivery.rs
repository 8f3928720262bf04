//! The delivery of what a client sent before its end: the upstream is owed it for as long
//! as it makes progress.

use std::time::Duration;

use tokio::time::Instant;

use echogate_event_loop::InFlight;

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
    /// Bytes that are not written yet.
    unwritten: usize,
    /// Replies that the upstream owes, as far as they hold the client back.
    owed: usize,
    /// Bytes that the upstream's kernel has acknowledged.
    acknowledged: u64,
    /// When to look again, and how long after that.
    look: Instant,
    interval: Duration,
}

impl Delivery {
    /// A delivery that begins `now`; the upstream may take nothing for `stall`.
    pub(super) fn new(now: Instant, stall: Duration) -> Delivery {
        Delivery {
            progress: now,
            stall,
            unwritten: 0,
            owed: 0,
            acknowledged: 0,
            look: now,
            interval: FIRST_LOOK,
        }
    }

    /// Sets how long the upstream may take nothing, from `now` on if that changes.
    pub(super) fn set_stall(&mut self, now: Instant, stall: Duration) {
        if stall != self.stall {
            (self.stall, self.progress) = (stall, now);
        }
    }

    /// Notes how far the delivery is: bytes that are not written yet, replies that are owed
    /// and hold the client back, and what is written and not acknowledged, as far as the kernel
    /// tells.
    pub(super) fn look(
        &mut self,
        now: Instant,
        unwritten: usize,
        owed: usize,
        in_flight: Option<InFlight>,
    ) {
        let acknowledged = in_flight.map_or(0, |in_flight| in_flight.acknowledged);
        if unwritten < self.unwritten || owed < self.owed || acknowledged > self.acknowledged {
            self.progress = now;
            self.interval = FIRST_LOOK;
        }
        (self.unwritten, self.owed, self.acknowledged) = (unwritten, owed, acknowledged);
        if self.look <= now {
            self.look = now + self.interval;
            self.interval = (self.interval * 2).min(LATER_LOOKS);
        }
    }

    /// When to look again. While bytes wait here the upstream's socket tells of progress.
    pub(super) fn next_look(&self) -> Instant {
        let stalled = self.progress + self.stall;
        if self.unwritten > 0 { stalled } else { stalled.min(self.look) }
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
