//! The send window of datagrams. A datagram transport has no flow control: datagrams that arrive
//! faster than the peer reads them are lost, and only a reply shows that one was read.

use std::collections::VecDeque;

/// The most unanswered bytes. A receive buffer has 208 KiB on Linux, and a datagram may occupy
/// twice its length there.
const MAX_BYTES: usize = 64 * 1024;

/// A limit of unanswered datagrams, each of which is expected to get one reply.
#[derive(Debug)]
pub(super) struct SendWindow {
    /// The most unanswered datagrams.
    limit: usize,
    /// The lengths of the unanswered datagrams, the oldest first.
    lengths: VecDeque<usize>,
    bytes: usize,
    /// Whether a reply has been received.
    answered: bool,
    /// Whether replies have been counted as lost.
    has_losses: bool,
}

impl SendWindow {
    /// Creates a window of `limit` datagrams.
    pub(super) fn new(limit: usize) -> SendWindow {
        SendWindow { limit, lengths: VecDeque::new(), bytes: 0, answered: false, has_losses: false }
    }

    /// Counts a datagram of `length` bytes as sent. If the window is full, the oldest is dropped.
    pub(super) fn sent(&mut self, length: usize) {
        self.lengths.push_back(length);
        self.bytes += length;
        if self.lengths.len() > self.limit {
            self.pop();
        }
    }

    /// Counts a reply as received.
    pub(super) fn received(&mut self) {
        self.answered = true;
        self.pop();
    }

    /// Counts all outstanding replies as lost.
    pub(super) fn reset(&mut self) {
        self.has_losses = true;
        self.lengths.clear();
        self.bytes = 0;
    }

    /// Whether the sender must wait for a reply. A peer that has never replied, and whose replies
    /// have been counted as lost, is not waited for.
    pub(super) fn is_full(&self) -> bool {
        let replies = self.answered || !self.has_losses;
        replies && (self.lengths.len() >= self.limit || self.bytes >= MAX_BYTES)
    }

    /// Removes the oldest datagram.
    fn pop(&mut self) {
        self.bytes -= self.lengths.pop_front().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sends datagrams of `length` bytes until the window is full, and returns their number.
    fn fill(window: &mut SendWindow, length: usize) -> usize {
        let mut count = 0;
        while !window.is_full() && count < 1000 {
            window.sent(length);
            count += 1;
        }
        count
    }

    #[test]
    fn the_window_has_a_limit_of_datagrams_and_each_reply_makes_room_for_one() {
        let mut window = SendWindow::new(32);
        assert_eq!(fill(&mut window, 100), 32);
        window.received();
        assert_eq!(fill(&mut window, 100), 1);
    }

    #[test]
    fn the_window_has_a_limit_of_bytes() {
        assert_eq!(fill(&mut SendWindow::new(32), 4096), 16);
        assert_eq!(fill(&mut SendWindow::new(32), 65_507), 2);
        let mut window = SendWindow::new(32);
        fill(&mut window, 65_507);
        window.received();
        assert_eq!(fill(&mut window, 65_507), 1);
    }

    #[test]
    fn lost_replies_are_not_waited_for_again() {
        let mut window = SendWindow::new(32);
        fill(&mut window, 1);
        window.received();
        window.reset();
        assert_eq!(fill(&mut window, 1), 32);
        (0..100).for_each(|_| window.received());
        assert_eq!(fill(&mut window, 1), 32, "late replies make no more room than there is");
    }

    #[test]
    fn a_peer_that_never_replies_is_waited_for_once() {
        let mut window = SendWindow::new(32);
        assert_eq!(fill(&mut window, 1), 32);
        window.reset();
        assert_eq!(fill(&mut window, 1), 1000);
        assert_eq!(window.lengths.len(), 32);
        window.received();
        assert_eq!(fill(&mut window, 1), 1, "it does reply");
    }
}
