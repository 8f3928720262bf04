//! A file sent in parts, and the comparison of its echo.
//!
//! The echo is a stream whose message boundaries do not matter. The bytes in flight are bounded, so
//! that a large file takes no more memory than that.

use std::{collections::VecDeque, ops::Range};

use crate::time::Millis;

/// The answer that a service should give.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// The same bytes, `a` to `z` as `A` to `Z`.
    Upper,
    /// The same bytes.
    Same,
    /// Anything, or nothing.
    Anything,
}

/// A file transfer.
#[derive(Debug)]
pub struct Transfer {
    name: String,
    size: u64,
    expect: Expect,
    started: Millis,
    /// Bytes read from the file, or being read.
    requested: u64,
    sent: u64,
    /// Bytes that came back as expected.
    verified: u64,
    /// Bytes that are still expected back.
    expected: VecDeque<u8>,
    end: Option<(End, Millis)>,
}

/// The end of a transfer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Everything was sent and, if compared, came back as expected.
    Done,
    /// A byte came back different.
    Mismatch {
        /// The byte's offset.
        at: u64,
        /// The expected byte.
        expected: u8,
        /// The received byte.
        found: u8,
    },
    /// The user stopped it.
    Stopped,
    /// The connection ended first.
    Lost,
    /// The file could not be read.
    Unreadable,
}

impl Transfer {
    /// The size of a part, which is one message.
    pub const PART: u64 = 64 << 10;
    /// The most bytes in flight: sent and not yet back.
    pub const MAX_IN_FLIGHT: u64 = 1 << 20;

    /// A transfer that begins now.
    pub fn new(name: String, size: u64, expect: Expect, now: Millis) -> Transfer {
        let expected = VecDeque::new();
        let end = (size == 0).then_some((End::Done, now));
        Transfer {
            name,
            size,
            expect,
            started: now,
            requested: 0,
            sent: 0,
            verified: 0,
            expected,
            end,
        }
    }

    /// The part of the file to read next and pass to [`Self::part_read`], if there is room for one.
    /// `unsent` is the number of bytes that the page and the browser have not sent yet.
    pub fn next_part(&mut self, unsent: usize) -> Option<Range<u64>> {
        let reading = self.requested > self.sent;
        let in_flight = match self.expect {
            Expect::Anything => unsent as u64,
            _ => (self.sent - self.verified).max(unsent as u64),
        };
        let room = in_flight.saturating_add(Self::PART) <= Self::MAX_IN_FLIGHT;
        if reading || !room || self.requested == self.size || self.end.is_some() {
            return None;
        }
        let start = self.requested;
        self.requested = (start + Self::PART).min(self.size);
        Some(start..self.requested)
    }

    /// A part was read and is being sent.
    pub fn part_read(&mut self, bytes: &[u8], now: Millis) {
        self.sent += bytes.len() as u64;
        match self.expect {
            Expect::Upper => self.expected.extend(bytes.iter().map(u8::to_ascii_uppercase)),
            Expect::Same => self.expected.extend(bytes),
            Expect::Anything if self.sent == self.size => self.finish(End::Done, now),
            Expect::Anything => {}
        }
    }

    /// Compares received bytes with those expected.
    pub fn received(&mut self, bytes: &[u8], now: Millis) {
        if self.end.is_some() || self.expect == Expect::Anything {
            return;
        }
        for &found in bytes {
            // Bytes beyond those sent belong to another exchange.
            let Some(expected) = self.expected.pop_front() else { break };
            if expected != found {
                let at = self.verified;
                return self.finish(End::Mismatch { at, expected, found }, now);
            }
            self.verified += 1;
        }
        if self.verified == self.size {
            self.finish(End::Done, now);
        }
    }

    /// Ends the transfer, unless it has ended.
    pub fn finish(&mut self, end: End, now: Millis) {
        if self.end.is_none() {
            self.end = Some((end, now));
            self.expected = VecDeque::new();
        }
    }

    /// The end, if the transfer has ended.
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

    /// The expected answer.
    pub fn expect(&self) -> Expect {
        self.expect
    }

    /// The bytes that are done: verified, or sent where nothing is compared.
    pub fn done(&self) -> u64 {
        if self.expect == Expect::Anything { self.sent } else { self.verified }
    }

    /// The progress in percent.
    pub fn percent(&self) -> u64 {
        (self.done() * 100).checked_div(self.size).unwrap_or(100)
    }

    /// The average rate of done bytes per second.
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
        let mut in_flight: VecDeque<u8> = VecDeque::new();
        let mut offset = 0;
        while transfer.end().is_none() {
            while let Some(range) = transfer.next_part(0) {
                let part = &file[range.start as usize..range.end as usize];
                transfer.part_read(part, 1.0);
                in_flight.extend(part);
            }
            assert!(in_flight.len() as u64 <= Transfer::MAX_IN_FLIGHT, "memory is bounded");
            let back: Vec<u8> = in_flight
                .drain(..chunk.min(in_flight.len()))
                .map(|byte| {
                    offset += 1;
                    service(offset - 1, byte)
                })
                .collect();
            transfer.received(&back, 2.0);
        }
        transfer
    }

    #[test]
    fn one_different_byte_is_found_and_named() {
        let file = vec![b'a'; 300_000];
        let flip = |at, byte: u8| if at == 200_001 { b'x' } else { byte.to_ascii_uppercase() };
        let transfer = run(&file, Expect::Upper, flip, 70_000);
        let wrong = End::Mismatch { at: 200_001, expected: b'A', found: b'x' };
        assert_eq!(transfer.end(), Some(wrong));
        assert_eq!(transfer.percent(), 66);
    }

    #[test]
    fn without_a_comparison_the_transfer_is_done_when_it_is_sent() {
        let mut transfer = Transfer::new("f".to_owned(), 10, Expect::Anything, 0.0);
        assert_eq!(transfer.next_part(usize::MAX), None, "the browser holds enough");
        assert_eq!(transfer.next_part(0), Some(0..10));
        assert_eq!(transfer.next_part(0), None, "that part is being read");
        transfer.part_read(&[0; 10], 1000.0);
        assert_eq!(transfer.end(), Some(End::Done));
        assert_eq!(transfer.per_second(9e9), 10);
    }

    #[test]
    fn an_empty_file_is_done_at_once() {
        let mut transfer = Transfer::new("f".to_owned(), 0, Expect::Same, 0.0);
        assert_eq!((transfer.end(), transfer.percent()), (Some(End::Done), 100));
        assert_eq!(transfer.next_part(0), None);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(16))]

        #[test]
        fn a_true_echo_in_any_chunks_is_verified(
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
