//! A file on its way through a service, piece by piece, and what comes back compared with what
//! should.
//!
//! What comes back is a stream: where its messages begin and end does not matter. Only so much is
//! on the way at once, so that a large file takes no more memory than that.

use std::{collections::VecDeque, ops::Range};

use crate::time::Millis;

/// What a service should answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same bytes, `a` to `z` as `A` to `Z`.
    Upper,
    /// The same bytes.
    Same,
    /// Anything, or nothing.
    Anything,
}

/// A file on its way.
#[derive(Debug)]
pub struct Transfer {
    name: String,
    size: u64,
    expect: Expect,
    started: Millis,
    /// Read so far, or being read.
    asked: u64,
    sent: u64,
    /// Came back as it should.
    verified: u64,
    /// What should still come back of what was sent.
    expected: VecDeque<u8>,
    end: Option<(End, Millis)>,
}

/// How a transfer ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// All was sent, and came back as it should if that was asked for.
    Done,
    /// The byte at this place, from 0, came back wrong.
    Wrong {
        /// Which.
        at: u64,
        /// What should have come.
        expected: u8,
        /// What came.
        found: u8,
    },
    /// Somebody stopped it.
    Stopped,
    /// The connection ended before.
    Lost,
    /// The file could not be read.
    Unreadable,
}

impl Transfer {
    /// The bytes of a piece: one message.
    pub const PIECE: u64 = 64 << 10;
    /// The most that is on the way, in bytes: sent, and not yet back.
    pub const ON_THE_WAY: u64 = 1 << 20;

    /// A file that begins now.
    pub fn new(name: String, size: u64, expect: Expect, now: Millis) -> Transfer {
        let expected = VecDeque::new();
        let end = (size == 0).then_some((End::Done, now));
        Transfer { name, size, expect, started: now, asked: 0, sent: 0, verified: 0, expected, end }
    }

    /// The part of the file to read next and hand to [`Self::piece`], if it is time for one.
    /// `waiting` bytes were handed over and not yet sent.
    pub fn next(&mut self, waiting: usize) -> Option<Range<u64>> {
        let reading = self.asked > self.sent;
        let on_the_way = match self.expect {
            Expect::Anything => waiting as u64,
            _ => (self.sent - self.verified).max(waiting as u64),
        };
        let room = on_the_way.saturating_add(Self::PIECE) <= Self::ON_THE_WAY;
        if reading || !room || self.asked == self.size || self.end.is_some() {
            return None;
        }
        let start = self.asked;
        self.asked = (start + Self::PIECE).min(self.size);
        Some(start..self.asked)
    }

    /// Takes in the piece that was asked for: it is being sent.
    pub fn piece(&mut self, bytes: &[u8], now: Millis) {
        self.sent += bytes.len() as u64;
        match self.expect {
            Expect::Upper => self.expected.extend(bytes.iter().map(u8::to_ascii_uppercase)),
            Expect::Same => self.expected.extend(bytes),
            Expect::Anything if self.sent == self.size => self.finish(End::Done, now),
            Expect::Anything => {}
        }
    }

    /// Compares what came back.
    pub fn received(&mut self, bytes: &[u8], now: Millis) {
        if self.end.is_some() || self.expect == Expect::Anything {
            return;
        }
        for &found in bytes {
            // What comes beyond what was sent belongs to something else.
            let Some(expected) = self.expected.pop_front() else { break };
            if expected != found {
                let at = self.verified;
                return self.finish(End::Wrong { at, expected, found }, now);
            }
            self.verified += 1;
        }
        if self.verified == self.size {
            self.finish(End::Done, now);
        }
    }

    /// Ends it, unless it has ended.
    pub fn finish(&mut self, end: End, now: Millis) {
        if self.end.is_none() {
            self.end = Some((end, now));
            self.expected = VecDeque::new();
        }
    }

    /// How it ended, if it has.
    pub fn end(&self) -> Option<End> {
        self.end.map(|(end, _)| end)
    }

    /// The file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The file's size.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// What is expected to come back.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// How much of it is done: verified, where that was asked for, and sent otherwise.
    pub fn done(&self) -> u64 {
        if self.expect == Expect::Anything { self.sent } else { self.verified }
    }

    /// How far it is, in hundredths.
    pub fn percent(&self) -> u64 {
        (self.done() * 100).checked_div(self.size).unwrap_or(100)
    }

    /// Bytes a second so far, as far as they are done.
    pub fn per_second(&self, now: Millis) -> u64 {
        let until = self.end.map_or(now, |(_, at)| at);
        let span = (until - self.started).max(1.0);
        (self.done() as f64 * 1000.0 / span) as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(file: &[u8], expect: Expect, service: impl Fn(u64, u8) -> u8, chunk: usize) -> Transfer {
        let mut transfer = Transfer::new("f".to_owned(), file.len() as u64, expect, 0.0);
        let mut wire: VecDeque<u8> = VecDeque::new();
        let mut place = 0;
        while transfer.end().is_none() {
            while let Some(range) = transfer.next(0) {
                let piece = &file[range.start as usize..range.end as usize];
                transfer.piece(piece, 1.0);
                wire.extend(piece);
            }
            assert!(wire.len() as u64 <= Transfer::ON_THE_WAY, "memory is bounded");
            let back: Vec<u8> = wire
                .drain(..chunk.min(wire.len()))
                .map(|byte| {
                    place += 1;
                    service(place - 1, byte)
                })
                .collect();
            transfer.received(&back, 2.0);
        }
        transfer
    }

    #[test]
    fn one_wrong_byte_is_found_and_named() {
        let file = vec![b'a'; 300_000];
        let flip = |at, byte: u8| if at == 200_001 { b'x' } else { byte.to_ascii_uppercase() };
        let transfer = run(&file, Expect::Upper, flip, 70_000);
        let wrong = End::Wrong { at: 200_001, expected: b'A', found: b'x' };
        assert_eq!(transfer.end(), Some(wrong));
        assert_eq!(transfer.percent(), 66);
    }

    #[test]
    fn without_a_check_it_is_done_when_it_is_sent() {
        let mut transfer = Transfer::new("f".to_owned(), 10, Expect::Anything, 0.0);
        assert_eq!(transfer.next(usize::MAX), None, "the browser holds enough");
        assert_eq!(transfer.next(0), Some(0..10));
        assert_eq!(transfer.next(0), None, "that piece is being read");
        transfer.piece(&[0; 10], 1000.0);
        assert_eq!(transfer.end(), Some(End::Done));
        assert_eq!(transfer.per_second(9e9), 10);
    }

    #[test]
    fn an_empty_file_is_done_at_once() {
        let mut transfer = Transfer::new("f".to_owned(), 0, Expect::Same, 0.0);
        assert_eq!((transfer.end(), transfer.percent()), (Some(End::Done), 100));
        assert_eq!(transfer.next(0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn whatever_the_chunks_a_true_echo_is_verified(
            file in prop::collection::vec(any::<u8>(), 0..200_000),
            chunk in 1..100_000usize,
        ) {
            let upper = run(&file, Expect::Upper, |_, byte| byte.to_ascii_uppercase(), chunk);
            prop_assert_eq!(upper.end(), Some(End::Done));
            let same = run(&file, Expect::Same, |_, byte| byte, chunk);
            prop_assert_eq!(same.done(), file.len() as u64);
        }
    }
}
