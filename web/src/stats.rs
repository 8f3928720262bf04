//! Counters of one connection.

use crate::time::Millis;

/// What went over one connection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Stats {
    /// Messages handed to the browser.
    pub sent: Traffic,
    /// Messages that arrived.
    pub received: Traffic,
    /// How long replies took.
    pub round_trips: RoundTrips,
}

/// Messages one way.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their payload.
    pub bytes: u64,
}

impl Traffic {
    /// Counts a message of so many bytes.
    pub fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes += bytes as u64;
    }
}

/// How long replies took: a summary, of fixed size whatever their number.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoundTrips {
    count: u64,
    sum: Millis,
    least: Millis,
    most: Millis,
    last: Millis,
}

impl RoundTrips {
    /// Counts one.
    pub fn add(&mut self, span: Millis) {
        self.least = if self.count == 0 { span } else { self.least.min(span) };
        self.most = if self.count == 0 { span } else { self.most.max(span) };
        self.count += 1;
        self.sum += span;
        self.last = span;
    }

    /// The latest; `None` before the first.
    pub fn last(&self) -> Option<Millis> {
        self.any(self.last)
    }

    /// The shortest; `None` before the first.
    pub fn least(&self) -> Option<Millis> {
        self.any(self.least)
    }

    /// The longest; `None` before the first.
    pub fn most(&self) -> Option<Millis> {
        self.any(self.most)
    }

    /// The arithmetic mean; `None` before the first.
    pub fn mean(&self) -> Option<Millis> {
        self.any(self.sum / self.count as f64)
    }

    fn any(&self, value: Millis) -> Option<Millis> {
        (self.count > 0).then_some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn before_the_first_reply_there_is_no_figure() {
        let none = RoundTrips::default();
        assert_eq!((none.last(), none.least(), none.most(), none.mean()), (None, None, None, None));
    }

    #[test]
    fn the_summary_holds_least_most_mean_and_last() {
        let mut round_trips = RoundTrips::default();
        for span in [2.0, 1.0, 6.0] {
            round_trips.add(span);
        }
        assert_eq!(round_trips.least(), Some(1.0));
        assert_eq!(round_trips.most(), Some(6.0));
        assert_eq!(round_trips.mean(), Some(3.0));
        assert_eq!(round_trips.last(), Some(6.0));
    }
}
