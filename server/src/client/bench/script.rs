//! What is sent, and what has to come back.

use std::hash::{BuildHasher, RandomState};

use echogate_proto::ws::OpCode;

use super::{Expect, frames::client_frame};

/// The fewest different messages that follow one another, so that an answer to
/// another message is noticed.
const LEAST_MESSAGES: u64 = 4;

/// Messages made in advance and the replies they should get, in a ring that all
/// connections share. A position in either counts bytes without end.
#[derive(Debug)]
pub(super) struct Script {
    /// Payload bytes of a message, and of its reply.
    pub(super) size: u64,
    /// Bytes of a message on the wire.
    pub(super) wire_size: u64,
    /// As the messages go out.
    wire: Vec<u8>,
    /// The replies' payload.
    replies: Vec<u8>,
    pub(super) expect: Expect,
    in_flight: u64,
}

/// A byte of a reply that is not what it should be.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Wrong {
    /// How many right ones came before it, of those looked at.
    pub(super) at: usize,
    pub(super) expected: u8,
    pub(super) got: u8,
}

impl Wrong {
    /// Says so of the byte that is `byte` of the reply `reply`, both counted from 0.
    pub(super) fn words(&self, byte: u64, reply: u64) -> String {
        let [expected, got] = [self.expected, self.got].map(u8::escape_ascii);
        let (byte, reply) = (byte + 1, reply + 1);
        format!("byte {byte} of reply {reply} is '{got}' and not '{expected}'")
    }
}

impl Script {
    /// Messages of `size` bytes of text without newlines, for connections that have
    /// `in_flight` of them under way; as frames where they go over a WebSocket.
    pub(super) fn new(size: u64, in_flight: u64, expect: Expect, websocket: bool) -> Script {
        let count = in_flight * LEAST_MESSAGES.div_ceil(in_flight).max(2);
        let keys = RandomState::new();
        let mut letters = Letters(0x9e37_79b9_7f4a_7c15);
        let (mut wire, mut replies) = (Vec::new(), Vec::new());
        for number in 0..count {
            let mut payload: Vec<u8> = letters.by_ref().take(size as usize).collect();
            if websocket {
                let [a, b, c, d, ..] = keys.hash_one(number).to_ne_bytes();
                wire.extend(client_frame(OpCode::Binary, &payload, [a, b, c, d]));
            } else {
                wire.extend_from_slice(&payload);
            }
            if expect == Expect::Upper {
                payload.make_ascii_uppercase();
            }
            replies.extend(payload);
        }
        let wire_size = wire.len() as u64 / count;
        Script { size, wire_size, wire, replies, expect, in_flight }
    }

    /// The message that connection `number` begins with: neighbours differ.
    pub(super) fn first_message(&self, number: usize) -> u64 {
        let rounds = self.replies.len() as u64 / self.size / self.in_flight;
        number as u64 % rounds * self.in_flight
    }

    /// At most `len` bytes to be sent, from position `at` on; fewer where the ring ends.
    pub(super) fn wire(&self, at: u64, len: u64) -> &[u8] {
        let rest = &self.wire[place(at, self.wire.len())..];
        &rest[..usize::try_from(len).map_or(rest.len(), |len| len.min(rest.len()))]
    }

    /// Compares what came with what has to be at position `at` of the replies.
    pub(super) fn check(&self, mut at: u64, mut got: &[u8]) -> Result<(), Wrong> {
        let mut right = 0;
        while self.expect != Expect::Any && !got.is_empty() {
            let due = &self.replies[place(at, self.replies.len())..];
            let len = due.len().min(got.len());
            let (due, here) = (&due[..len], &got[..len]);
            if due != here {
                let same = due.iter().zip(here).take_while(|(due, got)| due == got).count();
                return Err(Wrong { at: right + same, expected: due[same], got: here[same] });
            }
            right += len;
            at += len as u64;
            got = &got[len..];
        }
        Ok(())
    }
}

/// Where in a ring of `len` bytes the position `at` lies.
fn place(at: u64, len: usize) -> usize {
    usize::try_from(at % len as u64).expect("it is less than a length")
}

/// Lower-case letters, digits and some signs, in no order (xorshift).
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
    fn the_replies_go_round_with_the_messages_and_a_wrong_byte_is_found_anywhere() {
        let script = Script::new(10, 3, Expect::Upper, false);
        assert_eq!(script.wire.len(), 60, "six messages");
        let mut sent = Vec::new();
        while sent.len() < 200 {
            sent.extend_from_slice(script.wire(70 + sent.len() as u64, 200 - sent.len() as u64));
        }
        let mut replies = sent.to_ascii_uppercase();
        assert_eq!(script.check(70, &replies), Ok(()));
        assert_ne!(script.check(80, &replies), Ok(()), "another message's reply");
        let right = std::mem::replace(&mut replies[150], b'\0');
        let wrong = Wrong { at: 150, expected: right, got: 0 };
        assert_eq!(script.check(70, &replies), Err(wrong));
        assert_eq!(Script::new(10, 3, Expect::Any, false).check(70, &replies), Ok(()));
    }

    #[test]
    fn neighbours_begin_with_different_messages() {
        for in_flight in [1, 3, 8, 100] {
            let script = Script::new(1, in_flight, Expect::Echo, true);
            assert_ne!(script.first_message(0), script.first_message(1), "{in_flight}");
        }
    }
}
