//! The time of the next drawing that no event causes.
//!
//! Each part returns from its drawing the time at which it has to be drawn again, if any; the page
//! draws everything at the earliest of these times, and after each event.

use crate::time::Millis;

/// The earliest of several times.
pub fn earliest(times: impl IntoIterator<Item = Option<Millis>>) -> Option<Millis> {
    times.into_iter().flatten().reduce(f64::min)
}

/// The beginning of the next second, at which counted seconds change.
pub fn next_second(now: Millis) -> Millis {
    ((now / 1000.0).floor() + 1.0) * 1000.0
}

/// A limit on how often something expensive is drawn.
#[derive(Clone, Copy, Debug)]
pub struct Throttle {
    interval: Millis,
    last: Option<Millis>,
}

impl Throttle {
    /// A throttle that passes at most once in an interval.
    pub fn new(interval: Millis) -> Throttle {
        Throttle { interval, last: None }
    }

    /// Passes, or returns the time from which on it passes.
    pub fn pass(&mut self, now: Millis) -> Result<(), Millis> {
        match self.last {
            Some(last) if now < last + self.interval => Err(last + self.interval),
            _ => {
                self.last = Some(now);
                Ok(())
            }
        }
    }

    /// Passes at the next call.
    pub fn reset(&mut self) {
        self.last = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_that_holds_back_says_when_it_passes() {
        let mut throttle = Throttle::new(150.0);
        assert_eq!(throttle.pass(1000.0), Ok(()));
        assert_eq!(throttle.pass(1100.0), Err(1150.0));
        assert_eq!(throttle.pass(1150.0), Ok(()));
        throttle.reset();
        assert_eq!(throttle.pass(1151.0), Ok(()));
    }

    #[test]
    fn counted_seconds_change_at_full_seconds() {
        assert_eq!([0.0, 1.0, 999.9, 1000.0].map(next_second), [1000.0, 1000.0, 1000.0, 2000.0]);
    }

    #[test]
    fn the_earliest_wish_counts() {
        assert_eq!(earliest([None, Some(2.0), Some(1.0)]), Some(1.0));
        assert_eq!(earliest([None, None]), None);
    }
}
