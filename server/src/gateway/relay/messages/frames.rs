//! Frames as each role sends them.

use std::ops::Range;

use echogate_proto::ws::{FrameHeader, OpCode, Role, mask};

use crate::gateway::masking_key;

/// Bytes in front of a payload that hold any frame header: 10, and a masking key of 4.
pub(super) const MAX_HEAD: usize = 14;

/// Writes the header of a frame in front of its payload, which is at `payload` in `buffer`, and
/// masks the payload if `role` is a client's. Returns the range of the frame. There must be
/// [`MAX_HEAD`] bytes in front of the payload, or the header of the frame in which it arrived.
pub(super) fn put_head(
    buffer: &mut [u8],
    payload: Range<usize>,
    opcode: OpCode,
    fin: bool,
    role: Role,
) -> Range<usize> {
    let header = FrameHeader::new(opcode, fin, payload.len() as u64);
    let key = (role == Role::Client).then(masking_key::next);
    let start = header.write_before(buffer, payload.start, key);
    if let Some(mut key) = key {
        mask::apply(&mut buffer[payload.clone()], &mut key);
    }
    start..payload.end
}
