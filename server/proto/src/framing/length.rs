//! Framing `length`: a binary message for each record with its length in front.

use super::{Framer, Framing, Outgoing, Rest};
use crate::ws::{FrameHeader, OpCode};

/// The largest payload of a datagram, in bytes: that of UDP over IPv4.
pub const MAX_DATAGRAM: usize = 65_507;

impl Framer {
    /// The largest message that can be written to the stream.
    pub fn max_message(&self) -> u64 {
        match self.framing {
            Framing::Length if self.prefix == 2 => u16::MAX.into(),
            Framing::Length => u32::MAX.into(),
            Framing::Datagrams => MAX_DATAGRAM as u64,
            Framing::Bytes | Framing::Text | Framing::Line | Framing::Message => u64::MAX,
        }
    }

    /// Appends the length prefix of a record of `len` bytes, at most [`Framer::max_message`].
    #[expect(clippy::cast_possible_truncation, reason = "at most max_message")]
    pub fn append_prefix(&self, len: u64, out: &mut Vec<u8>) {
        let prefix = (len as u32).to_be_bytes();
        out.extend_from_slice(&prefix[prefix.len() - usize::from(self.prefix)..]);
    }

    /// The next record, whole or, as `rest` says, a part of it. The bytes of a prefix are consumed as
    /// they arrive.
    pub(super) fn next_record(&mut self, input: &[u8], rest: Rest) -> Option<Outgoing> {
        let missing = usize::from(self.prefix - self.prefix_read);
        let prefix = &input[..missing.min(input.len())];
        for &byte in prefix {
            self.left = self.left << 8 | u64::from(byte);
        }
        // At most 4.
        self.prefix_read += prefix.len() as u8;
        let at = prefix.len();
        let here = usize::try_from(self.left).map_or(usize::MAX, |left| left.min(input.len() - at));
        let is_whole = here as u64 == self.left;
        let waits = !is_whole && (here == 0 || rest == Rest::Wait);
        if self.prefix_read < self.prefix || waits {
            return (at > 0).then(|| Outgoing::nothing(at));
        }
        let opcode = if self.in_message { OpCode::Continuation } else { OpCode::Binary };
        self.in_message = !is_whole;
        self.left -= here as u64;
        if is_whole {
            self.prefix_read = 0;
        }
        let head = FrameHeader::new(opcode, is_whole, here as u64);
        let payload = at..at + here;
        Some(Outgoing { head, taken: payload.end, payload, ends_message: is_whole })
    }
}
