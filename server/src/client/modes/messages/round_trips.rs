//! Round-trip times: the oldest message without a reply is paired with the next reply.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The most messages without a reply that are kept; then the oldest is dropped.
const MAX_PENDING: usize = 1024;

/// The times at which the messages without a reply were sent, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RoundTrips(VecDeque<Instant>);

impl RoundTrips {
    /// Counts a message as sent.
    pub(super) fn sent(&mut self, at: Instant) {
        if self.0.len() == MAX_PENDING {
            self.0.pop_front();
        }
        self.0.push_back(at);
    }

    /// Counts a reply as received, and returns its round-trip time; `None` if no message is
    /// pending, because the server has sent this one of its own accord.
    pub(super) fn received(&mut self, at: Instant) -> Option<Duration> {
        self.0.pop_front().map(|sent| at.saturating_duration_since(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_are_paired_with_messages_in_order() {
        let start = Instant::now();
        let after = |ms| start + Duration::from_millis(ms);
        let mut trips = RoundTrips::default();
        assert_eq!(trips.received(start), None);
        trips.sent(after(0));
        trips.sent(after(10));
        assert_eq!(trips.received(after(30)), Some(Duration::from_millis(30)));
        assert_eq!(trips.received(after(30)), Some(Duration::from_millis(20)));
        assert_eq!(trips.received(after(30)), None);
    }

    #[test]
    fn a_server_that_never_replies_does_not_fill_the_memory() {
        let mut trips = RoundTrips::default();
        (0..10 * MAX_PENDING).for_each(|_| trips.sent(Instant::now()));
        assert_eq!(trips.0.len(), MAX_PENDING);
    }
}
