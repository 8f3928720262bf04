//! The latest values of a series over time.

use std::collections::VecDeque;

use crate::time::Millis;

/// The latest values and their times.
#[derive(Clone, Debug, Default)]
pub struct Series {
    points: VecDeque<(Millis, Millis)>,
}

impl Series {
    /// The most values.
    pub const MAX: usize = 4000;

    /// Adds a value.
    pub fn add(&mut self, at: Millis, value: Millis) {
        if self.points.len() == Self::MAX {
            self.points.pop_front();
        }
        self.points.push_back((at, value));
    }

    /// The times and values since a point in time, oldest first.
    pub fn since(&self, start: Millis) -> impl Iterator<Item = (Millis, Millis)> {
        let first = self.points.partition_point(|&(at, _)| at < start);
        self.points.range(first..).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_latest_values_are_kept() {
        let mut series = Series::default();
        for n in 0..Series::MAX + 10 {
            series.add(n as f64, 0.0);
        }
        assert_eq!(series.since(0.0).next(), Some((10.0, 0.0)));
        assert_eq!(series.since(0.0).count(), Series::MAX);
        assert_eq!(series.since(4005.0).count(), 5);
    }
}
