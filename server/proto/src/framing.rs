//! The division of a byte stream into WebSocket messages, in five ways, and datagrams as messages.
//!
//! TCP has no message boundaries and WebSocket carries nothing but messages, so a bridge needs a
//! rule for where a message ends. [`Framing`] names the rules; [`Framer`] applies one to the
//! stream's bytes and returns the frames piece by piece: a header, and the payload after it.

mod length;
mod line;
mod options;
mod reply;
mod text;

use std::{fmt, ops::Range, str::FromStr};

use crate::reason;

pub use self::{
    length::MAX_DATAGRAM,
    options::{FramingOptions, InvalidText, MAX_CHUNK, MIN_CHUNK, Newline},
};
use self::{line::MAX_HELD_LINE, reply::Expected};
use crate::{
    utf8::{REPLACEMENT, Utf8Stream},
    ws::{FrameHeader, HALF_CLOSE, OpCode},
};

/// The rule for the boundaries of the messages of a route or forward.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Framing {
    /// Binary messages of the bytes that have arrived.
    #[default]
    Bytes,
    /// Text messages of the bytes that have arrived, cut only between characters.
    Text,
    /// A text message for each line, without the line ending.
    Line,
    /// A binary message for each record, which has its length in front of it. A record that arrives
    /// in parts too slowly or is too large is sent in fragments (RFC 6455 section 5.4), so that
    /// control frames can be sent between them.
    Length,
    /// A reply for each message of the client: as many bytes, in frames of the same type and size;
    /// in fragments as in [`Framing::Length`]. For servers only.
    Message,
    /// A binary message for each datagram, since the transport preserves boundaries. Not a value of
    /// the option `framing`.
    Datagrams,
}

impl Framing {
    /// Whether this framing's messages have the type that a WebSocket subprotocol prescribes; true
    /// for subprotocols that are not known to prescribe one. `half-close`, in which an empty binary
    /// message is the end of input, does not fit framings in which it is an empty record or
    /// datagram.
    pub fn fits(self, protocol: &str) -> bool {
        match self {
            Framing::Text | Framing::Line => protocol != "binary.ircv3.net",
            Framing::Bytes => protocol != "text.ircv3.net",
            Framing::Length | Framing::Datagrams => {
                !["text.ircv3.net", HALF_CLOSE].contains(&protocol)
            }
            Framing::Message => true,
        }
    }

    /// Whether all messages made of the stream are text.
    pub fn is_text(self) -> bool {
        matches!(self, Framing::Text | Framing::Line)
    }
}

/// Bytes to be sent to the WebSocket peer: a header, and the payload after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// A frame header, with payload bytes that were held back; empty if nothing is to be sent.
    pub head: FrameHeader,
    /// The payload's position in the input; may be empty.
    pub payload: Range<usize>,
    /// The number of bytes consumed from the input: payload, and bytes that are left out.
    pub taken: usize,
    /// Whether a message ends with this piece.
    pub ends_message: bool,
}

impl Outgoing {
    /// A piece that consumes `taken` bytes and sends nothing yet.
    fn nothing(taken: usize) -> Outgoing {
        Outgoing { head: FrameHeader::NONE, payload: 0..0, taken, ends_message: false }
    }

    /// The number of payload bytes that are sent with this piece, including those held back
    /// before.
    #[inline]
    pub fn payload_len(&self) -> usize {
        self.head.held() + self.payload.len()
    }
}

/// The reason for which the bytes of a stream cannot be framed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FramingError {
    /// Framing `text`, `line`, or the reply to a text message.
    InvalidUtf8,
    /// Framing `message`: more bytes than replies are expected for.
    NotAsked,
    /// Framing `message`: the stream ended before every message had its reply.
    ReplyMissing,
    /// Framing `length`: the stream ended within a record.
    RecordCut,
}

impl FramingError {
    /// The reason as a template, whose placeholder is for the peer of the stream.
    pub fn template(self) -> &'static str {
        match self {
            FramingError::InvalidUtf8 => reason::PEER_SENT_INVALID_TEXT,
            FramingError::NotAsked => reason::PEER_NOT_ASKED,
            FramingError::ReplyMissing => reason::PEER_OWES_REPLIES,
            FramingError::RecordCut => reason::PEER_CUT_RECORD,
        }
    }
}

/// The treatment of an input that is only a part of a reply, a record or a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rest {
    /// The part is to be passed again, with what follows it.
    Wait,
    /// A part of a reply or record is sent as a fragment; a part of a line waits.
    Send,
    /// The stream has ended: a part of a reply or record is sent as a fragment, a part of a line as a
    /// line.
    Last,
}

/// Divides the bytes of a stream into frames.
#[derive(Debug)]
pub struct Framer {
    framing: Framing,
    invalid: InvalidText,
    /// Framing `length`: the bytes of a prefix, and those of the current record that are read.
    prefix: u8,
    prefix_read: u8,
    /// Framing `bytes` and `text`: the largest payload of a message.
    chunk: u32,
    /// Framing `line` with [`InvalidText::Binary`]: the length of the beginning of the next
    /// input that is known to have no line ending.
    searched: u32,
    text: Utf8Stream,
    /// Framing `message`: the replies that are expected.
    expected: Expected,
    /// Framing `message`: the bytes that are missing of the first expected reply, once a part of it
    /// is sent; otherwise 0. Framing `length`: the bytes that are missing of the record.
    left: u64,
    /// Framing `message`: whether the latest frame belongs to a text message.
    in_text: bool,
    /// Framing `message` and `length`: whether more frames of the latest message are to come.
    in_message: bool,
    /// Framing `line`: whether a part of the line is sent.
    in_line: bool,
    /// Framing `line`: whether a carriage return is held back, since it may belong to the line ending.
    held_cr: bool,
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
            prefix: options.prefix,
            prefix_read: 0,
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

    /// The rule that is applied.
    pub fn framing(&self) -> Framing {
        self.framing
    }

    /// The next piece made from the beginning of `input`, or `None` when more input is needed. In
    /// the latter case the input is a part of a reply, of a record or (with
    /// [`InvalidText::Binary`]) of a line; `rest` is the treatment of such a part. An empty input
    /// gives a piece if [`Framer::replies_at_once`].
    ///
    /// # Errors
    ///
    /// The bytes do not fit the framing. Nothing of the piece may be sent.
    #[inline]
    pub fn next(&mut self, input: &[u8], rest: Rest) -> Result<Option<Outgoing>, FramingError> {
        match self.framing {
            Framing::Message => self.next_reply(input, rest),
            _ if input.is_empty() => Ok(None),
            Framing::Bytes => Ok(Some(Framer::datagram(input.len().min(self.chunk as usize)))),
            Framing::Text => self.next_text(input).map(Some),
            Framing::Length => Ok(self.next_record(input, rest)),
            Framing::Datagrams => Ok(Some(Framer::datagram(input.len()))),
            Framing::Line if self.invalid == InvalidText::Binary => {
                Ok(self.next_line_of_any_bytes(input, rest))
            }
            Framing::Line => self.next_line(input).map(Some),
        }
    }

    /// The message of a datagram of `len` bytes.
    pub fn datagram(len: usize) -> Outgoing {
        let head = FrameHeader::new(OpCode::Binary, true, len as u64);
        Outgoing { head, payload: 0..len, taken: len, ends_message: true }
    }

    /// Whether [`Framer::next`], which returned `None` for `held` bytes, would return `None` with
    /// `more` after them as well. False if only a call of `next` shows this.
    pub fn needs_more(&self, held: usize, more: &[u8]) -> bool {
        let len = held + more.len();
        match self.framing {
            Framing::Message => self.reply_exceeds(len),
            Framing::Line => len <= MAX_HELD_LINE && !more.contains(&b'\n'),
            Framing::Length => self.left > len as u64,
            Framing::Bytes | Framing::Text | Framing::Datagrams => false,
        }
    }

    /// Whether the bytes so far end with a message, a record, a line or a character.
    pub fn is_at_boundary(&self) -> bool {
        let is_within = self.in_message || self.in_line || self.held_cr;
        !is_within && self.prefix_read == 0 && self.text.held().is_empty()
    }

    /// The last piece, when the stream has ended: the end of an unfinished line, or of text
    /// that ended within a character.
    ///
    /// # Errors
    ///
    /// The stream ended within a character, a record or a fragmented message, or with replies
    /// missing.
    pub fn finish(&mut self) -> Result<Option<Outgoing>, FramingError> {
        let text = self.text;
        let cut = self.text.finish().is_err();
        if cut && self.invalid == InvalidText::Close {
            return Err(FramingError::InvalidUtf8);
        }
        if self.prefix_read > 0 {
            return Err(FramingError::RecordCut);
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
            let head = FrameHeader::new(opcode, true, held.len() as u64).with(held);
            return Ok(cut.then_some(Outgoing {
                head,
                payload: 0..0,
                taken: 0,
                ends_message: true,
            }));
        }
        let is_unfinished = self.in_line || !held.is_empty();
        Ok(is_unfinished.then(|| self.line_piece(OpCode::Text, held, 0..0, 0, true)))
    }
}

impl FromStr for Framing {
    type Err = String;

    fn from_str(text: &str) -> Result<Framing, String> {
        match text {
            "bytes" => Ok(Framing::Bytes),
            "text" => Ok(Framing::Text),
            "line" => Ok(Framing::Line),
            "length" => Ok(Framing::Length),
            "message" => Ok(Framing::Message),
            _ => Err(format!(
                "unknown framing \"{text}\": expected bytes, text, line, length or message"
            )),
        }
    }
}

impl fmt::Display for Framing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Framing::Bytes => "bytes",
            Framing::Text => "text",
            Framing::Line => "line",
            Framing::Length => "length",
            Framing::Message => "message",
            Framing::Datagrams => "datagrams",
        })
    }
}

#[cfg(test)]
mod tests;
