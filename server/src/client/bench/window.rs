//! The messages that await their replies, where those may be lost.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

/// The messages of one socket that are on their way, and when each was sent.
#[derive(Debug, Default)]
pub(super) struct Window {
    /// Those that are on their way, the oldest first.
    open: VecDeque<(u64, Instant)>,
    /// Messages sent so far, and so the number of the next.
    sent: u64,
}

impl Window {
    pub(super) fn sent(&self) -> u64 {
        self.sent
    }

    /// How many are on their way.
    pub(super) fn len(&self) -> u64 {
        self.open.len() as u64
    }

    /// The oldest on its way.
    pub(super) fn oldest(&self) -> Option<(u64, Instant)> {
        self.open.front().copied()
    }

    /// The next message was sent `now`.
    pub(super) fn send(&mut self, now: Instant) {
        self.open.push_back((self.sent, now));
        self.sent += 1;
    }

    /// The oldest on its way of those that `is_it` says so of.
    pub(super) fn find(&self, is_it: impl Fn(u64) -> bool) -> Option<(u64, Instant)> {
        self.open.iter().find(|(number, _)| is_it(*number)).copied()
    }

    /// Message `number` is not on its way any more.
    pub(super) fn close(&mut self, number: u64) {
        if let Ok(place) = self.open.binary_search_by_key(&number, |(number, _)| *number) {
            self.open.remove(place);
        }
    }

    /// Takes out the oldest, if it has been on its way for `long`.
    pub(super) fn lose(&mut self, now: Instant, long: Duration) -> Option<(u64, Instant)> {
        self.open.pop_front_if(|(_, sent)| now.saturating_duration_since(*sent) >= long)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_on_their_way_until_answered_or_lost() {
        const SECOND: Duration = Duration::from_secs(1);

        let start = Instant::now();
        let mut window = Window::default();
        (0..4).for_each(|seconds| window.send(start + seconds * SECOND));
        assert_eq!(window.find(|number| number > 1), Some((2, start + 2 * SECOND)));
        window.close(2);
        window.close(2);
        assert_eq!((window.len(), window.sent()), (3, 4));
        let now = start + 3 * SECOND;
        assert_eq!(window.lose(now, 2 * SECOND), Some((0, start)));
        assert_eq!(window.lose(now, 2 * SECOND), Some((1, start + SECOND)));
        assert_eq!(window.lose(now, 2 * SECOND), None);
        assert_eq!(window.oldest(), Some((3, now)));
    }
}
