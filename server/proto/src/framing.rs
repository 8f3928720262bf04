//! A byte stream into WebSocket messages, in four ways.
//!
//! TCP has no messages and WebSocket has nothing else, so a bridge needs a rule for
//! where one ends. [`Framing`] names the rules; [`Framer`] applies one to what comes
//! from the upstream and says, piece by piece, which bytes go out in front of which.

mod options;

use std::{collections::VecDeque, fmt, ops::Range, str::FromStr};

use thiserror::Error;

pub use self::options::{FramingOptions, InvalidText, MAX_CHUNK, MIN_CHUNK, Newline};
use crate::{
    utf8::{InvalidUtf8, REPLACEMENT, Utf8Stream, cut_character},
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

impl Framing {
    /// Whether the messages of this framing are those of a WebSocket subprotocol. Only
    /// subprotocols that are known to prescribe one type of messages do not fit.
    pub fn fits(self, protocol: &str) -> bool {
        match self {
            Framing::Text | Framing::Line => protocol != "binary.ircv3.net",
            Framing::Bytes => protocol != "text.ircv3.net",
            Framing::Message => true,
        }
    }

    /// Whether all its messages to the client are text.
    pub fn is_text(self) -> bool {
        matches!(self, Framing::Text | Framing::Line)
    }
}

/// The longest line, in bytes, that framing `line` holds back until it is complete, for
/// [`InvalidText::Binary`].
const MAX_HELD_LINE: usize = 64 * 1024;

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
    /// A piece of `taken` bytes of which nothing goes out yet.
    fn nothing(taken: usize) -> Piece {
        Piece { head: Head::NONE, payload: 0..0, taken, ends_message: false }
    }

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

/// The treatment of the rest of an input that is only a part of a reply or of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The rest is to be given again, with what follows it.
    Wait,
    /// The rest of a reply goes out as a fragment; that of a line waits.
    Send,
    /// The stream has ended: the rest of a reply goes out as a fragment, that of a line as a
    /// line.
    Last,
}

/// Frames what an upstream sends.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    invalid: InvalidText,
    /// Framing `bytes` and `text`: the largest payload of a message.
    chunk: u32,
    /// Framing `line` with [`InvalidText::Binary`]: the length of the beginning of the next
    /// input that is known to have no line ending.
    searched: u32,
    text: Utf8Stream,
    /// Framing `message`: the frames that the upstream owes.
    expected: Expected,
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
struct Expected {
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

impl Expected {
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
    /// A framer for a new connection, with the default options.
    pub fn new(framing: Framing) -> Framer {
        Framer::with_options(framing, &FramingOptions::default())
    }

    /// A framer for a new connection.
    #[expect(clippy::cast_possible_truncation, reason = "at most MAX_CHUNK")]
    pub fn with_options(framing: Framing, options: &FramingOptions) -> Framer {
        Framer {
            framing,
            invalid: options.invalid,
            chunk: options.chunk.clamp(MIN_CHUNK, MAX_CHUNK) as u32,
            searched: 0,
            text: Utf8Stream::default(),
            expected: Expected::default(),
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
            self.expected.push(opcode, fin, len);
        }
    }

    /// How many frames the upstream owes, one begun included; 0 in framings that
    /// keep no count.
    pub fn expected(&self) -> usize {
        self.expected.frames
    }

    /// How many of `room` bytes to read, so that a read does not end within a reply where more
    /// replies are expected than fit: those of the first ones that are alike and fit whole.
    pub fn whole_replies(&self, room: usize) -> usize {
        let Some(Run { len, count, .. }) = self.expected.first else { return room };
        let Ok(len @ 1..) = usize::try_from(len) else { return room };
        let fit = (room / len).min(count as usize);
        let is_more_owed = len.saturating_mul(count as usize) > room;
        if is_more_owed && fit > 0 && self.left == 0 { fit * len } else { room }
    }

    /// Whether a part of a reply went out as a fragment, and the rest has not.
    pub fn is_within_reply(&self) -> bool {
        self.left > 0
    }

    /// Forgets the frames that the upstream owes: nobody takes them any more.
    pub fn forget_expected(&mut self) {
        self.expected = Expected::default();
        self.left = 0;
    }

    /// Gives back the memory of a queue that is empty.
    pub fn shrink(&mut self) {
        if self.expected() == 0 {
            self.expected.rest = None;
        }
    }

    /// Whether the next piece needs no input: the reply to an empty message does not.
    pub fn replies_at_once(&self) -> bool {
        self.left == 0 && self.expected.first.is_some_and(|run| run.len == 0)
    }

    /// The next piece made from the beginning of `input`, or `None` when more is needed: then
    /// the input, if there is any, is a part of a reply or (with [`InvalidText::Binary`]) of a
    /// line, and `rest` says what becomes of it. An empty input gives a piece if
    /// [`Framer::replies_at_once`].
    ///
    /// # Errors
    ///
    /// When the bytes do not fit the framing. Nothing of the piece is to be sent.
    #[inline]
    pub fn next(&mut self, input: &[u8], rest: Rest) -> Result<Option<Piece>, FramingError> {
        match self.framing {
            Framing::Message => self.next_reply(input, rest),
            _ if input.is_empty() => Ok(None),
            Framing::Bytes => {
                let len = input.len().min(self.chunk as usize);
                let head = Head::new(OpCode::Binary, true, len as u64);
                Ok(Some(Piece { head, payload: 0..len, taken: len, ends_message: true }))
            }
            Framing::Text => self.next_text(input).map(Some),
            Framing::Line if self.invalid == InvalidText::Binary => {
                Ok(self.next_line_of_any_bytes(input, rest))
            }
            Framing::Line => self.next_line(input).map(Some),
        }
    }

    /// Whether `more`, behind `held` bytes for which [`Framer::next`] has returned `None`, does
    /// not complete a piece either. False where only `next` can tell.
    pub fn needs_more(&self, held: usize, more: &[u8]) -> bool {
        let len = held + more.len();
        match self.framing {
            Framing::Message => self.expected.first.is_some_and(|run| run.len > len as u64),
            Framing::Line => len <= MAX_HELD_LINE && !more.contains(&b'\n'),
            Framing::Bytes | Framing::Text => false,
        }
    }

    /// Whether invalid UTF-8 is to be replaced before the bytes are framed.
    pub fn replaces_invalid(&self) -> bool {
        self.invalid == InvalidText::Replace
    }

    /// What is to be framed in place of `input` if that is not valid UTF-8, behind `headroom`
    /// bytes of any value. A character that `input` is cut in stays as it is.
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

    /// The last piece, when the upstream has ended: the end of an unfinished line, or of text
    /// that ended within a character.
    ///
    /// # Errors
    ///
    /// When the stream ended where it must not: within a character, with replies missing, or
    /// with only some of a message's fragments.
    pub fn finish(&mut self) -> Result<Option<Piece>, FramingError> {
        let text = self.text;
        let cut = self.text.finish().is_err();
        if cut && self.invalid == InvalidText::Close {
            return Err(FramingError::InvalidUtf8);
        }
        if self.expected() > 0 || self.in_message {
            return Err(FramingError::ReplyMissing);
        }
        let held = match self.invalid {
            InvalidText::Replace if cut => REPLACEMENT,
            _ if cut => text.held(),
            _ if std::mem::take(&mut self.held_cr) => b"\r",
            _ => b"",
        };
        if self.framing == Framing::Text {
            let opcode =
                if self.invalid == InvalidText::Binary { OpCode::Binary } else { OpCode::Text };
            let head = Head::new(opcode, true, held.len() as u64).with(held);
            return Ok(cut.then_some(Piece { head, payload: 0..0, taken: 0, ends_message: true }));
        }
        let is_unfinished = self.in_line || !held.is_empty();
        Ok(is_unfinished.then(|| self.line_piece(OpCode::Text, held, 0..0, 0, true)))
    }

    fn next_text(&mut self, input: &[u8]) -> Result<Piece, FramingError> {
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
            // What is valid goes out, however the reads fall. The next call finds the error.
            Err(InvalidUtf8 { valid_up_to }) => {
                self.text = Utf8Stream::default();
                taken = valid_up_to;
            }
        }
        let total = before.held().len() + taken - self.text.held().len();
        if total == 0 {
            return Ok(Piece::nothing(taken));
        }
        // What is held back now was not all of what was held back before: the
        // character of before is complete, or `total` would be 0.
        let head = Head::new(opcode, true, total as u64).with(before.held());
        let payload = 0..taken - self.text.held().len();
        Ok(Piece { head, payload, taken, ends_message: true })
    }

    fn next_line(&mut self, input: &[u8]) -> Result<Piece, FramingError> {
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
        // A carriage return within a character is an error above.
        let held = if cr.is_empty() { before.held() } else { cr };
        let kept = self.text.held().len();
        if end.is_none() && held.len() + body.len() == kept {
            return Ok(Piece::nothing(taken));
        }
        Ok(self.line_piece(OpCode::Text, held, 0..body.len() - kept, taken, end.is_some()))
    }

    /// The next line, whole and as a binary message if it is not valid UTF-8; `None` when more
    /// is needed. A line of more than [`MAX_HELD_LINE`] is a binary message in any case.
    fn next_line_of_any_bytes(&mut self, input: &[u8], rest: Rest) -> Option<Piece> {
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
            return Some(Piece::nothing(taken));
        }
        Some(self.line_piece(OpCode::Binary, cr, 0..body.len(), taken, end.is_some()))
    }

    /// A line that was held back until it was complete.
    fn whole_line(&mut self, body: &[u8], line: &[u8], taken: usize) -> Piece {
        let is_text = line.len() <= MAX_HELD_LINE && std::str::from_utf8(body).is_ok();
        let opcode = if is_text { OpCode::Text } else { OpCode::Binary };
        self.line_piece(opcode, b"", 0..body.len(), taken, true)
    }

    /// A part of a line without the carriage return at its end, and the one held back before
    /// it if that is data: one at the end of a part is held back unless the line `ended` there.
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
    fn line_piece(
        &mut self,
        opcode: OpCode,
        held: &[u8],
        payload: Range<usize>,
        taken: usize,
        fin: bool,
    ) -> Piece {
        let opcode = if self.in_line { OpCode::Continuation } else { opcode };
        self.in_line = !fin;
        let head = Head::new(opcode, fin, (held.len() + payload.len()) as u64).with(held);
        Piece { head, payload, taken, ends_message: fin }
    }

    #[inline]
    fn next_reply(&mut self, input: &[u8], rest: Rest) -> Result<Option<Piece>, FramingError> {
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
