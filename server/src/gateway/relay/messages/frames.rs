//! Frames as each role sends them.

use std::ops::Range;

use echogate_proto::{
    close::CloseCode,
    ws::{FrameHeader, OpCode, Role, frame::close_frame, mask},
};

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
    let head = FrameHeader::new(opcode, fin, payload.len() as u64);
    let head = head.as_bytes();
    let mut start = payload.start;
    if role == Role::Client {
        let mut key = masking_key::next();
        start -= key.len();
        buffer[start..payload.start].copy_from_slice(&key);
        mask::apply(&mut buffer[payload.clone()], &mut key);
    }
    start -= head.len();
    buffer[start..start + head.len()].copy_from_slice(head);
    if role == Role::Client {
        buffer[start + 1] |= MASKED;
    }
    start..payload.end
}

/// The bit of a frame's second byte that announces a masking key.
const MASKED: u8 = 0x80;

/// Appends control frames to `out`, masked if `role` is a client's. `frames` has whole frames as a
/// server sends them.
pub(super) fn append_control(out: &mut Vec<u8>, mut frames: &[u8], role: Role) {
    if role == Role::Server {
        return out.extend_from_slice(frames);
    }
    while let [first, len, rest @ ..] = frames {
        let (payload, behind) = rest.split_at(usize::from(*len));
        let mut key = masking_key::next();
        out.extend([*first, MASKED | len]);
        out.extend(key);
        let start = out.len();
        out.extend_from_slice(payload);
        mask::apply(&mut out[start..], &mut key);
        frames = behind;
    }
}

/// Appends a Close. A code that must not be sent gives an empty one.
pub(super) fn append_close(out: &mut Vec<u8>, code: CloseCode, reason: &str, role: Role) {
    append_control(out, &close_frame(code, reason), role);
}
