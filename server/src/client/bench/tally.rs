//! What has been measured so far.

use std::{
    sync::{Mutex, MutexGuard},
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;

/// The longest latency that is told apart from longer ones.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Digits of a latency that count.
const DIGITS: u8 = 3;

/// What some of the connections have measured.
#[derive(Debug)]
pub(super) struct Tally {
    /// From when on messages are measured.
    since: Instant,
    /// Latencies in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// When the last of the measured messages was answered.
    pub(super) last: Option<Instant>,
    /// Messages answered, measured or not.
    pub(super) answered: u64,
    /// WebSocket frames that they came in.
    pub(super) frames: u64,
    /// Datagrams that were measured, and whose replies have not come in time.
    pub(super) lost: u64,
    /// Datagrams that were a right reply to what was lost or answered already.
    pub(super) stray: u64,
}

/// The tallies of all connections. A few of them share one, so that many take little
/// memory and rarely meet.
#[derive(Debug)]
pub(super) struct Tallies(Vec<Mutex<Tally>>);

impl Tally {
    fn new(since: Instant) -> Tally {
        let max = MAX_LATENCY.as_nanos() as u64;
        let latency = Histogram::new_with_bounds(1, max, DIGITS).expect("the bounds are in order");
        Tally { since, latency, last: None, answered: 0, frames: 0, lost: 0, stray: 0 }
    }

    /// Counts an answer that came `now`, to a message of the moment `at`.
    pub(super) fn count(&mut self, at: Instant, now: Instant) {
        self.answered += 1;
        if at >= self.since {
            let latency = now.saturating_duration_since(at).as_nanos();
            self.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
            self.last = self.last.max(Some(now));
        }
    }

    /// Counts a message of the moment `at` as lost.
    pub(super) fn lose(&mut self, at: Instant) {
        if at >= self.since {
            self.lost += 1;
        }
    }

    fn add(&mut self, other: &Tally) {
        self.latency.add(&other.latency).expect("the bounds are the same");
        self.last = self.last.max(other.last);
        self.answered += other.answered;
        self.frames += other.frames;
        self.lost += other.lost;
        self.stray += other.stray;
    }
}

impl Tallies {
    /// For messages from the moment `since` on.
    pub(super) fn new(since: Instant) -> Tallies {
        let count = 4 * thread::available_parallelism().map_or(1, usize::from);
        Tallies((0..count).map(|_| Mutex::new(Tally::new(since))).collect())
    }

    /// The one that the connection `number` counts in.
    pub(super) fn of(&self, number: usize) -> MutexGuard<'_, Tally> {
        self.0[number % self.0.len()].lock().expect("no holder panics")
    }

    /// Messages answered so far, measured or not.
    pub(super) fn answered(&self) -> u64 {
        (0..self.0.len()).map(|number| self.of(number).answered).sum()
    }

    /// Whether messages have been lost and none has been answered.
    pub(super) fn is_all_lost(&self) -> bool {
        let sum = self.sum();
        sum.answered == 0 && sum.lost > 0
    }

    /// All of it.
    pub(super) fn sum(&self) -> Tally {
        let mut sum = Tally::new(self.of(0).since);
        (0..self.0.len()).for_each(|number| sum.add(&self.of(number)));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_warm_up_are_answered_or_lost_and_not_measured() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let tallies = Tallies::new(at(100));
        tallies.of(0).count(at(99), at(500));
        tallies.of(1).count(at(100), at(102));
        tallies.of(0).lose(at(99));
        tallies.of(1).lose(at(100));
        let sum = tallies.sum();
        assert_eq!((tallies.answered(), sum.latency.len(), sum.lost), (2, 1, 1));
        assert_eq!(sum.last, Some(at(102)));
        let millis = Duration::from_nanos(sum.latency.max()).as_secs_f64() * 1000.0;
        assert!((millis - 2.0).abs() < 0.01, "{millis}");
    }
}
