//! A client's bytes, in any pieces, into frames and messages, strictly by RFC 6455.

use std::ops::Range;

use super::{
    Kind, OpCode, Violation,
    frame::{MAX_CLIENT_HEAD, MAX_CONTROL},
    mask,
};
use crate::{close::CloseCode, utf8::Utf8Stream};

/// Reads a client's frames as a server does.
///
/// It keeps no payload of data frames: they are unmasked where they lie, and the
/// events say where that is. Text is checked as it arrives.
#[derive(Debug)]
pub struct Decoder {
    /// The limit on a message, in payload bytes.
    max_message: u64,
    /// A head that has arrived in part.
    head: [u8; MAX_CLIENT_HEAD],
    head_len: u8,
    /// The frame whose payload is being read.
    frame: Option<Frame>,
    /// The message that has begun and not ended.
    message: Option<Kind>,
    /// Payload bytes of that message so far, by its frames' heads.
    message_len: u64,
    text: Utf8Stream,
    /// The payload of the latest control frame. Most connections never have one.
    control: Option<Box<Control>>,
}

/// A frame whose payload is being read.
#[derive(Clone, Copy, Debug)]
struct Frame {
    opcode: OpCode,
    fin: bool,
    /// Payload bytes still to come.
    left: u64,
    /// The masking key, rotated to the next byte.
    key: [u8; 4],
}

/// What the decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// A message in a single frame that lies in the buffer whole: most are.
    Message {
        /// Text or Binary.
        opcode: OpCode,
        /// Where its payload lies in the buffer, unmasked.
        range: Range<usize>,
    },
    /// The head of any other data frame; at least one [`Event::Payload`] follows, an empty
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
        /// Where it lies in the buffer.
        range: Range<usize>,
        /// Whether the message ends with it.
        ends_message: bool,
    },
    /// A Ping; its payload is [`Decoder::control_payload`].
    Ping,
    /// A Pong; its payload is [`Decoder::control_payload`].
    Pong,
    /// A Close, with [`CloseCode::NO_STATUS`] if it had no code. What follows it
    /// is not to be decoded.
    Close(CloseCode),
}

impl Decoder {
    /// A decoder for a new connection whose messages have at most `max_message`
    /// payload bytes.
    pub fn new(max_message: u64) -> Decoder {
        Decoder {
            max_message,
            head: [0; MAX_CLIENT_HEAD],
            head_len: 0,
            frame: None,
            message: None,
            message_len: 0,
            text: Utf8Stream::default(),
            control: None,
        }
    }

    /// Takes bytes of `buf` from `*at` on, as far as the next event, and moves `*at`
    /// behind them. `None` when `buf` is used up.
    ///
    /// # Errors
    ///
    /// At the client's first violation, after which the decoder is of no more use.
    pub fn next(&mut self, buf: &mut [u8], at: &mut usize) -> Result<Option<Event>, Violation> {
        loop {
            let event = match self.frame {
                None => match self.take_head(buf, at)? {
                    Some(frame) => self.begin(frame, buf, at)?,
                    None => return Ok(None),
                },
                // A frame or its part without payload is an event of its own.
                Some(frame) if *at == buf.len() && frame.left > 0 => return Ok(None),
                Some(frame) if frame.opcode.is_control() => {
                    self.take_control_part(frame, buf, at)?
                }
                Some(frame) => self.take_payload(frame, buf, at)?,
            };
            if event.is_some() {
                return Ok(event);
            }
        }
    }

    /// The payload of the control frame that the last event told of; of a Close,
    /// the reason (valid UTF-8).
    pub fn control_payload(&self) -> &[u8] {
        self.control.as_ref().map_or(&[], |control| control.as_bytes())
    }

    /// Hands over what [`Decoder::control_payload`] shows.
    pub fn take_control(&mut self) -> Option<Box<Control>> {
        self.control.take()
    }

    /// Whether the bytes so far end with a whole message.
    pub fn at_message_boundary(&self) -> bool {
        self.message.is_none() && self.frame.is_none()
    }

    /// The next frame's head, from `buf` alone or behind a part that came before.
    fn take_head(&mut self, buf: &[u8], at: &mut usize) -> Result<Option<Frame>, Violation> {
        if self.head_len == 0
            && let Some((frame, len)) = parse_head(&buf[*at..])?
        {
            *at += len;
            return Ok(Some(frame));
        }
        while let Some(&byte) = buf.get(*at) {
            *at += 1;
            self.head[usize::from(self.head_len)] = byte;
            self.head_len += 1;
            if let Some((frame, _)) = parse_head(&self.head[..usize::from(self.head_len)])? {
                self.head_len = 0;
                return Ok(Some(frame));
            }
        }
        Ok(None)
    }

    /// Enters a frame. A control frame is told of when its payload is complete.
    fn begin(
        &mut self,
        mut frame: Frame,
        buf: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event>, Violation> {
        let Frame { opcode, fin, left: len, .. } = frame;
        let is_message = fin && matches!(opcode, OpCode::Text | OpCode::Binary);
        if is_message && self.message.is_none() && len <= (buf.len() - *at) as u64 {
            if len > self.max_message {
                return Err(Violation::TooBig(self.max_message));
            }
            let range = frame.take(buf, at);
            if opcode == OpCode::Text && std::str::from_utf8(&buf[range.clone()]).is_err() {
                return Err(Violation::InvalidUtf8);
            }
            return Ok(Some(Event::Message { opcode, range }));
        }
        self.frame = Some(frame);
        if opcode.is_control() {
            self.control = Some(Box::default());
            return Ok(None);
        }
        match (opcode, self.message) {
            (OpCode::Continuation, None) => return Err(Violation::NothingToContinue),
            (OpCode::Continuation, Some(_)) => {}
            (_, Some(_)) => return Err(Violation::MessageInMessage),
            (opcode, None) => {
                let text = opcode == OpCode::Text;
                self.message = Some(if text { Kind::Text } else { Kind::Binary });
                self.message_len = 0;
            }
        }
        self.message_len = self.message_len.saturating_add(len);
        if self.message_len > self.max_message {
            return Err(Violation::TooBig(self.max_message));
        }
        Ok(Some(Event::Frame { opcode, fin, len }))
    }

    fn take_payload(
        &mut self,
        mut frame: Frame,
        buf: &mut [u8],
        at: &mut usize,
    ) -> Result<Option<Event>, Violation> {
        let range = frame.take(buf, at);
        let ends_frame = frame.left == 0;
        let ends_message = ends_frame && frame.fin;
        self.frame = (!ends_frame).then_some(frame);
        if self.message == Some(Kind::Text) {
            self.text.push(&buf[range.clone()]).map_err(|_| Violation::InvalidUtf8)?;
            if ends_message {
                self.text.finish().map_err(|_| Violation::InvalidUtf8)?;
            }
        }
        if ends_message {
            self.message = None;
        }
        Ok(Some(Event::Payload { range, ends_message }))
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

    /// Takes the code off a Close frame's payload and leaves the reason.
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
            control.start = 2;
        }
        Ok(code)
    }
}

/// The payload of a control frame.
#[derive(Debug)]
pub struct Control {
    bytes: [u8; MAX_CONTROL],
    /// Behind the code of a Close.
    start: u8,
    end: u8,
}

impl Default for Control {
    fn default() -> Control {
        Control { bytes: [0; MAX_CONTROL], start: 0, end: 0 }
    }
}

impl Control {
    /// At most [`MAX_CONTROL`] bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[usize::from(self.start)..usize::from(self.end)]
    }

    /// Appends a part; the head has said that they fit together.
    fn push(&mut self, part: &[u8]) {
        let end = usize::from(self.end);
        self.bytes[end..end + part.len()].copy_from_slice(part);
        self.end += part.len() as u8;
    }
}

impl Frame {
    /// Unmasks what `buf` has of this frame's payload from `*at` on, and says where
    /// it lies.
    #[inline]
    fn take(&mut self, buf: &mut [u8], at: &mut usize) -> Range<usize> {
        let here = buf.len() - *at;
        let len = usize::try_from(self.left).map_or(here, |left| left.min(here));
        let range = *at..*at + len;
        mask::apply(&mut buf[range.clone()], &mut self.key);
        self.left -= len as u64;
        *at += len;
        range
    }
}

/// The head at the beginning of `bytes` and its length, or `None` if there is more
/// to come. What is wrong shows at the first byte that says so.
#[inline]
fn parse_head(bytes: &[u8]) -> Result<Option<(Frame, usize)>, Violation> {
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
    if second & 0x80 == 0 {
        return Err(Violation::Unmasked);
    }
    let short = second & 0x7f;
    if opcode.is_control() && usize::from(short) > MAX_CONTROL {
        return Err(Violation::LongControl);
    }
    let (left, key_at, least) = match (short, &bytes[2..]) {
        (126, [a, b, ..]) => (u64::from(u16::from_be_bytes([*a, *b])), 4, 126),
        (127, [a, b, c, d, e, f, g, h, ..]) => {
            (u64::from_be_bytes([*a, *b, *c, *d, *e, *f, *g, *h]), 10, 0x1_0000)
        }
        (126 | 127, _) => return Ok(None),
        (short, _) => (u64::from(short), 2, 0),
    };
    if left < least || left >= 1 << 63 {
        return Err(Violation::BadLength);
    }
    let Some(&[a, b, c, d]) = bytes.get(key_at..key_at + 4) else { return Ok(None) };
    Ok(Some((Frame { opcode, fin, left, key: [a, b, c, d] }, key_at + 4)))
}

#[cfg(test)]
mod tests;
