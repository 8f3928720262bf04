//! Messages from frames.

use echogate_proto::recording::Frame;

/// The most bytes of a message that are held. A longer message is written in parts, like fragments.
const MAX_MESSAGE: usize = 1 << 20;

/// A message, or a part of a long one.
#[derive(Debug)]
pub(super) struct Message<'a> {
    /// The opcode of the message; that of continuation frames for a part after the first.
    pub(super) opcode: u8,
    /// Whether no further part follows.
    pub(super) fin: bool,
    pub(super) payload: &'a [u8],
}

/// The message of a direction that has not arrived completely.
#[derive(Debug, Default)]
pub(super) struct MessageAssembler {
    opcode: u8,
    payload: Vec<u8>,
}

impl MessageAssembler {
    /// Adds a frame, or a part of one. Calls `emit` with the message if it is complete, or with a
    /// part of a long message.
    pub(super) fn data(&mut self, frame: Frame, payload: &[u8], emit: &mut dyn FnMut(Message<'_>)) {
        if frame.opcode != 0 && frame.offset == 0 {
            (self.opcode, self.payload) = (frame.opcode, Vec::new());
        }
        let is_complete = frame.fin && frame.offset + payload.len() as u64 == frame.length;
        if self.payload.is_empty() && is_complete {
            emit(Message { opcode: self.opcode, fin: true, payload });
            self.opcode = 0;
            return;
        }
        self.payload.extend(payload);
        if !is_complete && self.payload.len() < MAX_MESSAGE {
            return;
        }
        // Text is cut between characters.
        let end = match str::from_utf8(&self.payload) {
            Err(e) if self.opcode == 1 && !is_complete && e.error_len().is_none() => {
                e.valid_up_to()
            }
            _ => self.payload.len(),
        };
        emit(Message { opcode: self.opcode, fin: is_complete, payload: &self.payload[..end] });
        self.payload.drain(..end);
        self.opcode = 0;
    }
}
