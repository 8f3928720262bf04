//! The same message again: every so often, or many at once.

use crate::time::Millis;

/// How a message is repeated.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    /// The time between two, and when the next is due.
    every: Millis,
    next: Millis,
    sent: u64,
}

/// How often a message can be repeated, in milliseconds.
pub const EVERY: std::ops::RangeInclusive<u32> = 1..=86_400_000;
/// How many messages can be sent at once.
pub const BURST: std::ops::RangeInclusive<u32> = 1..=1000;

impl Pace {
    /// The most messages that are made up for at once after a pause, as when the browser
    /// does not let a page in the background work.
    pub const MAX_LATE: u32 = 100;

    /// From now on, every so often; the first at once.
    pub fn new(every: Millis, now: Millis) -> Pace {
        Pace { every, next: now, sent: 0 }
    }

    /// How many are due now; they count as sent.
    pub fn due(&mut self, now: Millis) -> u32 {
        let mut due = 0;
        while self.next <= now && due < Self::MAX_LATE {
            self.next += self.every;
            due += 1;
        }
        if self.next <= now {
            // What could not be made up for is let go: the beat goes on from here.
            self.next = now + self.every;
        }
        self.sent += u64::from(due);
        due
    }

    /// How long until the next is due.
    pub fn wait(&self, now: Millis) -> Millis {
        (self.next - now).max(0.0)
    }

    /// How many were sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

/// The number typed, if it is one of these.
pub fn number(typed: &str, range: &std::ops::RangeInclusive<u32>) -> Option<u32> {
    typed.trim().parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_beat_does_not_drift() {
        let mut pace = Pace::new(100.0, 0.0);
        assert_eq!(pace.due(0.0), 1);
        assert_eq!(pace.due(99.0), 0);
        assert_eq!(pace.due(130.0), 1);
        assert_eq!(pace.wait(130.0), 70.0);
        assert_eq!(pace.due(400.0), 3, "what was missed is made up for");
        assert_eq!(pace.sent(), 5);
    }

    #[test]
    fn after_a_long_pause_there_is_no_flood() {
        let mut pace = Pace::new(1.0, 0.0);
        assert_eq!(pace.due(1e9), Pace::MAX_LATE);
        assert_eq!(pace.due(1e9), 0);
        assert_eq!(pace.wait(1e9), 1.0);
    }

    #[test]
    fn only_sensible_numbers_count() {
        assert_eq!(number(" 100 ", &EVERY), Some(100));
        for typed in ["", "0", "-1", "1.5", "99999999999"] {
            assert_eq!(number(typed, &EVERY), None, "{typed}");
        }
        assert_eq!(number("1001", &BURST), None);
    }
}
