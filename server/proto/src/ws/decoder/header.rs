//! The header of a frame, and the frame whose payload is being read.

use std::ops::Range;

use crate::ws::{OpCode, Role, Violation, frame::MAX_CONTROL, mask};

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
pub(super) struct Frame {
    pub(super) opcode: OpCode,
    pub(super) fin: bool,
    /// Payload bytes still to come.
    pub(super) left: u64,
    /// The masking key, rotated to the next byte; zeros in a frame without a mask.
    pub(super) key: [u8; 4],
}

impl Frame {
    /// Unmasks the part of this frame's payload that `buf` holds from `*at` on, and returns its
    /// range.
    #[inline]
    pub(super) fn take(&mut self, buf: &mut [u8], at: &mut usize) -> Range<usize> {
        let here = buf.len() - *at;
        let len = usize::try_from(self.left).map_or(here, |left| left.min(here));
        let range = *at..*at + len;
        if self.key != [0; 4] {
            mask::apply(&mut buf[range.clone()], &mut self.key);
        }
        self.left -= len as u64;
        *at += len;
        range
    }
}

/// Parses the frame header at the beginning of `bytes`: the frame and the length of the header,
/// or `None` if it is incomplete. A violation is reported at the first byte that shows it.
#[inline]
pub(super) fn parse_header(bytes: &[u8], role: Role) -> Result<Option<(Frame, usize)>, Violation> {
    let Some(&first) = bytes.first() else { return Ok(None) };
    if first & 0x70 != 0 {
        return Err(Violation::ReservedBits);
    }
    let bits = first & 0x0f;
    let opcode = OpCode::from_bits(bits).ok_or(Violation::ReservedOpcode(bits))?;
    let fin = first & 0x80 != 0;
    if opcode.is_control() && !fin {
        return Err(Violation::FragmentedControl);
    }
    let Some(&second) = bytes.get(1) else { return Ok(None) };
    match (second & 0x80 != 0, role) {
        (false, Role::Server) => return Err(Violation::Unmasked),
        (true, Role::Client) => return Err(Violation::Masked),
        (true, Role::Server) | (false, Role::Client) => {}
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(Violation::LongControl);
    }
    let (left, end) = match (short, &bytes[2..]) {
        (..126, _) => (u64::from(short), 2),
        (126, [a, b, ..]) => match u16::from_be_bytes([*a, *b]) {
            ..126 => return Err(Violation::BadLength),
            left => (u64::from(left), 4),
        },
        (127.., [a, b, c, d, e, f, g, h, ..]) => {
            match u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]) {
                left @ 0x1_0000..0x8000_0000_0000_0000 => (left, 10),
                _ => return Err(Violation::BadLength),
            }
        }
        (126.., _) => return Ok(None),
    };
    if role == Role::Client {
        return Ok(Some((Frame { opcode, fin, left, key: [0; 4] }, end)));
    }
    let Some(&[a, b, c, d]) = bytes.get(end..end + 4) else { return Ok(None) };
    Ok(Some((Frame { opcode, fin, left, key: [a, b, c, d] }, end + 4)))
}
