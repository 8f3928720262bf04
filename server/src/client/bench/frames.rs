//! WebSocket frames (RFC 6455 section 5.2) as a client writes and reads them, with
//! no more work than a load generator can afford.

use std::ops::Range;

use echogate_proto::{
    close::CloseCode,
    ws::{Head, OpCode, Violation, frame::MAX_CONTROL, mask},
};

use crate::client::websocket::Close;

/// The longest head of a server's frame, in bytes: 2 and an 8-byte length.
const MAX_HEAD: usize = 10;

/// A whole frame of one message, masked with `key`.
pub(super) fn client_frame(opcode: OpCode, payload: &[u8], mut key: [u8; 4]) -> Vec<u8> {
    let mut frame = Head::new(opcode, true, payload.len() as u64).as_bytes().to_vec();
    frame[1] |= 0x80;
    frame.extend(key);
    let head = frame.len();
    frame.extend_from_slice(payload);
    mask::apply(&mut frame[head..], &mut key);
    frame
}

/// Reads a server's frames, in any pieces. It keeps no payload of data frames.
#[derive(Debug, Default)]
pub(in crate::client) struct Frames {
    /// A head that has arrived in part.
    head: [u8; MAX_HEAD],
    head_len: usize,
    /// The frame whose payload is being read, and how much of it is still to come.
    frame: Option<(OpCode, u64)>,
    /// A message has begun and not ended.
    in_message: bool,
    /// The payload of the latest control frame, at most [`MAX_CONTROL`] bytes.
    control: Vec<u8>,
}

/// What has been found.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) enum Event {
    /// The head of a data frame.
    Frame,
    /// Payload of a data frame, and where it lies in the caller's buffer.
    Payload(Range<usize>),
    /// A Ping, and what is to be sent back.
    Ping(Vec<u8>),
    /// A Close.
    Close(Close),
}

impl Frames {
    /// Takes bytes from `*at` on, as far as the next event, and moves `*at` behind
    /// them. `None` when all are used up.
    ///
    /// # Errors
    ///
    /// What the server did wrong, after which this is of no more use.
    pub(in crate::client) fn next(
        &mut self,
        bytes: &[u8],
        at: &mut usize,
    ) -> Result<Option<Event>, String> {
        loop {
            let Some((opcode, left)) = self.frame else {
                match self.take_head(bytes, at)? {
                    Some((opcode, len)) => self.frame = Some((opcode, len)),
                    None => return Ok(None),
                }
                if self.frame.is_some_and(|(opcode, _)| !opcode.is_control()) {
                    return Ok(Some(Event::Frame));
                }
                self.control.clear();
                continue;
            };
            let here = bytes.len() - *at;
            if here == 0 && left > 0 {
                return Ok(None);
            }
            let len = usize::try_from(left).map_or(here, |left| left.min(here));
            let range = *at..*at + len;
            *at = range.end;
            let left = left - len as u64;
            self.frame = (left > 0).then_some((opcode, left));
            if !opcode.is_control() {
                return Ok(Some(Event::Payload(range)));
            }
            self.control.extend_from_slice(&bytes[range]);
            if left == 0 {
                match opcode {
                    OpCode::Ping => return Ok(Some(Event::Ping(self.control.clone()))),
                    OpCode::Close => return Ok(Some(self.close())),
                    _ => {}
                }
            }
        }
    }

    /// The next frame's opcode and length.
    fn take_head(&mut self, bytes: &[u8], at: &mut usize) -> Result<Option<(OpCode, u64)>, String> {
        loop {
            let want = match (self.head_len, self.head[1] & 0x7f) {
                (0 | 1, _) | (_, 0..126) => 2,
                (_, 126) => 4,
                _ => MAX_HEAD,
            };
            let len = (want - self.head_len).min(bytes.len() - *at);
            self.head[self.head_len..self.head_len + len].copy_from_slice(&bytes[*at..*at + len]);
            self.head_len += len;
            *at += len;
            if self.head_len == want && (want > 2 || self.head[1] & 0x7f < 126) {
                self.head_len = 0;
                return self.read_head(want).map(Some);
            }
            if len == 0 {
                return Ok(None);
            }
        }
    }

    /// What the head of `len` bytes says.
    fn read_head(&mut self, len: usize) -> Result<(OpCode, u64), String> {
        let (first, second) = (self.head[0], self.head[1]);
        let bits = first & 0x0f;
        let fin = first & 0x80 != 0;
        let payload = match len {
            2 => u64::from(second & 0x7f),
            _ => self.head[2..len].iter().fold(0, |sum, byte| sum << 8 | u64::from(*byte)),
        };
        let violation = match (OpCode::from_bits(bits), self.in_message) {
            _ if first & 0x70 != 0 => Violation::ReservedBits,
            (None, _) => Violation::ReservedOpcode(bits),
            _ if second & 0x80 != 0 => return Err("a frame is masked".to_owned()),
            (Some(opcode), _) if opcode.is_control() => match (fin, payload > MAX_CONTROL as u64) {
                (false, _) => Violation::FragmentedControl,
                (true, true) => Violation::LongControl,
                (true, false) => return Ok((opcode, payload)),
            },
            (Some(OpCode::Continuation), false) => Violation::NothingToContinue,
            (Some(OpCode::Text | OpCode::Binary), true) => Violation::MessageInMessage,
            (Some(opcode), _) => {
                self.in_message = !fin;
                return Ok((opcode, payload));
            }
        };
        Err(violation.to_string())
    }

    fn close(&self) -> Event {
        let (code, reason) = match self.control[..] {
            [a, b, ref reason @ ..] => (
                Some(CloseCode(u16::from_be_bytes([a, b]))),
                String::from_utf8_lossy(reason).into_owned(),
            ),
            _ => (None, String::new()),
        };
        Event::Close(Close { code, reason })
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::ws::{Decoder, frame::close_frame};
    use proptest::prelude::*;

    use super::*;

    /// A server's frame.
    fn frame(opcode: OpCode, fin: bool, payload: &[u8]) -> Vec<u8> {
        [Head::new(opcode, fin, payload.len() as u64).as_bytes(), payload].concat()
    }

    /// How many frames came, what they carried, and the rest of the events.
    fn read(pieces: &[&[u8]]) -> Result<(usize, Vec<u8>, Vec<Event>), String> {
        let (mut frames, mut count) = (Frames::default(), 0);
        let (mut payload, mut others) = (Vec::new(), Vec::new());
        for piece in pieces {
            let mut at = 0;
            while let Some(event) = frames.next(piece, &mut at)? {
                match event {
                    Event::Frame => count += 1,
                    Event::Payload(range) => payload.extend_from_slice(&piece[range]),
                    event => others.push(event),
                }
            }
            assert_eq!(at, piece.len());
        }
        Ok((count, payload, others))
    }

    proptest! {
        #[test]
        fn frames_are_read_whatever_the_pieces(
            cuts in proptest::collection::vec(1..400_usize, 1..20),
        ) {
            let stream = [
                frame(OpCode::Binary, true, &[1; 125]),
                frame(OpCode::Ping, true, b"?"),
                frame(OpCode::Text, false, &[2; 126]),
                frame(OpCode::Pong, true, b""),
                frame(OpCode::Continuation, true, b""),
                frame(OpCode::Binary, true, &[3; 70_000]),
                close_frame(CloseCode::INTERNAL_ERROR, "why"),
            ]
            .concat();
            let (mut pieces, mut rest, mut cuts) = (Vec::new(), &stream[..], cuts.iter().cycle());
            while !rest.is_empty() {
                let (piece, behind) = rest.split_at((*cuts.next().unwrap()).min(rest.len()));
                pieces.push(piece);
                rest = behind;
            }
            let (count, payload, others) = read(&pieces).unwrap();
            prop_assert_eq!(count, 4);
            prop_assert_eq!(payload, [&[1; 125][..], &[2; 126], &[3; 70_000]].concat());
            let close = Close { code: Some(CloseCode::INTERNAL_ERROR), reason: "why".to_owned() };
            prop_assert_eq!(others, [Event::Ping(b"?".to_vec()), Event::Close(close)]);
        }
    }

    #[test]
    fn what_a_server_does_wrong_is_named() {
        for (bytes, complaint) in [
            (&[0xc2, 0][..], "reserved bits are set in a frame's head"),
            (&[0x83, 0], "reserved opcode 3"),
            (&[0x82, 0x80], "a frame is masked"),
            (&[0x09, 0], "a control frame is fragmented"),
            (&[0x89, 126, 0, 126], "a control frame is longer than 125 bytes"),
            (&[0x80, 0], "a continuation frame, but no message to continue"),
            (&[0x02, 0, 0x82, 0], "a new message before the end of the last one"),
        ] {
            assert_eq!(read(&[bytes]).unwrap_err(), complaint);
        }
    }

    #[test]
    fn a_servers_decoder_takes_our_frames() {
        for len in [0, 125, 126, 65_535, 65_536] {
            let mut bytes = client_frame(OpCode::Binary, &vec![b'x'; len], [1, 2, 3, 4]);
            let (mut decoder, mut at, mut payload) = (Decoder::new(1 << 20), 0, Vec::new());
            while let Some(event) = decoder.next(&mut bytes, &mut at).unwrap() {
                if let echogate_proto::ws::Event::Message { range, .. } = event {
                    payload.extend_from_slice(&bytes[range]);
                }
            }
            assert!(payload == vec![b'x'; len], "{len}");
            assert!(decoder.at_message_boundary());
        }
    }
}
