//! A histogram of durations with logarithmic buckets: bounded memory, and quantiles that are exact up to
//! [`Histogram::EXACT`] durations and then off by at most a thirty-second.

use crate::time::Millis;

/// Buckets per power of two.
const STEPS: u32 = 16;
/// Powers of two of a microsecond, which reach beyond an hour.
const DOUBLINGS: u32 = 32;

/// The number of bars that a histogram has at least, empty ones included.
const MIN_BARS: usize = 24;

/// The number of durations in each bucket.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Empty until the first duration.
    buckets: Vec<u32>,
    /// All durations, ascending, as long as there are at most [`Self::EXACT`].
    sorted: Vec<Millis>,
    count: u64,
    sum: Millis,
    min: Millis,
    max: Millis,
    last: Millis,
}

/// A bar of the histogram: the durations from `from` to `to`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bar {
    /// The lower bound, included.
    pub from: Millis,
    /// The upper bound, excluded.
    pub to: Millis,
    /// The number of durations.
    pub count: u64,
}

impl Histogram {
    /// The most durations of which quantiles are exact.
    pub const EXACT: u64 = 4096;

    /// Adds a duration.
    pub fn add(&mut self, span: Millis) {
        if self.count < Self::EXACT {
            let at = self.sorted.partition_point(|it| *it < span);
            self.sorted.insert(at, span);
        } else {
            self.sorted = Vec::new();
        }
        if self.buckets.is_empty() {
            self.buckets = vec![0; ((DOUBLINGS - 4) * STEPS + STEPS) as usize];
            (self.min, self.max) = (span, span);
        }
        let last = self.buckets.len() - 1;
        self.buckets[bucket(micros(span)).min(last)] += 1;
        self.min = self.min.min(span);
        self.max = self.max.max(span);
        self.count += 1;
        self.sum += span;
        self.last = span;
    }

    /// The number of durations.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// The last duration; `None`, as from the methods below, before the first.
    pub fn last(&self) -> Option<Millis> {
        self.any(self.last)
    }

    /// The shortest duration.
    pub fn min(&self) -> Option<Millis> {
        self.any(self.min)
    }

    /// The longest duration.
    pub fn max(&self) -> Option<Millis> {
        self.any(self.max)
    }

    /// The arithmetic mean.
    pub fn mean(&self) -> Option<Millis> {
        self.any(self.sum / self.count as f64)
    }

    /// Whether quantiles are exact.
    pub fn is_exact(&self) -> bool {
        self.count <= Self::EXACT
    }

    /// The duration that `per_mille` of a thousand do not exceed.
    pub fn quantile(&self, per_mille: u64) -> Option<Millis> {
        let rank = (self.count * per_mille).div_ceil(1000).max(1);
        if let Some(span) = self.sorted.get(rank as usize - 1) {
            return Some(*span);
        }
        let mut seen = 0;
        let bucket = self.buckets.iter().position(|&count| {
            seen += u64::from(count);
            seen >= rank
        })?;
        let middle = (start(bucket) + start(bucket + 1) - 1.0) / 2.0;
        // `clamp` would format its bounds where it panics, and the formatting of floats would add a
        // twentieth to the page's size.
        Some((middle / 1000.0).max(self.min).min(self.max))
    }

    /// The durations in at most `most` bars, from the shortest to the longest; a bar is a power of two
    /// of buckets wide. Around a few close durations there are empty bars, so that they do not look
    /// like a wide distribution.
    pub fn bars(&self, most: usize) -> Vec<Bar> {
        let filled = |&count: &u32| count > 0;
        let Some(first) = self.buckets.iter().position(filled) else { return Vec::new() };
        let last = self.buckets.iter().rposition(filled).unwrap_or(first);
        let mut width = 1;
        while last / width - first / width >= most.max(1) {
            width *= 2;
        }
        let (mut first, mut last) = (first / width, last / width);
        let missing = MIN_BARS.min(most).saturating_sub(last - first + 1);
        first = first.saturating_sub(missing / 2);
        last = (last + missing.div_ceil(2)).min((self.buckets.len() - 1) / width);
        (first..=last)
            .map(|bar| {
                let (from, to) = (bar * width, (bar + 1) * width);
                let buckets = &self.buckets[from..to.min(self.buckets.len())];
                let count = buckets.iter().map(|&count| u64::from(count)).sum();
                Bar { from: start(from) / 1000.0, to: start(to) / 1000.0, count }
            })
            .collect()
    }

    fn any(&self, value: Millis) -> Option<Millis> {
        (self.count > 0).then_some(value)
    }
}

fn micros(span: Millis) -> u32 {
    // A cast from a float saturates, and turns NaN into 0.
    (span * 1000.0).round() as u32
}

/// The bucket of a duration in microseconds: its own below [`STEPS`]; from there on given by its
/// leading bit and the four after it.
fn bucket(micros: u32) -> usize {
    if micros < STEPS {
        return micros as usize;
    }
    let doubling = 31 - micros.leading_zeros() - 4;
    (doubling * STEPS + (micros >> doubling)) as usize
}

/// The lower bound of a bucket, in microseconds.
fn start(bucket: usize) -> f64 {
    let bucket = bucket as u64;
    let steps = u64::from(STEPS);
    if bucket < 2 * steps {
        return bucket as f64;
    }
    let doubling = bucket / steps - 1;
    ((bucket % steps + steps) << doubling) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn before_the_first_reply_there_is_no_figure() {
        let none = Histogram::default();
        assert_eq!((none.last(), none.min(), none.max(), none.mean()), (None, None, None, None));
        assert_eq!(none.quantile(500), None);
        assert_eq!(none.bars(10), []);
    }

    #[test]
    fn the_summary_holds_minimum_maximum_mean_and_last() {
        let mut histogram = Histogram::default();
        for span in [2.0, 1.0, 6.0] {
            histogram.add(span);
        }
        assert_eq!(histogram.min(), Some(1.0));
        assert_eq!(histogram.max(), Some(6.0));
        assert_eq!(histogram.mean(), Some(3.0));
        assert_eq!(histogram.last(), Some(6.0));
        assert_eq!(histogram.quantile(1000), Some(6.0));
    }

    #[test]
    fn quantiles_of_few_durations_are_among_them() {
        let mut histogram = Histogram::default();
        for span in [31.6, 15.4, 15.9] {
            histogram.add(span);
        }
        assert_eq!(
            [500, 900, 990].map(|per_mille| histogram.quantile(per_mille).unwrap()),
            [15.9, 31.6, 31.6]
        );
    }

    #[test]
    fn buckets_follow_each_other_without_a_gap() {
        for micros in 0..100_000u32 {
            let bucket = bucket(micros);
            let (start, next) = (start(bucket), start(bucket + 1));
            assert!(start <= f64::from(micros) && f64::from(micros) < next, "{micros}");
        }
    }

    #[test]
    fn a_single_duration_is_a_narrow_bar_in_the_middle() {
        let mut histogram = Histogram::default();
        histogram.add(1.0);
        let bars = histogram.bars(40);
        assert_eq!(bars.len(), MIN_BARS);
        let at = bars.iter().position(|bar| bar.count == 1);
        assert_eq!(at, Some(11));
    }

    #[test]
    fn no_span_is_too_long_or_too_odd() {
        let mut histogram = Histogram::default();
        for span in [1e12, f64::NAN, -1.0, 0.0] {
            histogram.add(span);
        }
        assert_eq!(histogram.count(), 4);
        assert_eq!(histogram.bars(8).iter().map(|bar| bar.count).sum::<u64>(), 4);
    }

    proptest! {
        #[test]
        fn quantiles_are_exact_for_few_durations_and_within_a_thirty_second_for_many(
            spans in prop::collection::vec(0..5_000_000u32, 1..200),
            per_mille in 0..=1000u64,
            is_few: bool,
        ) {
            let count = if is_few { spans.len() } else { Histogram::EXACT as usize + 1 };
            let mut spans: Vec<u32> = spans.into_iter().cycle().take(count).collect();
            let mut histogram = Histogram::default();
            for &span in &spans {
                histogram.add(f64::from(span) / 1000.0);
            }
            spans.sort_unstable();
            let rank = (count as u64 * per_mille).div_ceil(1000).max(1) as usize;
            let exact = f64::from(spans[rank - 1]) / 1000.0;
            let estimate = histogram.quantile(per_mille).unwrap();
            let error = if is_few { 0.0 } else { exact / 32.0 + 1e-9 };
            prop_assert!((estimate - exact).abs() <= error, "{estimate} for {exact}");
            prop_assert_eq!(histogram.is_exact(), is_few);
        }

        #[test]
        fn bars_hold_every_span_and_are_not_too_many(
            spans in prop::collection::vec(0.0..1e6, 1..50),
            most in 1..40usize,
        ) {
            let mut histogram = Histogram::default();
            spans.iter().for_each(|&span| histogram.add(span));
            let bars = histogram.bars(most);
            prop_assert!(bars.len() <= most);
            prop_assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), spans.len() as u64);
            prop_assert!(bars.windows(2).all(|two| two[0].to == two[1].from));
        }
    }
}
