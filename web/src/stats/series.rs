//! The range of a series' values in each fifth of a second of the last minute.

use std::collections::VecDeque;

use crate::time::Millis;

/// The ranges of the latest values, in fixed memory whatever their number.
#[derive(Clone, Debug, Default)]
pub struct Series {
    /// Ascending in time.
    ranges: VecDeque<Range>,
}

/// The range of the values of one interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Range {
    /// The beginning of the interval.
    pub at: Millis,
    /// The smallest value.
    pub least: Millis,
    /// The largest value.
    pub most: Millis,
}

impl Series {
    /// The time span that is kept.
    pub const SPAN: Millis = 60_000.0;
    /// The length of an interval.
    pub const INTERVAL: Millis = 200.0;

    /// Adds a value.
    pub fn add(&mut self, at: Millis, value: Millis) {
        let at = (at / Self::INTERVAL).floor() * Self::INTERVAL;
        match self.ranges.back_mut() {
            Some(last) if last.at >= at => {
                last.least = last.least.min(value);
                last.most = last.most.max(value);
            }
            _ => self.ranges.push_back(Range { at, least: value, most: value }),
        }
        while self.ranges.front().is_some_and(|first| first.at < at - Self::SPAN) {
            self.ranges.pop_front();
        }
    }

    /// The ranges since a point in time, oldest first.
    pub fn since(&self, start: Millis) -> impl Iterator<Item = Range> {
        let first = self.ranges.partition_point(|range| range.at < start);
        self.ranges.range(first..).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_minute_is_kept_whatever_the_number_of_values() {
        let mut series = Series::default();
        for n in 0..100_000 {
            series.add(f64::from(n), f64::from(n % 100));
        }
        let first = series.since(0.0).next();
        assert_eq!(first, Some(Range { at: 39_800.0, least: 0.0, most: 99.0 }));
        assert_eq!(series.since(0.0).count(), 301);
        assert_eq!(series.since(99_000.0).count(), 5);
    }

    #[test]
    fn a_value_that_comes_late_is_not_lost() {
        let mut series = Series::default();
        series.add(1000.0, 5.0);
        series.add(700.0, 9.0);
        let ranges: Vec<_> = series.since(0.0).collect();
        assert_eq!(ranges, [Range { at: 1000.0, least: 5.0, most: 9.0 }]);
    }
}
