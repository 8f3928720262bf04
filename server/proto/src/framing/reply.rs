//! Framing `message`: a reply for each frame of the client.

use std::collections::VecDeque;

use super::{Framer, Framing, FramingError, Outgoing, Rest};
use crate::ws::{FrameHeader, OpCode};

/// The frames for which replies are expected, in order. Equal frames in a row share one [`Run`].
/// The first run, usually the only one, needs no allocation.
#[derive(Debug, Default)]
pub(super) struct Expected {
    frames: usize,
    first: Option<Run>,
    #[expect(clippy::box_collection, reason = "most connections never have any")]
    rest: Option<Box<VecDeque<Run>>>,
}

/// `count` equal frames in a row.
#[derive(Clone, Copy, Debug)]
pub(super) struct Run {
    len: u64,
    count: u32,
    opcode: OpCode,
    fin: bool,
}

impl Expected {
    #[inline]
    fn push(&mut self, opcode: OpCode, fin: bool, len: u64) {
        self.frames += 1;
        match self.rest.as_mut().and_then(|rest| rest.back_mut()).or(self.first.as_mut()) {
            Some(last) if (last.len, last.opcode, last.fin) == (len, opcode, fin) => {
                last.count += 1;
            }
            Some(_) => {
                let run = Run { len, count: 1, opcode, fin };
                self.rest.get_or_insert_default().push_back(run);
            }
            None => self.first = Some(Run { len, count: 1, opcode, fin }),
        }
    }

    /// Removes the last frame.
    fn pop_last(&mut self) -> Option<Run> {
        let rest = self.rest.as_mut().filter(|rest| !rest.is_empty());
        let last = match rest {
            Some(rest) => rest.back_mut()?,
            None => self.first.as_mut()?,
        };
        self.frames -= 1;
        last.count -= 1;
        let run = *last;
        if run.count == 0 {
            match self.rest.as_mut().filter(|rest| !rest.is_empty()) {
                Some(rest) => drop(rest.pop_back()),
                None => self.first = None,
            }
        }
        Some(run)
    }

    #[inline]
    fn pop(&mut self) {
        let Some(first) = &mut self.first else { return };
        self.frames -= 1;
        first.count -= 1;
        if first.count == 0 {
            self.first = self.rest.as_mut().and_then(|rest| rest.pop_front());
        }
    }
}

impl Framer {
    /// Records a data frame from the client. Framing `message` expects a reply of the same type
    /// and length; the others keep no count.
    #[inline]
    pub fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        if self.framing == Framing::Message {
            self.expected.push(opcode, fin, len);
        }
    }

    /// The number of replies that are expected, including one that has begun; 0 in framings that
    /// keep no count.
    #[inline]
    pub fn expected(&self) -> usize {
        self.expected.frames
    }

    /// The number of bytes to read into a buffer of `room` bytes. Where the equal replies that are
    /// expected first exceed the buffer, the read is limited to those that fit whole, so that it ends
    /// at the end of a reply.
    #[inline]
    pub fn whole_replies(&self, room: usize) -> usize {
        let Some(Run { len, count, .. }) = self.expected.first else { return room };
        let Ok(len @ 1..) = usize::try_from(len) else { return room };
        let fit = (room / len).min(count as usize);
        let exceeds_room = len.saturating_mul(count as usize) > room;
        if exceeds_room && fit > 0 && self.left == 0 { fit * len } else { room }
    }

    /// Whether a part of a reply or record has been sent as a fragment, and the rest of it is still
    /// to be sent.
    #[inline]
    pub fn is_within_reply(&self) -> bool {
        self.left > 0 && (self.in_message || self.framing == Framing::Message)
    }

    /// Shortens the reply that is expected to the last frame by `missing` bytes, which the client
    /// declared and did not send. The reply becomes a fragment without FIN; a reply without bytes is
    /// no longer expected.
    pub fn shorten_last(&mut self, missing: u64) {
        let has_begun = self.expected.frames == 1 && self.left > 0;
        let Some(Run { len, opcode, .. }) = self.expected.pop_last() else { return };
        let owed = if has_begun { self.left } else { len }.saturating_sub(missing);
        if has_begun {
            self.left = owed;
        }
        if owed > 0 {
            self.expected.push(opcode, false, len.saturating_sub(missing));
        }
    }

    /// Removes all expected replies, for a client that no longer receives.
    pub fn forget_expected(&mut self) {
        self.expected = Expected::default();
        self.left = 0;
    }

    /// Frees the memory of an empty queue.
    pub fn shrink(&mut self) {
        if self.expected() == 0 {
            self.expected.rest = None;
        }
    }

    /// Whether the next piece needs no input, as the reply to an empty message.
    #[inline]
    pub fn replies_at_once(&self) -> bool {
        self.left == 0 && self.expected.first.is_some_and(|run| run.len == 0)
    }

    /// Whether the first reply is longer than `len` bytes.
    pub(super) fn reply_exceeds(&self, len: usize) -> bool {
        self.expected.first.is_some_and(|run| run.len > len as u64)
    }

    #[inline]
    pub(super) fn next_reply(
        &mut self,
        input: &[u8],
        rest: Rest,
    ) -> Result<Option<Outgoing>, FramingError> {
        let Some(Run { len, opcode, fin, .. }) = self.expected.first else {
            return if input.is_empty() { Ok(None) } else { Err(FramingError::NotAsked) };
        };
        let in_text = match opcode {
            OpCode::Continuation => self.in_text,
            opcode => opcode == OpCode::Text,
        };
        let (opcode, left) = match self.left {
            0 => (opcode, len),
            left => (OpCode::Continuation, left),
        };
        if left > input.len() as u64 && (input.is_empty() || rest == Rest::Wait) {
            return Ok(None);
        }
        let taken = usize::try_from(left).map_or(input.len(), |left| left.min(input.len()));
        let ends_message = left == taken as u64 && fin;
        if in_text {
            self.text.push(&input[..taken]).map_err(|_| FramingError::InvalidUtf8)?;
            if ends_message {
                self.text.finish().map_err(|_| FramingError::InvalidUtf8)?;
            }
        }
        self.in_text = in_text;
        self.in_message = !ends_message;
        self.left = left - taken as u64;
        if self.left == 0 {
            self.expected.pop();
        }
        let head = FrameHeader::new(opcode, ends_message, taken as u64);
        Ok(Some(Outgoing { head, payload: 0..taken, taken, ends_message }))
    }
}
