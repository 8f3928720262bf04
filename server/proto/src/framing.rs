//! A byte stream into WebSocket messages, in four ways.
//!
//! TCP has no messages and WebSocket has nothing else, so a bridge needs a rule for
//! where one ends. [`Framing`] names the rules; [`Framer`] applies one to what comes
//! from the upstream and says, piece by piece, which bytes go out in front of which.

use std::{collections::VecDeque, fmt, ops::Range, str::FromStr};

use thiserror::Error;

use crate::{
    utf8::{InvalidUtf8, Utf8Stream},
    ws::{Head, OpCode},
};

/// Where messages end on a route.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Binary messages of what has arrived.
    #[default]
    Bytes,
    /// Text messages of what has arrived, cut only between characters.
    Text,
    /// One text message for a line, without the line's end.
    Line,
    /// As many bytes back as each message had, in frames of the same type and size. A reply
    /// that comes in parts too slowly or is too large goes out in fragments (RFC 6455 section
    /// 5.4), so that control frames can go in between.
    Message,
}

/// The largest payload of a message in framing `bytes` and `text`, in bytes.
pub const MAX_CHUNK: usize = 64 * 1024;

/// Bytes on their way to the client: a head, and payload behind it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// A frame's head, with payload bytes that were held back; empty if nothing goes out.
    pub head: Head,
    /// Where the payload lies in the input; may be empty.
    pub payload: Range<usize>,
    /// How much of the input is done with: the payload, and what is left out.
    pub taken: usize,
    /// Whether a message ends with this piece.
    pub ends_message: bool,
}

impl Piece {
    /// Payload bytes that go out with this piece, those held back before included.
    pub fn payload_len(&self) -> usize {
        self.head.held() + self.payload.len()
    }
}

/// Why the upstream's bytes cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum FramingError {
    /// Framing `text`, `line`, or the reply to a text message.
    #[error("the upstream sent text that is not valid UTF-8")]
    InvalidUtf8,
    /// Framing `message`: more bytes than were asked for.
    #[error("the upstream sent bytes that no message asked for (framing=message)")]
    NotAsked,
    /// Framing `message`: the stream ended before every message had its reply.
    #[error("the upstream ended before every message had its reply")]
    ReplyMissing,
}

/// Frames what an upstream sends.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    text: Utf8Stream,
    /// Framing `message`: the frames that the upstream owes.
    owed: Owed,
    /// Framing `message`: how much is still to come of the first of them, once a part of
    /// it is out.
    left: u64,
    /// Framing `message`: whether the latest frame belongs to a text message.
    in_text: bool,
    /// Framing `message`: whether more frames of the latest message are to come.
    in_message: bool,
    /// Framing `line`: a part of the line is out.
    in_line: bool,
    /// Framing `line`: a carriage return is held back; it may belong to the line's end.
    held_cr: bool,
}

/// Frames in order. Those that are alike and follow each other take one place: mostly
/// that is all there is, and no memory for more is held.
#[derive(Debug, Default)]
struct Owed {
    frames: usize,
    first: Option<Run>,
    #[expect(clippy::box_collection, reason = "most connections never have any")]
    rest: Option<Box<VecDeque<Run>>>,
}

/// So many frames in a row.
#[derive(Clone, Copy, Debug)]
struct Run {
    len: u64,
    count: u32,
    opcode: OpCode,
    fin: bool,
}

impl Owed {
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
    /// A framer for a new connection.
    pub fn new(framing: Framing) -> Framer {
        Framer {
            framing,
            text: Utf8Stream::default(),
            owed: Owed::default(),
            left: 0,
            in_text: false,
            in_message: false,
            in_line: false,
            held_cr: false,
        }
    }

    /// The rule that it applies.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// Tells of a data frame from the client. Only framing `message` keeps count:
    /// the upstream owes a frame of the same kind and length.
    pub fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        if self.framing == Framing::Message {
            self.owed.push(opcode, fin, len);
        }
    }

    /// How many frames the upstream owes, one begun included; 0 in framings that
    /// keep no count.
    pub fn owed(&self) -> usize {
        self.owed.frames
    }

    /// Whether a part of a reply went out as a fragment, and the rest has not.
    pub fn is_within_reply(&self) -> bool {
        self.left > 0
    }

    /// Gives back the memory of a queue that is empty.
    pub fn shrink(&mut self) {
        if self.owed() == 0 {
            self.owed.rest = None;
        }
    }

    /// Whether the next piece needs no input: the reply to an empty message does not.
    pub fn replies_at_once(&self) -> bool {
        self.left == 0 && self.owed.first.is_some_and(|run| run.len == 0)
    }

    /// The next piece made from the beginning of `input`, or `None` when more is needed: then
    /// the input, if there is any, is a part of a reply, to be given again with what follows
    /// it, or as it is to [`Framer::next_part`]. An empty input gives a piece if
    /// [`Framer::replies_at_once`].
    ///
    /// # Errors
    ///
    /// When the bytes do not fit the framing. Nothing of the piece is to be sent.
    #[inline]
    pub fn next(&mut self, input: &[u8]) -> Result<Option<Piece>, FramingError> {
        match self.framing {
            _ if input.is_empty() && self.framing != Framing::Message => Ok(None),
            Framing::Bytes => {
                let len = input.len().min(MAX_CHUNK);
                let head = Head::new(OpCode::Binary, true, len as u64);
                Ok(Some(Piece { head, payload: 0..len, taken: len, ends_message: true }))
            }
            Framing::Text => self.next_text(input).map(Some),
            Framing::Line => self.next_line(input).map(Some),
            Framing::Message => self.next_reply(input, false),
        }
    }

    /// The part of a reply that `input` is, as a fragment, where [`Framer::next`] needs more.
    ///
    /// # Errors
    ///
    /// As there.
    pub fn next_part(&mut self, input: &[u8]) -> Result<Option<Piece>, FramingError> {
        match self.framing {
            Framing::Message => self.next_reply(input, true),
            _ => Ok(None),
        }
    }

    /// The last piece, when the upstream has ended: an unfinished line.
    ///
    /// # Errors
    ///
    /// When the stream ended where it must not: within a character, with replies missing, or
    /// with only some of a message's fragments.
    pub fn finish(&mut self) -> Result<Option<Piece>, FramingError> {
        self.text.finish().map_err(|_| FramingError::InvalidUtf8)?;
        if self.owed() > 0 || self.in_message {
            return Err(FramingError::ReplyMissing);
        }
        if !self.in_line && !self.held_cr {
            return Ok(None);
        }
        let held: &[u8] = if std::mem::take(&mut self.held_cr) { b"\r" } else { b"" };
        Ok(Some(self.line_piece(held, 0..0, 0, true)))
    }

    fn next_text(&mut self, input: &[u8]) -> Result<Piece, FramingError> {
        let before = self.text;
        let mut taken = input.len().min(MAX_CHUNK);
        match self.text.push(&input[..taken]) {
            Ok(()) => {}
            Err(InvalidUtf8 { valid_up_to: 0 }) => return Err(FramingError::InvalidUtf8),
            // What is valid goes out, however the reads fall. The next call finds the error.
            Err(InvalidUtf8 { valid_up_to }) => {
                self.text = Utf8Stream::default();
                taken = valid_up_to;
            }
        }
        let total = before.held().len() + taken - self.text.held().len();
        if total == 0 {
            let nothing = Piece { head: Head::NONE, payload: 0..0, taken, ends_message: false };
            return Ok(nothing);
        }
        // What is held back now was not all of what was held back before: the
        // character of before is complete, or `total` would be 0.
        let head = Head::new(OpCode::Text, true, total as u64).with(before.held());
        let payload = 0..taken - self.text.held().len();
        Ok(Piece { head, payload, taken, ends_message: true })
    }

    fn next_line(&mut self, input: &[u8]) -> Result<Piece, FramingError> {
        let end = input.iter().position(|&byte| byte == b'\n');
        let taken = end.map_or(input.len(), |end| end + 1);
        let line = &input[..end.unwrap_or(input.len())];
        // A carriage return held back is data, unless the line end comes next.
        let held: &[u8] = match std::mem::take(&mut self.held_cr) {
            true if !line.is_empty() => b"\r",
            _ => b"",
        };
        let body = line.strip_suffix(b"\r").unwrap_or(line);
        self.held_cr = end.is_none() && body.len() < line.len();
        for part in [held, body] {
            self.text.push(part).map_err(|_| FramingError::InvalidUtf8)?;
        }
        if end.is_some() {
            self.text.finish().map_err(|_| FramingError::InvalidUtf8)?;
        } else if body.is_empty() && held.is_empty() {
            return Ok(Piece { head: Head::NONE, payload: 0..0, taken, ends_message: false });
        }
        Ok(self.line_piece(held, 0..body.len(), taken, end.is_some()))
    }

    fn line_piece(&mut self, held: &[u8], payload: Range<usize>, taken: usize, fin: bool) -> Piece {
        let opcode = if self.in_line { OpCode::Continuation } else { OpCode::Text };
        self.in_line = !fin;
        let head = Head::new(opcode, fin, (held.len() + payload.len()) as u64).with(held);
        Piece { head, payload, taken, ends_message: fin }
    }

    #[inline]
    fn next_reply(&mut self, input: &[u8], in_parts: bool) -> Result<Option<Piece>, FramingError> {
        let Some(Run { len, opcode, fin, .. }) = self.owed.first else {
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
        if left > input.len() as u64 && (input.is_empty() || !in_parts) {
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
            self.owed.pop();
        }
        let head = Head::new(opcode, ends_message, taken as u64);
        Ok(Some(Piece { head, payload: 0..taken, taken, ends_message }))
    }
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Framing, String> {
        match text {
            "bytes" => Ok(Framing::Bytes),
            "text" => Ok(Framing::Text),
            "line" => Ok(Framing::Line),
            "message" => Ok(Framing::Message),
            _ => Err(format!("unknown framing \"{text}\": expected bytes, text, line or message")),
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Framing::Bytes => "bytes",
            Framing::Text => "text",
            Framing::Line => "line",
            Framing::Message => "message",
        })
    }
}

#[cfg(test)]
mod tests;
