//! The messages in flight on one datagram socket.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The messages of one socket in flight, and the time at which each was sent.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Numbers and times of the messages in flight, the oldest first.
    open: VecDeque<(u64, Instant)>,
    /// The number of messages sent so far, which is also the number of the next message.
    sent: u64,
}

impl Window {
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// The number of messages in flight.
    pub(super) fn len(&self) -> u64 {
        self.open.len() as u64
    }

    /// The oldest message in flight.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        self.open.front().copied()
    }

    /// Counts the next message as sent `now`.
    pub(super) fn send(&mut self, now: Instant) {
        self.open.push_back((self.sent, now));
        self.sent += 1;
    }

    /// The oldest message in flight for whose number `predicate` holds.
    pub(super) fn find(&self, predicate: impl Fn(u64) -> bool) -> Option<(u64, Instant)> {
        self.open.iter().find(|(number, _)| predicate(*number)).copied()
    }

    /// Removes message `number`, if it is in flight.
    pub(super) fn close(&mut self, number: u64) {
        if let Ok(index) = self.open.binary_search_by_key(&number, |(number, _)| *number) {
            self.open.remove(index);
        }
    }

    /// Removes and returns the oldest message, if it has been in flight for `timeout`.
    pub(super) fn expire(&mut self, now: Instant, timeout: Duration) -> Option<(u64, Instant)> {
        self.open.pop_front_if(|(_, sent)| now.saturating_duration_since(*sent) >= timeout)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_in_flight_until_answered_or_expired() {
        const SECOND: Duration = Duration::from_secs(1);

        let start = Instant::now();
        let mut window = Window::default();
        (0..4).for_each(|seconds| window.send(start + seconds * SECOND));
        assert_eq!(window.find(|number| number > 1), Some((2, start + 2 * SECOND)));
        window.close(2);
        window.close(2);
        assert_eq!((window.len(), window.sent()), (3, 4));
        let now = start + 3 * SECOND;
        assert_eq!(window.expire(now, 2 * SECOND), Some((0, start)));
        assert_eq!(window.expire(now, 2 * SECOND), Some((1, start + SECOND)));
        assert_eq!(window.expire(now, 2 * SECOND), None);
        assert_eq!(window.oldest(), Some((3, now)));
    }
}
