//! Framing `text`, and the replacement of bytes that are not valid UTF-8.

use super::{Framer, FramingError, InvalidText, Outgoing};
use crate::{
    utf8::{InvalidUtf8, REPLACEMENT, Utf8Stream, cut_character},
    ws::{FrameHeader, OpCode},
};

impl Framer {
    /// Whether invalid UTF-8 is to be replaced before the bytes are framed.
    pub fn replaces_invalid(&self) -> bool {
        self.invalid == InvalidText::Replace
    }

    /// The bytes to be framed in place of `input` if that is not valid UTF-8, after `headroom`
    /// bytes of any value. A character that is cut at the end of `input` stays as it is.
    pub fn replace_invalid(&mut self, input: &[u8], headroom: usize) -> Option<Vec<u8>> {
        let mut text = self.text;
        if text.push(input).is_ok() {
            return None;
        }
        let input = [self.text.held(), input].concat();
        self.text = Utf8Stream::default();
        let cut_at = input.len() - cut_character(&input);
        let mut text = vec![0; headroom];
        for chunk in input[..cut_at].utf8_chunks() {
            text.extend_from_slice(chunk.valid().as_bytes());
            if !chunk.invalid().is_empty() {
                text.extend_from_slice(REPLACEMENT);
            }
        }
        text.extend_from_slice(&input[cut_at..]);
        Some(text)
    }

    pub(super) fn next_text(&mut self, input: &[u8]) -> Result<Outgoing, FramingError> {
        let before = self.text;
        let mut opcode = OpCode::Text;
        let mut taken = input.len().min(self.chunk as usize - before.held().len());
        match self.text.push(&input[..taken]) {
            Ok(()) => {}
            Err(_) if self.invalid == InvalidText::Binary => {
                opcode = OpCode::Binary;
                self.text = Utf8Stream::default();
                let cut_at = taken - cut_character(&input[..taken]);
                self.text.push(&input[cut_at..taken]).map_err(|_| FramingError::InvalidUtf8)?;
            }
            Err(InvalidUtf8 { valid_up_to: 0 }) => return Err(FramingError::InvalidUtf8),
            // The valid part is sent, however the bytes are divided into reads; the next call
            // returns the error.
            Err(InvalidUtf8 { valid_up_to }) => {
                self.text = Utf8Stream::default();
                taken = valid_up_to;
            }
        }
        let total = before.held().len() + taken - self.text.held().len();
        if total == 0 {
            return Ok(Outgoing::nothing(taken));
        }
        // The bytes held back before are part of a complete character: with one that is still
        // incomplete, `total` would be 0.
        let head = FrameHeader::new(opcode, true, total as u64).with(before.held());
        let payload = 0..taken - self.text.held().len();
        Ok(Outgoing { head, payload, taken, ends_message: true })
    }
}
