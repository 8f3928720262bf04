//! Which reply belongs to which line, as far as order can tell.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// Lines without a reply that are remembered; beyond it the oldest is forgotten.
const MAX_UNANSWERED: usize = 1024;

/// When the lines were sent that wait for their replies, the oldest first.
#[derive(Debug, Default)]
pub(super) struct RoundTrips(VecDeque<Instant>);

impl RoundTrips {
    /// A line goes out.
    pub(super) fn sent(&mut self, at: Instant) {
        if self.0.len() == MAX_UNANSWERED {
            self.0.pop_front();
        }
        self.0.push_back(at);
    }

    /// A reply is here: how long the oldest unanswered line has waited for it, or
    /// nothing if none waits and the server speaks for itself.
    pub(super) fn received(&mut self, at: Instant) -> Option<Duration> {
        self.0.pop_front().map(|sent| at.saturating_duration_since(sent))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_answer_the_lines_in_order() {
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
    fn a_server_that_never_answers_does_not_fill_the_memory() {
        let mut trips = RoundTrips::default();
        (0..10 * MAX_UNANSWERED).for_each(|_| trips.sent(Instant::now()));
        assert_eq!(trips.0.len(), MAX_UNANSWERED);
    }
}
