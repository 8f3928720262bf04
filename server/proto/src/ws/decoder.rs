//! A decoder from bytes, in pieces of any size, to frames and messages, strict by RFC 6455.

mod control;
mod header;

use std::ops::Range;

pub use self::control::Control;
use self::header::{Frame, parse_header};
use super::{
    MessageType, OpCode, Role, Violation,
    frame::MAX_HEADER,
    scanner::{FrameScanner, RawHeader},
};
use crate::{close::CloseCode, utf8::Utf8Stream};

/// A decoder of the frames that one peer sends.
///
/// The payload of data frames is not stored: it is unmasked in the caller's buffer, and the
/// events give its range there. The UTF-8 of text messages is checked as it arrives.
#[derive(Debug)]
pub struct Decoder {
    /// The limit on a message, in payload bytes.
    max_message: u64,
    /// The role of the endpoint that decodes; the peer has the other one.
    role: Role,
    /// The part of an incomplete frame header that has arrived.
    header: [u8; MAX_HEADER],
    header_len: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The type of the message that has begun and not ended.
    message: Option<MessageType>,
    /// Payload bytes of that message so far, as the headers of its frames declare them.
    message_len: u64,
    text: Utf8Stream,
    /// The payload of the latest control frame. Boxed, since most connections never have one.
    control: Option<Box<Control>>,
}

/// A frame, or part of one, that the decoder has read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message in a single frame that is complete in the buffer, the usual case.
    Message {
        /// Text or Binary.
        opcode: OpCode,
        /// The range of its unmasked payload in the buffer.
        range: Range<usize>,
    },
    /// The header of any other data frame. At least one [`Event::Payload`] follows, an empty
    /// one if the frame is empty.
    Frame {
        /// Text, Binary or Continuation.
        opcode: OpCode,
        /// Whether the message ends with this frame.
        fin: bool,
        /// Payload bytes of this frame.
        len: u64,
    },
    /// Payload of the current data frame, unmasked in the caller's buffer.
    Payload {
        /// The range of the payload in the buffer.
        range: Range<usize>,
        /// Whether the message ends with this payload.
        ends_message: bool,
    },
    /// A Ping; its payload is [`Decoder::control_payload`].
    Ping,
    /// A Pong; its payload is [`Decoder::control_payload`].
    Pong,
    /// A Close, with [`CloseCode::NO_STATUS`] if it had no code; its reason is
    /// [`Decoder::control_payload`]. Bytes after a Close must not be decoded.
    Close(CloseCode),
}

impl Decoder {
    /// Creates the decoder of a server, for a new connection whose messages have at most
    /// `max_message` payload bytes.
    pub fn new(max_message: u64) -> Decoder {
        Decoder::with_role(Role::Server, max_message)
    }

    /// Creates the decoder of an endpoint in the role `role`: a server accepts masked frames
    /// only, a client unmasked ones only.
    pub fn with_role(role: Role, max_message: u64) -> Decoder {
        Decoder {
            max_message,
            role,
            header: [0; MAX_HEADER],
            header_len: 0,
            frame: None,
            message: None,
            message_len: 0,
            text: Utf8Stream::default(),
            control: None,
        }
    }

    /// The role of the endpoint that decodes.
    #[inline]
    pub fn role(&self) -> Role {
        self.role
    }

    /// Decodes `buf` from `*at` on up to the next event, and moves `*at` past the bytes
    /// consumed. Returns `None` when all of `buf` is consumed.
    ///
    /// # Errors
    ///
    /// The peer's first violation, after which the decoder must not be used again.
    #[inline]
    pub fn next(&mut self, buf: &mut [u8], at: &mut usize) -> Result<Option<Event>, Violation> {
        let frame = match self.frame {
            Some(frame) => frame,
            None => match self.take_header(buf, at)? {
                None => return Ok(None),
                Some(frame) if frame.opcode.is_control() => {
                    self.control = Some(Box::default());
                    frame
                }
                Some(frame) => return self.begin(frame, buf, at).map(Some),
            },
        };
        if frame.opcode.is_control() {
            return self.take_control_part(frame, buf, at);
        }
        // An empty frame still gives an event.
        if *at == buf.len() && frame.left > 0 {
            return Ok(None);
        }
        self.take_payload(frame, buf, at).map(Some)
    }

    /// The payload of the control frame of the last event; for a Close, the reason (valid
    /// UTF-8). After [`Violation::BadCloseCode`], code and reason of that Close.
    pub fn control_payload(&self) -> &[u8] {
        self.control.as_ref().map_or(&[], |control| control.as_bytes())
    }

    /// Takes the buffer that holds [`Decoder::control_payload`].
    pub fn take_control(&mut self) -> Option<Box<Control>> {
        self.control.take()
    }

    /// Whether the bytes decoded so far end with a complete message.
    pub fn at_message_boundary(&self) -> bool {
        self.message.is_none() && self.frame.is_none()
    }

    /// The number of payload bytes of the current data frame that no event has reported; `None`
    /// outside of a data frame. After a violation, that of the data frame before it.
    pub fn missing_payload(&self) -> Option<u64> {
        self.frame.filter(|frame| !frame.opcode.is_control()).map(|frame| frame.left)
    }

    /// A scanner that begins after the bytes decoded so far.
    pub fn scanner(&self) -> FrameScanner {
        match &self.frame {
            None => FrameScanner::behind(&self.header[..usize::from(self.header_len)]),
            Some(frame) => FrameScanner::within(RawHeader {
                first: u8::from(frame.fin) << 7 | frame.opcode.bits(),
                key: (self.role == Role::Server).then_some(frame.key),
                len: frame.left,
            }),
        }
    }

    /// Reads the header of the next frame, from `buf` alone or from `buf` and an earlier part.
    #[inline]
    fn take_header(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Violation> {
        if self.header_len == 0
            && let Some((frame, len)) = parse_header(&buf[*at..], self.role)?
        {
            *at += len;
            return Ok(Some(frame));
        }
        self.take_header_in_parts(buf, at)
    }

    /// Reads the header of the next frame if `buf` has only a part of it, which is rare.
    #[cold]
    fn take_header_in_parts(
        &mut self,
        buf: &[u8],
        at: &mut usize,
    ) -> Result<Option<Frame>, Violation> {
        while let Some(&byte) = buf.get(*at) {
            *at += 1;
            self.header[usize::from(self.header_len)] = byte;
            self.header_len += 1;
            let header = &self.header[..usize::from(self.header_len)];
            if let Some((frame, _)) = parse_header(header, self.role)? {
                self.header_len = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Begins a data frame.
    #[inline]
    fn begin(
        &mut self,
        mut frame: Frame,
        buf: &mut [u8],
        at: &mut usize,
    ) -> Result<Event, Violation> {
        let Frame { opcode, fin, left: len, .. } = frame;
        let is_message = fin && opcode != OpCode::Continuation;
        if is_message && self.message.is_none() && len <= (buf.len() - *at) as u64 {
            if len > self.max_message {
                return Err(Violation::TooBig(self.max_message));
            }
            let range = frame.take(buf, at);
            if opcode == OpCode::Text && std::str::from_utf8(&buf[range.clone()]).is_err() {
                return Err(Violation::InvalidUtf8);
            }
            return Ok(Event::Message { opcode, range });
        }
        match (opcode, self.message) {
            (OpCode::Continuation, None) => return Err(Violation::NothingToContinue),
            (OpCode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(Violation::MessageInMessage),
            (opcode, None) => {
                let text = opcode == OpCode::Text;
                self.message = Some(if text { MessageType::Text } else { MessageType::Binary });
                self.message_len = 0;
            }
        }
        self.message_len = self.message_len.saturating_add(len);
        if self.message_len > self.max_message {
            return Err(Violation::TooBig(self.max_message));
        }
        self.frame = Some(frame);
        Ok(Event::Frame { opcode, fin, len })
    }

    fn take_payload(
        &mut self,
        mut frame: Frame,
        buf: &mut [u8],
        at: &mut usize,
    ) -> Result<Event, Violation> {
        let range = frame.take(buf, at);
        let ends_frame = frame.left == 0;
        let ends_message = ends_frame && frame.fin;
        if self.message == Some(MessageType::Text) {
            self.text.push(&buf[range.clone()]).map_err(|_| Violation::InvalidUtf8)?;
            if ends_message {
                self.text.finish().map_err(|_| Violation::InvalidUtf8)?;
            }
        }
        self.frame = (!ends_frame).then_some(frame);
        if ends_message {
            self.message = None;
        }
        Ok(Event::Payload { range, ends_message })
    }

    fn take_control_part(
        &mut self,
        mut frame: Frame,
        buf: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event>, Violation> {
        let range = frame.take(buf, at);
        if let Some(control) = &mut self.control {
            control.push(&buf[range]);
        }
        if frame.left > 0 {
            self.frame = Some(frame);
            return Ok(None);
        }
        self.frame = None;
        Ok(Some(match frame.opcode {
            OpCode::Ping => Event::Ping,
            OpCode::Pong => Event::Pong,
            _ => Event::Close(self.split_close()?),
        }))
    }

    /// Splits the code from the payload of a Close frame and leaves the reason.
    fn split_close(&mut self) -> Result<CloseCode, Violation> {
        let (code, reason) = match self.control_payload() {
            [] => return Ok(CloseCode::NO_STATUS),
            [_] => return Err(Violation::ShortClose),
            [a, b, reason @ ..] => (CloseCode(u16::from_be_bytes([*a, *b])), reason),
        };
        if !code.may_be_sent() {
            return Err(Violation::BadCloseCode(code.0));
        }
        if std::str::from_utf8(reason).is_err() {
            return Err(Violation::InvalidReason);
        }
        if let Some(control) = &mut self.control {
            control.skip_code();
        }
        Ok(code)
    }
}

#[cfg(test)]
mod tests;
