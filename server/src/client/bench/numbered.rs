//! Messages that bear a number, by which their replies are known: a datagram's reply may
//! come late, twice or never, and overtake another.

use super::{
    Expect,
    script::{Script, Wrong},
};

/// How the digits of a number look; each is worth [`BITS`] bits.
const DIGITS: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";
const BITS: u32 = 5;

/// The most digits: enough to count for years.
const MOST_DIGITS: u64 = 10;

/// The script's messages as one socket sends them, each with its number in front.
#[derive(Clone, Copy, Debug)]
pub(super) struct Numbered {
    /// The script's message that is the first.
    first: u64,
    /// Bytes of a message that are its number. Where those are too few for all digits, the
    /// numbers come round again.
    digits: usize,
    upper: bool,
}

impl Numbered {
    /// The messages of the socket `socket`. They bear no number where any bytes are a reply.
    pub(super) fn new(script: &Script, socket: usize) -> Numbered {
        let most = if script.expect == Expect::Any { 0 } else { MOST_DIGITS };
        Numbered {
            first: script.first_message(socket),
            digits: most.min(script.size) as usize,
            upper: script.expect == Expect::Upper,
        }
    }

    /// Writes message `number`, which `message` is as long as.
    pub(super) fn write(self, script: &Script, number: u64, message: &mut [u8]) {
        let at = (self.first + number) * script.size;
        message.copy_from_slice(script.wire(at, script.size));
        for (place, byte) in message[..self.digits].iter_mut().enumerate() {
            *byte = self.digit(number, place);
        }
    }

    /// Compares `reply`, which has the right length, with that to message `number`.
    pub(super) fn check(self, script: &Script, number: u64, reply: &[u8]) -> Result<(), Wrong> {
        for (place, got) in reply[..self.digits].iter().enumerate() {
            let mut expected = self.digit(number, place);
            if self.upper {
                expected.make_ascii_uppercase();
            }
            if *got != expected {
                return Err(Wrong { at: place, expected, got: *got });
            }
        }
        let at = (self.first + number) * script.size + self.digits as u64;
        let rest = script.check(at, &reply[self.digits..]);
        rest.map_err(|wrong| Wrong { at: wrong.at + self.digits, ..wrong })
    }

    /// The number that `reply` bears, if it is one: those of which [`Self::alike`] says so
    /// look the same.
    pub(super) fn read(self, reply: &[u8]) -> Option<u64> {
        reply[..self.digits].iter().try_fold(0, |number, byte| {
            let digit = if self.upper { byte.to_ascii_lowercase() } else { *byte };
            let value = DIGITS.iter().position(|known| *known == digit)?;
            Some(number << BITS | value as u64)
        })
    }

    /// Whether `number` is written as `read` is.
    pub(super) fn alike(self, number: u64, read: u64) -> bool {
        number % self.count() == read
    }

    /// The latest number before `end` that is written as `read` is.
    pub(super) fn latest(self, end: u64, read: u64) -> Option<u64> {
        let last = end.checked_sub(1)?;
        Some(last - last.checked_sub(read)? % self.count())
    }

    /// How many numbers are written differently.
    fn count(self) -> u64 {
        1 << (BITS * self.digits as u32)
    }

    fn digit(self, number: u64, place: usize) -> u8 {
        let shift = BITS * (self.digits - 1 - place) as u32;
        DIGITS[(number >> shift) as usize % DIGITS.len()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SIZES: [u64; 5] = [1, 2, 10, 11, 64];

    /// The messages of the socket 1, and its replies as they should be.
    fn messages(script: &Script) -> (Numbered, impl Fn(u64) -> Vec<u8>) {
        let numbered = Numbered::new(script, 1);
        (numbered, move |number| {
            let mut message = vec![0; script.size as usize];
            numbered.write(script, number, &mut message);
            if script.expect == Expect::Upper {
                message.make_ascii_uppercase();
            }
            message
        })
    }

    #[test]
    fn a_reply_is_known_by_its_number() {
        for (size, expect) in SIZES.into_iter().zip([Expect::Upper, Expect::Echo].iter().cycle()) {
            let script = Script::new(size, 3, *expect, false);
            let (numbered, reply) = messages(&script);
            for number in [0, 1, 31, 32, 1000, 1 << 40] {
                let reply = reply(number);
                assert_eq!(numbered.check(&script, number, &reply), Ok(()));
                let read = numbered.read(&reply).unwrap();
                assert!(numbered.alike(number, read));
                assert!(!numbered.alike(number + 1, read));
                assert_eq!(numbered.latest(number + 1, read), Some(number));
                assert_ne!(numbered.latest(number, read), Some(number));
            }
        }
    }

    #[test]
    fn a_wrong_byte_is_found_in_the_number_and_behind_it() {
        let script = Script::new(64, 1, Expect::Upper, false);
        let (numbered, reply) = messages(&script);
        for at in [0, 9, 10, 63] {
            let mut reply = reply(7);
            let expected = std::mem::replace(&mut reply[at], b'\n');
            let wrong = Wrong { at, expected, got: b'\n' };
            assert_eq!(numbered.check(&script, 7, &reply), Err(wrong));
            assert_eq!(numbered.read(&reply), (at > 9).then_some(7));
        }
    }

    #[test]
    fn where_anything_is_a_reply_it_may_be_to_any_message() {
        let script = Script::new(20, 1, Expect::Any, false);
        let numbered = Numbered::new(&script, 0);
        let read = numbered.read(&[b'\n'; 20]).unwrap();
        assert!(numbered.alike(7, read));
        assert_eq!((numbered.latest(8, read), numbered.latest(0, read)), (Some(7), None));
        assert_eq!(numbered.check(&script, 7, &[b'\n'; 20]), Ok(()));
    }
}
