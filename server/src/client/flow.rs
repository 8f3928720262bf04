//! How much may be on its way to a peer that cannot say so: what comes faster than it is
//! read is lost, and the replies alone tell that something was read.

use std::collections::VecDeque;

/// Bytes that may await their replies before more is sent. A receiver has room for 208 KiB
/// on Linux, where a datagram may take twice its length.
const MOST_BYTES: usize = 64 * 1024;

/// The datagrams that await their replies, one each.
#[derive(Debug)]
pub(super) struct Flow {
    most: usize,
    /// Their lengths, the oldest first. Beyond `most` the oldest is forgotten.
    lengths: VecDeque<usize>,
    bytes: usize,
    /// Whether a reply has ever come.
    answered: bool,
    /// Whether any has been given up.
    given_up: bool,
}

impl Flow {
    /// With `most` datagrams on their way.
    pub(super) fn new(most: usize) -> Flow {
        Flow { most, lengths: VecDeque::new(), bytes: 0, answered: false, given_up: false }
    }

    /// A datagram goes out.
    pub(super) fn sent(&mut self, length: usize) {
        self.lengths.push_back(length);
        self.bytes += length;
        if self.lengths.len() > self.most {
            self.settle();
        }
    }

    /// A reply is here.
    pub(super) fn came(&mut self) {
        self.answered = true;
        self.settle();
    }

    /// The replies that are due will not come any more.
    pub(super) fn give_up(&mut self) {
        self.given_up = true;
        self.lengths.clear();
        self.bytes = 0;
    }

    /// Whether a reply is to be waited for before more is sent; not of a peer that has kept
    /// silent from the first on, since such a one does not answer.
    pub(super) fn is_full(&self) -> bool {
        let answers = self.answered || !self.given_up;
        answers && (self.lengths.len() >= self.most || self.bytes >= MOST_BYTES)
    }

    /// The oldest is through.
    fn settle(&mut self) {
        self.bytes -= self.lengths.pop_front().unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many datagrams of `length` go out before one has to be waited for.
    fn room(flow: &mut Flow, length: usize) -> usize {
        let mut count = 0;
        while !flow.is_full() && count < 1000 {
            flow.sent(length);
            count += 1;
        }
        count
    }

    #[test]
    fn so_many_await_their_replies_and_each_reply_makes_room_for_one() {
        let mut flow = Flow::new(32);
        assert_eq!(room(&mut flow, 100), 32);
        flow.came();
        assert_eq!(room(&mut flow, 100), 1);
    }

    #[test]
    fn of_large_ones_there_are_fewer() {
        assert_eq!(room(&mut Flow::new(32), 4096), 16);
        assert_eq!(room(&mut Flow::new(32), 65_507), 2);
        let mut flow = Flow::new(32);
        room(&mut flow, 65_507);
        flow.came();
        assert_eq!(room(&mut flow, 65_507), 1);
    }

    #[test]
    fn what_is_lost_is_given_up() {
        let mut flow = Flow::new(32);
        room(&mut flow, 1);
        flow.came();
        flow.give_up();
        assert_eq!(room(&mut flow, 1), 32);
        (0..100).for_each(|_| flow.came());
        assert_eq!(room(&mut flow, 1), 32, "late replies make no more room than there is");
    }

    #[test]
    fn a_peer_that_never_answers_is_waited_for_once() {
        let mut flow = Flow::new(32);
        assert_eq!(room(&mut flow, 1), 32);
        flow.give_up();
        assert_eq!(room(&mut flow, 1), 1000);
        assert_eq!(flow.lengths.len(), 32);
        flow.came();
        assert_eq!(room(&mut flow, 1), 1, "it does answer");
    }
}
