//! The payload: messages and their expected replies.

use std::hash::{BuildHasher, RandomState};

use echogate_proto::ws::{OpCode, frame::masked_frame};

use super::args::Expect;

/// The least number of different messages in a row, by which the reply to another message is
/// noticed.
const MIN_MESSAGES: u64 = 4;

/// A ring of messages and their expected replies, generated in advance and shared by all
/// connections. Positions in the ring count bytes and wrap around.
#[derive(Debug)]
pub(super) struct Payload {
    /// Payload bytes of a message and of its reply.
    pub(super) size: u64,
    /// Bytes of a message as sent, with its frame header.
    pub(super) wire_size: u64,
    /// The messages as sent.
    wire: Vec<u8>,
    /// The payload of the replies.
    replies: Vec<u8>,
    pub(super) expect: Expect,
    in_flight: u64,
}

/// A byte of a reply that is not the expected one.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Mismatch {
    /// The position in the compared bytes.
    pub(super) at: usize,
    pub(super) expected: u8,
    pub(super) got: u8,
}

impl Mismatch {
    /// Describes the mismatch at the position `byte` of the reply `reply`, both counted from 0.
    pub(super) fn describe(&self, byte: u64, reply: u64) -> String {
        let [expected, got] = [self.expected, self.got].map(u8::escape_ascii);
        let (byte, reply) = (byte + 1, reply + 1);
        format!(
            "byte {byte} of reply {reply} is '{got}', expected '{expected}' (select the \
             expected replies with --expect upper, echo or any)"
        )
    }
}

impl Payload {
    /// Generates messages of `size` bytes of text without newlines, as masked frames for a
    /// WebSocket, for connections with `in_flight` messages in flight.
    pub(super) fn new(size: u64, in_flight: u64, expect: Expect, websocket: bool) -> Payload {
        let count = in_flight * MIN_MESSAGES.div_ceil(in_flight).max(2);
        let keys = RandomState::new();
        let mut letters = Letters(0x9e37_79b9_7f4a_7c15);
        let (mut wire, mut replies) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut message: Vec<u8> = letters.by_ref().take(size as usize).collect();
            if websocket {
                let [a, b, c, d, ..] = keys.hash_one(number).to_ne_bytes();
                wire.extend(masked_frame(OpCode::Binary, &message, [a, b, c, d]));
            } else {
                wire.extend_from_slice(&message);
            }
            if expect == Expect::Upper {
                message.make_ascii_uppercase();
            }
            replies.extend(message);
        }
        let wire_size = wire.len() as u64 / count;
        Payload { size, wire_size, wire, replies, expect, in_flight }
    }

    /// The index of the first message of connection `number`. It differs between neighbours.
    pub(super) fn first_message(&self, number: usize) -> u64 {
        let rounds = self.replies.len() as u64 / self.size / self.in_flight;
        number as u64 % rounds * self.in_flight
    }

    /// At most `len` bytes to send from position `at` on. There are fewer at the end of the ring.
    pub(super) fn wire(&self, at: u64, len: u64) -> &[u8] {
        let rest = &self.wire[index(at, self.wire.len())..];
        &rest[..usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()))]
    }

    /// Compares `got` with the replies from position `at` on.
    pub(super) fn check(&self, mut at: u64, mut got: &[u8]) -> Result<(), Mismatch> {
        let mut right = 0;
        while self.expect != Expect::Any && !got.is_empty() {
            let expected = &self.replies[index(at, self.replies.len())..];
            let len = expected.len().min(got.len());
            let (expected, here) = (&expected[..len], &got[..len]);
            if expected != here {
                let same =
                    expected.iter().zip(here).take_while(|(expected, got)| expected == got).count();
                return Err(Mismatch {
                    at: right + same,
                    expected: expected[same],
                    got: here[same],
                });
            }
            right += len;
            at += len as u64;
            got = &got[len..];
        }
        Ok(())
    }
}

/// The index of the position `at` in a ring of `len` bytes.
fn index(at: u64, len: usize) -> usize {
    usize::try_from(at % len as u64).expect("a remainder is less than the length")
}

/// Pseudo-random lower-case letters, digits and punctuation (xorshift).
struct Letters(u64);

impl Iterator for Letters {
    type Item = u8;

    fn next(&mut self) -> Option<u8> {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        Some(b"abcdefghijklmnopqrstuvwxyz0123456789 .,:"[(self.0 % 40) as usize])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_and_replies_wrap_around_together_and_any_wrong_byte_is_found() {
        let payload = Payload::new(10, 3, Expect::Upper, false);
        assert_eq!(payload.wire.len(), 60, "six messages");
        let mut sent = Vec::new();
        while sent.len() < 200 {
            sent.extend_from_slice(payload.wire(70 + sent.len() as u64, 200 - sent.len() as u64));
        }
        let mut replies = sent.to_ascii_uppercase();
        assert_eq!(payload.check(70, &replies), Ok(()));
        assert_ne!(payload.check(80, &replies), Ok(()), "another message's reply");
        let right = std::mem::replace(&mut replies[150], b'\0');
        let mismatch = Mismatch { at: 150, expected: right, got: 0 };
        assert_eq!(payload.check(70, &replies), Err(mismatch));
        assert_eq!(Payload::new(10, 3, Expect::Any, false).check(70, &replies), Ok(()));
    }

    #[test]
    fn neighbours_begin_with_different_messages() {
        for in_flight in [1, 3, 8, 100] {
            let payload = Payload::new(1, in_flight, Expect::Echo, true);
            assert_ne!(payload.first_message(0), payload.first_message(1), "{in_flight}");
        }
    }
}
