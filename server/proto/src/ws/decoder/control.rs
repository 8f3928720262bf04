//! The payload of a control frame.

use crate::ws::frame::MAX_CONTROL;

/// The payload of a control frame.
#[derive(Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL],
    /// 2, after the code, for a Close; otherwise 0.
    start: u8,
    end: u8,
}

impl Default for Control {
    fn default() -> Control {
        Control { bytes: [0; MAX_CONTROL], start: 0, end: 0 }
    }
}

impl Control {
    /// The payload, at most [`MAX_CONTROL`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..usize::from(self.end)]
    }

    /// Removes the code of a Close from the payload.
    pub(super) fn skip_code(&mut self) {
        self.start = 2;
    }

    /// Appends a part. All parts fit, since the header of the frame has been checked.
    pub(super) fn push(&mut self, part: &[u8]) {
        let end = usize::from(self.end);
        self.bytes[end..end + part.len()].copy_from_slice(part);
        self.end += part.len() as u8;
    }
}
