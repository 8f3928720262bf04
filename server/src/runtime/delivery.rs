//! The delivery of the bytes that a peer sent before its end, which goes on for as long as the
//! receiving peer makes progress.

use std::time::Duration;

use echogate_event_loop::InFlight;
use tokio::time::Instant;

use super::write_buffer::WriteBuffer;

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

/// Whether a peer's kernel has acknowledged everything. True where this kernel does not report that.
pub(crate) fn took_all(unwritten: &WriteBuffer, in_flight: Option<InFlight>) -> bool {
    unwritten.is_empty() && in_flight.is_none_or(|in_flight| in_flight.is_nothing())
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
    /// [`Progress::written`] at the last update.
    written: u64,
    /// The number of bytes that the receiving peer's kernel has acknowledged.
    acknowledged: u64,
    /// The times at which the kernel is asked for the bytes in flight.
    polling: Polling,
}

/// The progress of a delivery, as far as the relay knows it.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Progress {
    /// The number of bytes that are not written yet.
    pub(crate) unwritten: usize,
    /// The number of expected replies, if they keep the sender from being read.
    pub(crate) expected: usize,
    /// The number of bytes written since the connection was made, where bytes are added while others
    /// wait, so that `unwritten` alone does not show progress; otherwise 0.
    pub(crate) written: u64,
}

impl Delivery {
    /// Advances the delivery in `slot`, which begins `now` if there is none, and is given up after the
    /// time `stall` without progress; if that time changes, it is measured from `now`.
    pub(crate) fn advance(
        slot: &mut Option<Delivery>,
        now: Instant,
        stall: Duration,
        progress: Progress,
        in_flight: Option<InFlight>,
    ) -> &mut Delivery {
        let delivery = slot.get_or_insert_with(|| Delivery::new(now, stall));
        if stall != delivery.stall {
            (delivery.stall, delivery.progress) = (stall, now);
        }
        delivery.update(now, progress, in_flight);
        delivery
    }

    fn new(now: Instant, stall: Duration) -> Delivery {
        Delivery {
            progress: now,
            stall,
            unwritten: 0,
            expected: 0,
            written: 0,
            acknowledged: 0,
            polling: Polling::new(now),
        }
    }

    /// Records the current state: bytes that are not written yet, expected replies that keep the
    /// sender from being read, and bytes in flight, as far as the kernel reports them.
    fn update(&mut self, now: Instant, progress: Progress, in_flight: Option<InFlight>) {
        let Progress { unwritten, expected, written } = progress;
        let acknowledged = in_flight.map_or(0, |in_flight| in_flight.acknowledged);
        // A side for which `written` stays 0 gets bytes only when it has none left: an increase of
        // `unwritten` is progress there, too.
        if unwritten != self.unwritten
            || expected < self.expected
            || written != self.written
            || acknowledged > self.acknowledged
        {
            self.progressed(now);
        }
        (self.unwritten, self.expected) = (unwritten, expected);
        (self.written, self.acknowledged) = (written, acknowledged);
        self.polling.advance(now);
    }

    fn progressed(&mut self, now: Instant) {
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

    /// Whether everything written has arrived: nothing is `in_flight`, or the delivery has waited for
    /// [`BLIND_WAIT`] where the kernel does not report it.
    pub(crate) fn has_arrived(
        delivery: Option<&Delivery>,
        now: Instant,
        in_flight: Option<InFlight>,
    ) -> bool {
        match in_flight {
            Some(in_flight) => in_flight.is_nothing(),
            None => delivery.is_some_and(|delivery| now >= delivery.progress + BLIND_WAIT),
        }
    }
}
