//! The comparison of the frame decoder with tungstenite's: both find the same messages, control
//! frames and close codes in a client's bytes, and reject the same bytes at the same frame with
//! the same code. The fuzz target `decoder_tungstenite` includes this file, too.
//!
//! Two differences are intended. Tungstenite accepts lengths that are not in their shortest form,
//! which RFC 6455 section 5.2 does not allow, and refuses close code 1014, which was registered
//! after it.

use std::io::{Cursor, Read, Write};

use echogate_proto::ws::{Decoder, Event, MessageType, OpCode, Violation};
use tokio_tungstenite::tungstenite::{
    Error, Message, WebSocket,
    error::ProtocolError,
    protocol::{Role, WebSocketConfig},
};

/// The limit on a message in bytes, for both.
pub(crate) const LIMIT: usize = 5_000;

/// One result of reading a client's bytes.
#[derive(Debug, PartialEq)]
enum Item {
    Message(MessageType, Vec<u8>),
    Ping(Vec<u8>),
    Pong(Vec<u8>),
    /// A Close frame. Nothing follows it.
    Close(Option<u16>, String),
    /// A violation, with the code of the Close that answers it. Nothing follows it.
    Refused(u16),
}

/// Compares both decoders on `bytes`, which echogate's decoder gets in pieces of the sizes `cuts`.
pub(crate) fn compare(bytes: &[u8], cuts: &[usize]) {
    let ((mut ours, violation), mut theirs) = (ours(bytes, cuts), theirs(bytes));
    let refused = |items: &[Item]| match items.last() {
        Some(Item::Refused(code)) => Some(*code),
        _ => None,
    };
    if matches!(violation, Some(Violation::BadLength | Violation::LongControl)) {
        ours.pop();
        theirs.truncate(ours.len());
    } else if let Some(Item::Close(Some(1014), _)) = ours.last() {
        ours.pop();
        theirs.pop();
    } else if refused(&ours).is_some() && ours.len() == theirs.len() + 1 {
        // echogate rejects a frame by its header, tungstenite when the frame is complete.
        ours.pop();
    } else if let (Some(1002), Some(1007 | 1009)) | (Some(1007), Some(1009)) =
        (refused(&ours), refused(&theirs))
    {
        // Each decoder may report another of two violations in one frame.
        ours.pop();
        theirs.pop();
    }
    assert_eq!(ours, theirs, "{violation:?}");
}

fn ours(bytes: &[u8], cuts: &[usize]) -> (Vec<Item>, Option<Violation>) {
    let mut decoder = Decoder::new(LIMIT as u64);
    let (mut items, mut message_type, mut message) = (Vec::new(), MessageType::Binary, Vec::new());
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
                    let message_type = if text { MessageType::Text } else { MessageType::Binary };
                    items.push(Item::Message(message_type, buf[range].to_vec()));
                }
                Ok(Some(Event::Frame { opcode, .. })) => match opcode {
                    OpCode::Text => message_type = MessageType::Text,
                    OpCode::Binary => message_type = MessageType::Binary,
                    _ => {}
                },
                Ok(Some(Event::Payload { range, ends_message })) => {
                    message.extend_from_slice(&buf[range]);
                    if ends_message {
                        items.push(Item::Message(message_type, std::mem::take(&mut message)));
                    }
                }
                Ok(Some(Event::Ping)) => items.push(Item::Ping(decoder.control_payload().into())),
                Ok(Some(Event::Pong)) => items.push(Item::Pong(decoder.control_payload().into())),
                Ok(Some(Event::Close(code))) => {
                    let reason = String::from_utf8(decoder.control_payload().into()).unwrap();
                    items.push(Item::Close(Some(code.0).filter(|code| *code != 1005), reason));
                    return (items, None);
                }
                Err(violation) => {
                    items.push(Item::Refused(violation.close_code().0));
                    return (items, Some(violation));
                }
            }
        }
    }
    (items, None)
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
    let config = WebSocketConfig::default()
        .max_message_size(Some(LIMIT))
        .max_frame_size(Some(LIMIT))
        .read_buffer_size(1024);
    let stream = Sent(Cursor::new(bytes.to_vec()));
    let mut server = WebSocket::from_raw_socket(stream, Role::Server, Some(config));
    let mut items = Vec::new();
    loop {
        items.push(match server.read() {
            Ok(Message::Text(text)) => Item::Message(MessageType::Text, text.as_bytes().to_vec()),
            Ok(Message::Binary(bytes)) => Item::Message(MessageType::Binary, bytes.to_vec()),
            Ok(Message::Ping(payload)) => Item::Ping(payload.to_vec()),
            Ok(Message::Pong(payload)) => Item::Pong(payload.to_vec()),
            Ok(Message::Close(close)) => {
                let code = close.as_ref().map(|close| u16::from(close.code));
                let reason = close.map(|close| close.reason.to_string()).unwrap_or_default();
                // Tungstenite reports this code in place of one that may not be sent.
                let refused = code == Some(1002) && reason == "Protocol violation";
                items.push(if refused { Item::Refused(1002) } else { Item::Close(code, reason) });
                return items;
            }
            Ok(Message::Frame(_)) => unreachable!("it is never read"),
            Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => return items,
            Err(error) => {
                items.push(Item::Refused(match error {
                    Error::Utf8(_) => 1007,
                    Error::Capacity(_) => 1009,
                    _ => 1002,
                }));
                return items;
            }
        });
    }
}
