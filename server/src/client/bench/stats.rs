//! Statistics of the measurement.

use std::{
    thread,
    time::{Duration, Instant},
};

use hdrhistogram::Histogram;
use parking_lot::{Mutex, MutexGuard};

/// The largest latency that is recorded exactly; larger ones count as this one.
const MAX_LATENCY: Duration = Duration::from_secs(3600);

/// Significant digits of a latency.
const DIGITS: u8 = 3;

/// The statistics of some connections.
#[derive(Debug)]
pub(super) struct Stats {
    /// The start of the measurement.
    since: Instant,
    /// Latencies in nanoseconds.
    pub(super) latency: Histogram<u64>,
    /// The time of the last measured reply.
    pub(super) last: Option<Instant>,
    /// Messages answered, including the warm-up.
    pub(super) answered: u64,
    /// WebSocket frames of the replies.
    pub(super) frames: u64,
    /// Measured datagrams without a reply in time.
    pub(super) lost: u64,
    /// Valid replies to messages that were lost or answered before.
    pub(super) stray: u64,
}

/// The statistics of all connections, in a few shards to limit both memory and contention.
#[derive(Debug)]
pub(super) struct ShardedStats(Vec<Mutex<Stats>>);

impl Stats {
    fn new(since: Instant) -> Stats {
        let max = MAX_LATENCY.as_nanos() as u64;
        let latency = Histogram::new_with_bounds(1, max, DIGITS).expect("the bounds are in order");
        Stats { since, latency, last: None, answered: 0, frames: 0, lost: 0, stray: 0 }
    }

    /// Records a reply received `now` to a message whose latency counts from `at`.
    pub(super) fn record(&mut self, at: Instant, now: Instant) {
        self.answered += 1;
        if at >= self.since {
            let latency = now.saturating_duration_since(at).as_nanos();
            self.latency.saturating_record(u64::try_from(latency).unwrap_or(u64::MAX));
            self.last = self.last.max(Some(now));
        }
    }

    /// Records the loss of a message whose latency counts from `at`.
    pub(super) fn record_loss(&mut self, at: Instant) {
        if at >= self.since {
            self.lost += 1;
        }
    }

    fn add(&mut self, other: &Stats) {
        self.latency.add(&other.latency).expect("the bounds are the same");
        self.last = self.last.max(other.last);
        self.answered += other.answered;
        self.frames += other.frames;
        self.lost += other.lost;
        self.stray += other.stray;
    }
}

impl ShardedStats {
    /// Creates statistics that measure messages from `since` on.
    pub(super) fn new(since: Instant) -> ShardedStats {
        let count = 4 * thread::available_parallelism().map_or(1, usize::from);
        ShardedStats((0..count).map(|_| Mutex::new(Stats::new(since))).collect())
    }

    /// The shard of the connection `number`.
    pub(super) fn of(&self, number: usize) -> MutexGuard<'_, Stats> {
        self.0[number % self.0.len()].lock()
    }

    /// Messages answered so far, including the warm-up.
    pub(super) fn answered(&self) -> u64 {
        (0..self.0.len()).map(|number| self.of(number).answered).sum()
    }

    /// Whether messages were lost and none was answered.
    pub(super) fn is_all_lost(&self) -> bool {
        let sum = self.sum();
        sum.answered == 0 && sum.lost > 0
    }

    /// The sum of all shards.
    pub(super) fn sum(&self) -> Stats {
        let mut sum = Stats::new(self.of(0).since);
        (0..self.0.len()).for_each(|number| sum.add(&self.of(number)));
        sum
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_of_the_warm_up_are_counted_and_not_measured() {
        let start = Instant::now();
        let at = |millis| start + Duration::from_millis(millis);
        let stats = ShardedStats::new(at(100));
        stats.of(0).record(at(99), at(500));
        stats.of(1).record(at(100), at(102));
        stats.of(0).record_loss(at(99));
        stats.of(1).record_loss(at(100));
        let sum = stats.sum();
        assert_eq!((stats.answered(), sum.latency.len(), sum.lost), (2, 1, 1));
        assert_eq!(sum.last, Some(at(102)));
        let millis = Duration::from_nanos(sum.latency.max()).as_secs_f64() * 1000.0;
        assert!((millis - 2.0).abs() < 0.01, "{millis}");
    }
}
