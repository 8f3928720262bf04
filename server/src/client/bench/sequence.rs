//! Sequence numbers in messages, by which replies to datagrams are matched. A reply may be late,
//! duplicated, reordered or lost.

use super::{
    args::Expect,
    payload::{Mismatch, Payload},
};

/// The digits of a number.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

/// The bits that a digit holds.
const BITS: u32 = 5;

/// The most digits of a number, enough for years of messages.
const MAX_DIGITS: u64 = 10;

/// The messages of one socket, which begin with their sequence numbers.
#[derive(Clone, Copy, Debug)]
pub(super) struct Sequence {
    /// The index of the first message in the payload.
    first: u64,
    /// The number of bytes of a message that hold its number. The numbers of short messages wrap
    /// around.
    digits: usize,
    upper: bool,
}

impl Sequence {
    /// Creates the messages of the socket `socket`, without numbers if any reply is accepted.
    pub(super) fn new(payload: &Payload, socket: usize) -> Sequence {
        let max = if payload.expect == Expect::Any { 0 } else { MAX_DIGITS };
        Sequence {
            first: payload.first_message(socket),
            digits: max.min(payload.size) as usize,
            upper: payload.expect == Expect::Upper,
        }
    }

    /// Writes message `number` to `message`, which has its length.
    pub(super) fn write(self, payload: &Payload, number: u64, message: &mut [u8]) {
        let at = (self.first + number) * payload.size;
        message.copy_from_slice(payload.wire(at, payload.size));
        for (position, byte) in message[..self.digits].iter_mut().enumerate() {
            *byte = self.digit(number, position);
        }
    }

    /// Compares `reply`, which has the right length, with the expected reply to message `number`.
    pub(super) fn check(
        self,
        payload: &Payload,
        number: u64,
        reply: &[u8],
    ) -> Result<(), Mismatch> {
        for (position, got) in reply[..self.digits].iter().enumerate() {
            let mut expected = self.digit(number, position);
            if self.upper {
                expected.make_ascii_uppercase();
            }
            if *got != expected {
                return Err(Mismatch { at: position, expected, got: *got });
            }
        }
        let at = (self.first + number) * payload.size + self.digits as u64;
        let rest = payload.check(at, &reply[self.digits..]);
        rest.map_err(|mismatch| Mismatch { at: mismatch.at + self.digits, ..mismatch })
    }

    /// Reads the number in `reply`, if it has one. The result stands for all numbers that
    /// [`Self::matches`] accepts.
    pub(super) fn read(self, reply: &[u8]) -> Option<u64> {
        reply[..self.digits].iter().try_fold(0, |number, byte| {
            let digit = if self.upper { byte.to_ascii_lowercase() } else { *byte };
            let value = DIGITS.iter().position(|known| *known == digit)?;
            Some(number << BITS | value as u64)
        })
    }

    /// Whether `number` has the same digits as `read`.
    pub(super) fn matches(self, number: u64, read: u64) -> bool {
        number % self.count() == read
    }

    /// The latest number below `end` with the same digits as `read`.
    pub(super) fn latest(self, end: u64, read: u64) -> Option<u64> {
        let last = end.checked_sub(1)?;
        Some(last - last.checked_sub(read)? % self.count())
    }

    /// The number of different sequence numbers.
    fn count(self) -> u64 {
        1 << (BITS * self.digits as u32)
    }

    fn digit(self, number: u64, position: usize) -> u8 {
        let shift = BITS * (self.digits - 1 - position) as u32;
        DIGITS[(number >> shift) as usize % DIGITS.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [u64; 5] = [1, 2, 10, 11, 64];

    /// The messages of the socket 1, and the expected replies.
    fn messages(payload: &Payload) -> (Sequence, impl Fn(u64) -> Vec<u8>) {
        let sequence = Sequence::new(payload, 1);
        (sequence, move |number| {
            let mut message = vec![0; payload.size as usize];
            sequence.write(payload, number, &mut message);
            if payload.expect == Expect::Upper {
                message.make_ascii_uppercase();
            }
            message
        })
    }

    #[test]
    fn a_reply_is_matched_by_its_number() {
        for (size, expect) in SIZES.into_iter().zip([Expect::Upper, Expect::Echo].iter().cycle()) {
            let payload = Payload::new(size, 3, *expect, false);
            let (sequence, reply) = messages(&payload);
            for number in [0, 1, 31, 32, 1000, 1 << 40] {
                let reply = reply(number);
                assert_eq!(sequence.check(&payload, number, &reply), Ok(()));
                let read = sequence.read(&reply).unwrap();
                assert!(sequence.matches(number, read));
                assert!(!sequence.matches(number + 1, read));
                assert_eq!(sequence.latest(number + 1, read), Some(number));
                assert_ne!(sequence.latest(number, read), Some(number));
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_found_in_the_number_and_after_it() {
        let payload = Payload::new(64, 1, Expect::Upper, false);
        let (sequence, reply) = messages(&payload);
        for at in [0, 9, 10, 63] {
            let mut reply = reply(7);
            let expected = std::mem::replace(&mut reply[at], b'\n');
            let mismatch = Mismatch { at, expected, got: b'\n' };
            assert_eq!(sequence.check(&payload, 7, &reply), Err(mismatch));
            assert_eq!(sequence.read(&reply), (at > 9).then_some(7));
        }
    }

    #[test]
    fn without_numbers_a_reply_matches_any_message() {
        let payload = Payload::new(20, 1, Expect::Any, false);
        let sequence = Sequence::new(&payload, 0);
        let read = sequence.read(&[b'\n'; 20]).unwrap();
        assert!(sequence.matches(7, read));
        assert_eq!((sequence.latest(8, read), sequence.latest(0, read)), (Some(7), None));
        assert_eq!(sequence.check(&payload, 7, &[b'\n'; 20]), Ok(()));
    }
}
