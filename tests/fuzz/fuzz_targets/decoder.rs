//! Any bytes, in any pieces, give the same events, and the same first violation.

#![no_main]

use echogate_proto::ws::{Decoder, Event, Violation};
use libfuzzer_sys::fuzz_target;

/// The events of all bytes, independent of the pieces.
#[derive(Debug, Default, PartialEq)]
struct Seen {
    payload: Vec<u8>,
    messages: usize,
    control: Vec<(u8, Vec<u8>)>,
    violation: Option<Violation>,
    closed: bool,
}

fn decode(bytes: &[u8], piece: usize) -> Seen {
    let mut seen = Seen::default();
    let mut decoder = Decoder::new(1 << 16);
    for piece in bytes.chunks(piece) {
        let (mut buf, mut at) = (piece.to_vec(), 0);
        loop {
            let event = match decoder.next(&mut buf, &mut at) {
                Err(violation) => {
                    seen.violation = Some(violation);
                    return seen;
                }
                Ok(None) => break,
                Ok(Some(event)) => event,
            };
            let control = decoder.control_payload().to_vec();
            match event {
                Event::Message { range, .. } => {
                    seen.payload.extend_from_slice(&buf[range]);
                    seen.messages += 1;
                }
                Event::Frame { .. } => {}
                Event::Payload { range, ends_message } => {
                    seen.payload.extend_from_slice(&buf[range]);
                    seen.messages += usize::from(ends_message);
                }
                Event::Ping => seen.control.push((9, control)),
                Event::Pong => seen.control.push((10, control)),
                Event::Close(_) => {
                    seen.control.push((8, control));
                    seen.closed = true;
                    return seen;
                }
            }
        }
    }
    seen
}

fuzz_target!(|input: (u8, &[u8])| {
    let (piece, bytes) = input;
    let whole = decode(bytes, usize::MAX);
    let pieces = decode(bytes, usize::from(piece) + 1);
    // The payload delivered before a violation may depend on the pieces.
    assert_eq!(pieces.violation, whole.violation);
    assert_eq!(pieces.control, whole.control);
    assert_eq!(pieces.messages, whole.messages);
    if whole.violation.is_none() {
        assert_eq!(pieces, whole);
    }
});
