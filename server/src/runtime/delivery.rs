//! The delivery of the bytes that a peer sent before its end: it continues for as long as the
//! receiving peer makes progress.

use std::time::Duration;

use echogate_event_loop::InFlight;
use tokio::time::Instant;

/// The time without progress after which a delivery is given up.
pub(crate) const STALL: Duration = Duration::from_secs(60);

/// The first and the longest interval at which a state that causes no wake-up is polled.
const FIRST_INTERVAL: Duration = Duration::from_millis(5);
const MAX_INTERVAL: Duration = Duration::from_millis(200);

/// The time for bytes in flight to arrive, where the kernel does not report them.
const BLIND_WAIT: Duration = Duration::from_millis(200);

/// The times at which a state that causes no wake-up is polled, at growing intervals.
#[derive(Debug)]
pub(crate) struct Polling {
    pub(crate) next: Instant,
    interval: Duration,
}

impl Polling {
    /// Polling that begins `now`.
    pub(crate) fn new(now: Instant) -> Polling {
        Polling { next: now, interval: FIRST_INTERVAL }
    }

    /// Sets the next time, if the current one has passed.
    pub(crate) fn advance(&mut self, now: Instant) {
        if self.next <= now {
            self.next = now + self.interval;
            self.interval = (self.interval * 2).min(MAX_INTERVAL);
        }
    }
}

/// The progress of a delivery.
#[derive(Debug)]
pub(crate) struct Delivery {
    /// The time of the last progress.
    progress: Instant,
    /// The time without progress after which the delivery is given up.
    stall: Duration,
    /// The number of bytes that are not written yet.
    unwritten: usize,
    /// The number of expected replies, if they keep the sender from being read.
    expected: usize,
    /// The number of bytes that the receiving peer's kernel has acknowledged.
    acknowledged: u64,
    /// The times at which the kernel is asked for the bytes in flight.
    polling: Polling,
}

impl Delivery {
    /// A delivery that begins `now`, and is given up after the time `stall` without progress.
    pub(crate) fn new(now: Instant, stall: Duration) -> Delivery {
        Delivery {
            progress: now,
            stall,
            unwritten: 0,
            expected: 0,
            acknowledged: 0,
            polling: Polling::new(now),
        }
    }

    /// Sets the time without progress; if it changes, it is measured from `now`.
    pub(crate) fn set_stall(&mut self, now: Instant, stall: Duration) {
        if stall != self.stall {
            (self.stall, self.progress) = (stall, now);
        }
    }

    /// Records the current state: bytes that are not written yet, expected replies that keep the
    /// sender from being read, and bytes in flight, as far as the kernel reports them.
    pub(crate) fn update(
        &mut self,
        now: Instant,
        unwritten: usize,
        expected: usize,
        in_flight: Option<InFlight>,
    ) {
        let acknowledged = in_flight.map_or(0, |in_flight| in_flight.acknowledged);
        // Bytes are added only when none are left, so that more of them are progress, too.
        if unwritten != self.unwritten
            || expected < self.expected
            || acknowledged > self.acknowledged
        {
            self.progressed(now);
        }
        (self.unwritten, self.expected, self.acknowledged) = (unwritten, expected, acknowledged);
        self.polling.advance(now);
    }

    /// Records progress that the numbers of [`Delivery::update`] do not show.
    pub(crate) fn progressed(&mut self, now: Instant) {
        self.progress = now;
        self.polling.interval = FIRST_INTERVAL;
    }

    /// The time of the next update. While bytes wait to be written the receiving peer's
    /// socket wakes the task.
    pub(crate) fn next_update(&self) -> Instant {
        let stalled = self.progress + self.stall;
        if self.unwritten > 0 { stalled } else { stalled.min(self.polling.next) }
    }

    /// Whether there was no progress for too long.
    pub(crate) fn has_stalled(&self, now: Instant) -> bool {
        now >= self.progress + self.stall
    }

    /// Whether everything written can be assumed to have arrived, where the kernel does not
    /// report it.
    pub(crate) fn has_waited_blindly(&self, now: Instant) -> bool {
        now >= self.progress + BLIND_WAIT
    }
}
