//! The frame decoder against tungstenite's: what one reads the other does, and what
//! one refuses the other does, at the same place.
//!
//! Left out is what tungstenite lets pass though the RFC does not: lengths that are
//! not in their shortest form.

use std::io::{Cursor, Read, Write};

use echogate_proto::ws::{Decoder, Event, Kind, OpCode};
use echogate_tests::ws::frame;
use proptest::prelude::*;
use tokio_tungstenite::tungstenite::{
    Message, WebSocket,
    protocol::{Role, WebSocketConfig},
};

const LIMIT: usize = 5_000;

/// What a server makes of a client's bytes.
#[derive(Debug, PartialEq)]
enum Item {
    Message(Kind, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// Nothing follows it.
    Close(Option<u16>, String),
    /// Nothing follows it.
    Refused,
}

fn ours(bytes: &[u8], cuts: &[usize]) -> Vec<Item> {
    let mut decoder = Decoder::new(LIMIT as u64);
    let (mut items, mut kind, mut message) = (Vec::new(), Kind::Binary, Vec::new());
    let mut rest = bytes;
    for cut in cuts.iter().copied().chain([usize::MAX]) {
        let (piece, behind) = rest.split_at(cut.min(rest.len()));
        rest = behind;
        let (mut buf, mut at) = (piece.to_vec(), 0);
        loop {
            match decoder.next(&mut buf, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message { opcode, range })) => {
                    let text = opcode == OpCode::Text;
                    let kind = if text { Kind::Text } else { Kind::Binary };
                    items.push(Item::Message(kind, buf[range].to_vec()));
                }
                Ok(Some(Event::Frame { opcode, .. })) => match opcode {
                    OpCode::Text => kind = Kind::Text,
                    OpCode::Binary => kind = Kind::Binary,
                    _ => {}
                },
                Ok(Some(Event::Payload { range, ends_message })) => {
                    message.extend_from_slice(&buf[range]);
                    if ends_message {
                        items.push(Item::Message(kind, std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Event::Ping)) => items.push(Item::Ping(decoder.control_payload().into())),
                Ok(Some(Event::Pong)) => items.push(Item::Pong(decoder.control_payload().into())),
                Ok(Some(Event::Close(code))) => {
                    let reason = String::from_utf8(decoder.control_payload().into()).unwrap();
                    items.push(Item::Close(Some(code.0).filter(|code| *code != 1005), reason));
                    return items;
                }
                Err(_) => {
                    items.push(Item::Refused);
                    return items;
                }
            }
        }
    }
    items
}

/// A client that has sent everything and reads nothing.
struct Sent(Cursor<Vec<u8>>);

impl Read for Sent {
    fn read(&mut self, buf: &mut [u8]) -> std::io::Result<usize> {
        self.0.read(buf)
    }
}

impl Write for Sent {
    fn write(&mut self, buf: &[u8]) -> std::io::Result<usize> {
        Ok(buf.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

fn theirs(bytes: &[u8]) -> Vec<Item> {
    use tokio_tungstenite::tungstenite::{Error, error::ProtocolError};
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(1024);
    let stream = Sent(Cursor::new(bytes.to_vec()));
    let mut server = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut items = Vec::new();
    loop {
        items.push(match server.read() {
            Ok(Message::Text(text)) => Item::Message(Kind::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Item::Message(Kind::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => Item::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Item::Pong(payload.to_vec()),
            Ok(Message::Close(close)) => {
                let code = close.as_ref().map(|close| u16::from(close.code));
                let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                // A code that may not be sent it reports as if the client had sent this.
                let refused = code == Some(1002) && reason == "Protocol violation";
                items.push(if refused { Item::Refused } else { Item::Close(code, reason) });
                return items;
            }
            Ok(Message::Frame(_)) => unreachable!("it is never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return items,
            Err(_) => {
                items.push(Item::Refused);
                return items;
            }
        });
    }
}

/// Text that is whole, cut, or wrong.
fn text() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        6 => ".{0,60}".prop_map(String::into_bytes),
        1 => proptest::collection::vec(any::<u8>(), 0..6),
        1 => Just("a€".as_bytes()[..3].to_vec()),
        1 => Just("a€".as_bytes()[3..].to_vec()),
    ]
}

/// A message or a control frame, mostly as it should be.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let bytes = |max| proptest::collection::vec(any::<u8>(), 0..max);
    prop_oneof![
        6 => text().prop_map(|text| frame(0x81, &text)),
        6 => bytes(300).prop_map(|bytes| frame(0x82, &bytes)),
        4 => (text(), text(), bytes(20)).prop_map(|(one, two, ping)| {
            [frame(0x01, &one), frame(0x89, &ping), frame(0x00, b""), frame(0x80, &two)].concat()
        }),
        3 => bytes(125).prop_map(|bytes| frame(0x89, &bytes)),
        2 => bytes(125).prop_map(|bytes| frame(0x8a, &bytes)),
        1 => (prop_oneof![Just(1000_u16), Just(1005), 900..5100_u16], ".{0,30}").prop_map(
            |(code, reason)| frame(0x88, &[&code.to_be_bytes(), reason.as_bytes()].concat())
        ),
        1 => Just(frame(0x88, b"")),
        1 => (any::<u8>(), bytes(130)).prop_map(|(first, bytes)| frame(first, &bytes)),
        1 => (LIMIT - 1..LIMIT + 2).prop_map(|len| frame(0x82, &vec![0; len])),
        1 => (LIMIT / 2 - 1..LIMIT / 2 + 2)
            .prop_map(|len| [frame(0x02, &vec![0; len]), frame(0x80, &vec![0; len])].concat()),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_read_and_refuse_the_same(
        pieces in proptest::collection::vec(piece(), 0..8),
        cuts in proptest::collection::vec(1..80_usize, 0..40),
        lost in 0..10_usize,
    ) {
        let mut bytes = pieces.concat();
        bytes.truncate(bytes.len() - lost.min(bytes.len()));
        let (mut ours, theirs) = (ours(&bytes, &cuts), theirs(&bytes));
        if lost > 0 && ours.len() > theirs.len() {
            // Ours refuses a frame by its beginning, theirs when all of it is there.
            prop_assert_eq!(ours.pop(), Some(Item::Refused));
        }
        prop_assert_eq!(ours, theirs);
    }
}
