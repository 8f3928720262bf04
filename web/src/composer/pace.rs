//! Repeated sending: at an interval, or many messages at once.

use std::ops::RangeInclusive;

use crate::time::Millis;

/// The schedule of a repeated message.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Pace {
    interval: Millis,
    next: Millis,
    sent: u64,
}

/// The intervals that can be chosen, in milliseconds.
pub const EVERY: RangeInclusive<u32> = 1..=86_400_000;
/// The numbers of messages that can be sent at once.
pub const BURST: RangeInclusive<u32> = 1..=1000;

impl Pace {
    /// The most overdue messages sent at once after a pause, as when the browser suspends a page in
    /// the background.
    pub const MAX_LATE: u32 = 100;

    /// A schedule that begins now.
    pub fn new(interval: Millis, now: Millis) -> Pace {
        Pace { interval, next: now, sent: 0 }
    }

    /// The number of messages that are due; they count as sent.
    pub fn due(&mut self, now: Millis) -> u32 {
        let mut due = 0;
        while self.next <= now && due < Self::MAX_LATE {
            self.next += self.interval;
            due += 1;
        }
        if self.next <= now {
            // Overdue messages beyond the bound are skipped.
            self.next = now + self.interval;
        }
        self.sent += u64::from(due);
        due
    }

    /// The time at which the next message is due.
    pub fn next(&self) -> Millis {
        self.next
    }

    /// The number of messages sent.
    pub fn sent(&self) -> u64 {
        self.sent
    }
}

/// The typed number, if it is in the range.
pub fn parse_number(typed: &str, range: &RangeInclusive<u32>) -> Option<u32> {
    typed.trim().parse().ok().filter(|number| range.contains(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_schedule_does_not_drift() {
        let mut pace = Pace::new(100.0, 0.0);
        assert_eq!(pace.due(0.0), 1);
        assert_eq!(pace.due(99.0), 0);
        assert_eq!(pace.due(130.0), 1);
        assert_eq!(pace.next(), 200.0);
        assert_eq!(pace.due(400.0), 3, "overdue messages are sent");
        assert_eq!(pace.sent(), 5);
    }

    #[test]
    fn overdue_messages_after_a_long_pause_are_bounded() {
        let mut pace = Pace::new(1.0, 0.0);
        assert_eq!(pace.due(1e9), Pace::MAX_LATE);
        assert_eq!(pace.due(1e9), 0);
        assert_eq!(pace.next(), 1e9 + 1.0);
    }

    #[test]
    fn only_sensible_numbers_count() {
        assert_eq!(parse_number(" 100 ", &EVERY), Some(100));
        for typed in ["", "0", "-1", "1.5", "99999999999"] {
            assert_eq!(parse_number(typed, &EVERY), None, "{typed}");
        }
        assert_eq!(parse_number("1001", &BURST), None);
    }
}
