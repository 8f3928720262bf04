//! Opcodes, frame headers and whole control frames (RFC 6455 section 5.2).

use super::mask;
use crate::close::CloseCode;

/// The largest payload of a control frame, in bytes (RFC 6455 section 5.5).
pub const MAX_CONTROL: usize = 125;

/// The longest reason of a Close frame, in bytes: the payload of a control frame without the code
/// (RFC 6455 section 5.5.1).
pub const MAX_REASON: usize = MAX_CONTROL - 2;

/// The longest frame header, in bytes: 2, a length of 8 bytes, and a masking key of 4.
pub(super) const MAX_HEADER: usize = 14;

/// The role of an endpoint, which determines the frames that are masked (RFC 6455 section 5.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// A server, which accepts masked frames and sends unmasked ones.
    Server,
    /// A client, which accepts unmasked frames and sends masked ones.
    Client,
}

/// The type of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageType {
    /// UTF-8 text.
    Text,
    /// Bytes.
    Binary,
}

/// The opcodes that RFC 6455 defines.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OpCode {
    /// A further fragment of a message.
    Continuation = 0x0,
    /// The first or only frame of a text message.
    Text = 0x1,
    /// The first or only frame of a binary message.
    Binary = 0x2,
    /// The start or the end of the closing handshake.
    Close = 0x8,
    /// A request for a Pong.
    Ping = 0x9,
    /// The response to a Ping, or an unsolicited sign of life.
    Pong = 0xA,
}

impl OpCode {
    /// The opcode with the value `bits`, if RFC 6455 defines one.
    pub fn from_bits(bits: u8) -> Option<OpCode> {
        Some(match bits {
            0x0 => OpCode::Continuation,
            0x1 => OpCode::Text,
            0x2 => OpCode::Binary,
            0x8 => OpCode::Close,
            0x9 => OpCode::Ping,
            0xA => OpCode::Pong,
            _ => return None,
        })
    }

    /// The value of this opcode, 4 bits.
    pub fn bits(self) -> u8 {
        self as u8
    }

    /// Whether frames of this opcode are control frames (RFC 6455 section 5.5).
    pub fn is_control(self) -> bool {
        matches!(self, OpCode::Close | OpCode::Ping | OpCode::Pong)
    }
}

impl From<MessageType> for OpCode {
    fn from(message_type: MessageType) -> OpCode {
        match message_type {
            MessageType::Text => OpCode::Text,
            MessageType::Binary => OpCode::Binary,
        }
    }
}

/// The bytes that are sent in front of a payload: the header of an unmasked frame (2, 4 or 10
/// bytes), and up to 3 bytes of payload held back from an earlier read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHeader {
    bytes: [u8; FrameHeader::MAX],
    len: u8,
    held: u8,
}

impl FrameHeader {
    /// The longest value, in bytes.
    pub const MAX: usize = 10 + 3;

    /// No bytes: the payload that follows continues a frame begun before.
    pub const NONE: FrameHeader = FrameHeader { bytes: [0; FrameHeader::MAX], len: 0, held: 0 };

    /// The header of an unmasked frame with `len` payload bytes.
    #[expect(clippy::cast_possible_truncation, reason = "each length is cast in its range")]
    #[inline]
    pub fn new(opcode: OpCode, fin: bool, len: u64) -> FrameHeader {
        let mut bytes = [0; FrameHeader::MAX];
        let first = u8::from(fin) << 7 | opcode.bits();
        bytes[0] = first;
        let head = match len {
            0..126 => {
                // One store, which `append_to` loads as a whole.
                bytes[..8].copy_from_slice(&[first, len as u8, 0, 0, 0, 0, 0, 0]);
                2
            }
            126..0x1_0000 => {
                bytes[1] = 126;
                bytes[2..4].copy_from_slice(&(len as u16).to_be_bytes());
                4
            }
            _ => {
                bytes[1] = 127;
                bytes[2..10].copy_from_slice(&len.to_be_bytes());
                10
            }
        };
        FrameHeader { bytes, len: head, held: 0 }
    }

    /// Returns this header with `held`, at most 3 payload bytes, appended.
    pub fn with(mut self, held: &[u8]) -> FrameHeader {
        let at = usize::from(self.len);
        self.bytes[at..at + held.len()].copy_from_slice(held);
        self.held = u8::try_from(held.len()).expect("at most 3 bytes are held back");
        self.len += self.held;
        self
    }

    /// The number of payload bytes in this header.
    pub fn held(&self) -> usize {
        usize::from(self.held)
    }

    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// Writes the header, which holds no payload, in front of the position `end` of `buffer`; with
    /// a `key`, as the header of a masked frame. Returns the header's position.
    #[inline]
    pub fn write_before(&self, buffer: &mut [u8], end: usize, key: Option<[u8; 4]>) -> usize {
        let end = key.map_or(end, |key| {
            buffer[end - 4..end].copy_from_slice(&key);
            end - 4
        });
        let start = end - usize::from(self.len);
        // A copy of constant length compiles to one store; most frames are short.
        match &mut buffer[start..end] {
            [first, second] => [*first, *second] = [self.bytes[0], self.bytes[1]],
            longer => longer.copy_from_slice(self.as_bytes()),
        }
        buffer[start + 1] |= u8::from(key.is_some()) << 7;
        start
    }

    /// Appends the bytes to send to `out`.
    #[inline]
    pub fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + usize::from(self.len);
        // A copy of constant length compiles to one store; most headers are short.
        match self.len {
            0..=8 => out.extend_from_slice(&self.bytes[..8]),
            _ => out.extend_from_slice(&self.bytes),
        }
        out.truncate(end);
    }

    /// Whether there is nothing to send.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The header of the same frame as a client sends it, masked with `key`. It must not be
    /// [empty](FrameHeader::is_empty).
    #[inline]
    pub fn masked(&self, mut key: [u8; 4]) -> MaskedHeader {
        let (head, held) = self.as_bytes().split_at(usize::from(self.len - self.held));
        let mut bytes = [0; FrameHeader::MAX + 4];
        let behind_key = head.len() + 4;
        bytes[..head.len()].copy_from_slice(head);
        bytes[1] |= 0x80;
        bytes[head.len()..behind_key].copy_from_slice(&key);
        let end = behind_key + held.len();
        bytes[behind_key..end].copy_from_slice(held);
        mask::apply(&mut bytes[behind_key..end], &mut key);
        MaskedHeader { bytes, len: self.len + 4, key }
    }
}

/// The header of a masked frame (2, 4 or 10 bytes, and the key), and up to 3 bytes of payload held
/// back from an earlier read.
#[derive(Clone, Copy, Debug)]
pub struct MaskedHeader {
    bytes: [u8; FrameHeader::MAX + 4],
    len: u8,
    key: [u8; 4],
}

impl MaskedHeader {
    /// The bytes to send.
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }

    /// The key for the payload that follows, for [`mask::apply`].
    pub fn key(&mut self) -> &mut [u8; 4] {
        &mut self.key
    }
}

/// A whole frame as a client sends it: one message or control frame, masked with `key`.
pub fn masked_frame(opcode: OpCode, payload: &[u8], key: [u8; 4]) -> Vec<u8> {
    let mut header = FrameHeader::new(opcode, true, payload.len() as u64).masked(key);
    let mut frame = [header.as_bytes(), payload].concat();
    let start = frame.len() - payload.len();
    mask::apply(&mut frame[start..], header.key());
    frame
}

/// Masks whole control frames, given as a server sends them, for a client. Each frame has its own
/// key, a result of `keys`.
pub fn mask_control_frames(mut frames: &[u8], keys: impl Fn() -> [u8; 4]) -> Vec<u8> {
    let mut masked = Vec::with_capacity(frames.len() + 4);
    while let [first, len, rest @ ..] = frames {
        let (payload, behind) = rest.split_at(usize::from(*len).min(rest.len()));
        if let Some(opcode) = OpCode::from_bits(first & 0x0f) {
            masked.extend(masked_frame(opcode, payload, keys()));
        }
        frames = behind;
    }
    masked
}

/// A whole control frame as a server sends it. A payload of more than [`MAX_CONTROL`] bytes is
/// cut there.
pub fn control_frame(opcode: OpCode, payload: &[u8]) -> Vec<u8> {
    let payload = &payload[..payload.len().min(MAX_CONTROL)];
    let mut frame = Vec::with_capacity(2 + payload.len());
    frame.extend_from_slice(FrameHeader::new(opcode, true, payload.len() as u64).as_bytes());
    frame.extend_from_slice(payload);
    frame
}

/// A whole Close frame as a server sends it. A code that must not be sent gives an empty one,
/// which also answers a Close without a code (RFC 6455 section 5.5.1). A reason that does not
/// fit is cut between two characters.
pub fn close_frame(code: CloseCode, reason: &str) -> Vec<u8> {
    if !code.may_be_sent() {
        return control_frame(OpCode::Close, &[]);
    }
    let mut payload = code.0.to_be_bytes().to_vec();
    payload.extend_from_slice(&reason.as_bytes()[..reason.floor_char_boundary(MAX_REASON)]);
    control_frame(OpCode::Close, &payload)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_length_takes_as_few_bytes_as_it_can() {
        let head = |len| FrameHeader::new(OpCode::Binary, true, len).as_bytes().to_vec();
        assert_eq!(head(125), [0x82, 125]);
        assert_eq!(head(126), [0x82, 126, 0, 126]);
        assert_eq!(head(65535), [0x82, 126, 0xff, 0xff]);
        assert_eq!(head(65536), [0x82, 127, 0, 0, 0, 0, 0, 1, 0, 0]);
    }

    #[test]
    fn a_close_reason_is_cut_at_a_character_so_that_the_frame_fits() {
        let frame = close_frame(CloseCode::INTERNAL_ERROR, &"ß".repeat(100));
        assert_eq!(frame[..4], [0x88, 2 + 122, 0x03, 0xf3]);
        assert_eq!(std::str::from_utf8(&frame[4..]), Ok("ß".repeat(61).as_str()));
    }

    #[test]
    fn a_masked_header_has_the_key_behind_the_length_and_masks_what_is_held_back() {
        let key = [1, 2, 3, 4];
        let mut header = FrameHeader::new(OpCode::Text, false, 300).with(b"abc").masked(key);
        assert_eq!(header.as_bytes(), [1, 0xfe, 1, 44, 1, 2, 3, 4, b'a' ^ 1, b'b' ^ 2, b'c' ^ 3]);
        assert_eq!(header.key(), &[4, 1, 2, 3], "the key for the rest");
        let header = FrameHeader::new(OpCode::Binary, true, 1 << 16).with(b"abc").masked(key);
        assert_eq!(header.as_bytes().len(), 17);
    }

    #[test]
    fn a_header_in_front_of_its_payload_is_the_same_and_leaves_what_lies_before_it() {
        for len in [0, 125, 126, 65535, 65536] {
            let header = FrameHeader::new(OpCode::Text, true, len);
            for key in [None, Some([1, 2, 3, 4])] {
                let expected = key.map_or_else(
                    || header.as_bytes().to_vec(),
                    |key| header.masked(key).as_bytes().to_vec(),
                );
                let mut buffer = [0xaa; 20];
                let start = header.write_before(&mut buffer, 16, key);
                assert_eq!(buffer[start..16], expected);
                assert!(buffer[..start].iter().chain(&buffer[16..]).all(|byte| *byte == 0xaa));
            }
        }
    }

    #[test]
    fn control_frames_are_masked_one_by_one() {
        let frames =
            [control_frame(OpCode::Pong, b"?"), close_frame(CloseCode::NORMAL, "bye")].concat();
        let key = [7, 7, 7, 7];
        let expected = [
            masked_frame(OpCode::Pong, b"?", key),
            masked_frame(OpCode::Close, b"\x03\xe8bye", key),
        ];
        assert_eq!(mask_control_frames(&frames, || key), expected.concat());
    }

    #[test]
    fn a_code_that_may_not_be_sent_is_not() {
        assert_eq!(close_frame(CloseCode::NO_STATUS, "no"), [0x88, 0]);
    }
}
