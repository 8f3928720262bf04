//! Framing `line`: a text message for each line.

use std::ops::Range;

use super::{Framer, FramingError, Outgoing, Rest};
use crate::ws::{FrameHeader, OpCode};

/// The longest line, in bytes, that framing `line` holds back until it is complete, for
/// [`InvalidText::Binary`](super::InvalidText::Binary).
pub(super) const MAX_HELD_LINE: usize = 64 * 1024;

impl Framer {
    pub(super) fn next_line(&mut self, input: &[u8]) -> Result<Outgoing, FramingError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(input.len(), |end| end + 1);
        let line = &input[..end.unwrap_or(input.len())];
        let before = self.text;
        let (cr, body) = self.strip_cr(line, end.is_some());
        for part in [cr, body] {
            self.text.push(part).map_err(|_| FramingError::InvalidUtf8)?;
        }
        if end.is_some() {
            self.text.finish().map_err(|_| FramingError::InvalidUtf8)?;
        }
        // `push` has rejected a carriage return after an incomplete character.
        let held = if cr.is_empty() { before.held() } else { cr };
        let kept = self.text.held().len();
        if end.is_none() && held.len() + body.len() == kept {
            return Ok(Outgoing::nothing(taken));
        }
        Ok(self.line_piece(OpCode::Text, held, 0..body.len() - kept, taken, end.is_some()))
    }

    /// The next line, whole and as a binary message if it is not valid UTF-8; `None` when more
    /// is needed. A line of more than [`MAX_HELD_LINE`] is a binary message in any case.
    pub(super) fn next_line_of_any_bytes(&mut self, input: &[u8], rest: Rest) -> Option<Outgoing> {
        let searched = std::mem::take(&mut self.searched) as usize;
        let end = input[searched..].iter().position(|&byte| byte == b'\n');
        let end = end.map(|end| searched + end);
        let line = &input[..end.unwrap_or(input.len())];
        let taken = end.map_or(input.len(), |end| end + 1);
        if !self.in_line && line.len() <= MAX_HELD_LINE {
            if end.is_none() && rest == Rest::Last {
                return Some(self.whole_line(line, line, taken));
            }
            if end.is_none() {
                self.searched = u32::try_from(line.len()).expect("at most MAX_HELD_LINE");
                return None;
            }
            return Some(self.whole_line(line.strip_suffix(b"\r").unwrap_or(line), line, taken));
        }
        let (cr, body) = self.strip_cr(line, end.is_some());
        if end.is_none() && cr.is_empty() && body.is_empty() {
            return Some(Outgoing::nothing(taken));
        }
        Some(self.line_piece(OpCode::Binary, cr, 0..body.len(), taken, end.is_some()))
    }

    /// A line that was held back until it was complete.
    fn whole_line(&mut self, body: &[u8], line: &[u8], taken: usize) -> Outgoing {
        let is_text = line.len() <= MAX_HELD_LINE && std::str::from_utf8(body).is_ok();
        let opcode = if is_text { OpCode::Text } else { OpCode::Binary };
        self.line_piece(opcode, b"", 0..body.len(), taken, true)
    }

    /// Removes the carriage return at the end of a part of a line, which is held back unless the
    /// line `ended`. Returns a carriage return held back before, if it is data, and the rest of the
    /// part.
    fn strip_cr<'a>(&mut self, line: &'a [u8], ended: bool) -> (&'static [u8], &'a [u8]) {
        // A carriage return held back is data, unless the line end comes next.
        let held: &[u8] = match std::mem::take(&mut self.held_cr) {
            true if !line.is_empty() => b"\r",
            _ => b"",
        };
        let body = line.strip_suffix(b"\r").unwrap_or(line);
        self.held_cr = !ended && body.len() < line.len();
        (held, body)
    }

    /// A piece of a line, which has type `opcode` if it is the first.
    pub(super) fn line_piece(
        &mut self,
        opcode: OpCode,
        held: &[u8],
        payload: Range<usize>,
        taken: usize,
        fin: bool,
    ) -> Outgoing {
        let opcode = if self.in_line { OpCode::Continuation } else { opcode };
        self.in_line = !fin;
        let head = FrameHeader::new(opcode, fin, (held.len() + payload.len()) as u64).with(held);
        Outgoing { head, payload, taken, ends_message: fin }
    }
}
