//! Decodes bytes of connections to events with frames.

use std::collections::HashMap;

use echogate_proto::{
    recording::{
        Close, Control, Data, DataKind, Direction, Event, Frame, Payload, Place, Record, Side,
    },
    ws::{
        OpCode,
        frame::MAX_CONTROL,
        scanner::{FrameScanner, Piece},
    },
};

use super::wire::{WireEvent, WireRecord};

/// A decoder of the events of any number of connections.
#[derive(Debug, Default)]
pub(crate) struct RecordDecoder {
    /// The directions of open connections that have frames.
    frames: HashMap<(u64, Place), FrameDirection>,
}

/// A direction in which frames pass.
#[derive(Debug, Default)]
struct FrameDirection {
    scanner: FrameScanner,
    /// The payload so far of a control frame that has arrived in part.
    control: Vec<u8>,
}

impl RecordDecoder {
    /// Whether there are frames in a direction of a connection.
    pub(crate) fn has_frames(&self, connection: u64, place: Place) -> bool {
        self.frames.contains_key(&(connection, place))
    }

    /// Decodes an event, and calls `emit` with each event that it becomes: none while a frame header
    /// or a control frame is incomplete.
    pub(crate) fn decode(&mut self, record: WireRecord, mut emit: impl FnMut(Record)) {
        let WireRecord { time, connection, event } = record;
        let mut emit = |event| emit(Record { time: time as f64 / 1e9, connection, event });
        match event {
            WireEvent::Opened(opened) => {
                for (side, has_frames) in [
                    (Side::Client, opened.client_has_frames),
                    (Side::Upstream, opened.upstream_has_frames),
                ] {
                    for direction in [Direction::ToServer, Direction::ToClient] {
                        let key = (connection, Place { side, direction });
                        if has_frames {
                            self.frames.insert(key, FrameDirection::default());
                        } else {
                            self.frames.remove(&key);
                        }
                    }
                }
                emit(Event::Opened(Box::new((*opened).clone())));
            }
            WireEvent::Bytes(place, bytes) => match self.frames.get_mut(&(connection, place)) {
                Some(direction) => direction.decode(place, &bytes, emit),
                None => emit(data(place, DataKind::Bytes, None, &bytes)),
            },
            WireEvent::Position(place, scanner) => {
                let direction = FrameDirection { scanner: *scanner, control: Vec::new() };
                self.frames.insert((connection, place), direction);
            }
            WireEvent::Datagram(place, bytes) => {
                emit(data(place, DataKind::Datagram, None, &bytes));
            }
            WireEvent::EndOfInput(place) => emit(Event::EndOfInput(place)),
            WireEvent::Reset(place) => emit(Event::Reset(place)),
            WireEvent::Lost(lost) => emit(Event::Lost(lost)),
            WireEvent::Closed(reason) => {
                self.frames.retain(|(of, _), _| *of != connection);
                emit(Event::Closed { reason: reason.to_string() });
            }
        }
    }
}

impl FrameDirection {
    fn decode(&mut self, place: Place, bytes: &[u8], mut emit: impl FnMut(Event)) {
        let (mut bytes, mut at) = (bytes.to_vec(), 0);
        while let Some(piece) = self.scanner.next(&mut bytes, &mut at) {
            let (payload, ends_frame) = (&bytes[piece.range.clone()], piece.ends_frame());
            match piece.header.opcode() {
                Some(opcode)
                    if opcode.is_control()
                        && piece.header.len <= MAX_CONTROL as u64
                        && !piece.is_rest =>
                {
                    self.control.extend(payload);
                    if ends_frame {
                        emit(control(place, opcode, &self.control));
                        self.control.clear();
                    }
                }
                opcode => {
                    let frame = (!piece.is_rest).then(|| frame(&piece));
                    emit(data(place, kind(opcode), frame, payload));
                }
            }
        }
    }
}

fn data(place: Place, kind: DataKind, frame: Option<Frame>, payload: &[u8]) -> Event {
    Event::Data(Data { place, kind, frame, payload: payload.into() })
}

fn kind(opcode: Option<OpCode>) -> DataKind {
    match opcode {
        Some(OpCode::Text) => DataKind::Text,
        Some(OpCode::Binary) => DataKind::Binary,
        Some(OpCode::Continuation) => DataKind::Continuation,
        _ => DataKind::Unknown,
    }
}

fn frame(piece: &Piece) -> Frame {
    let header = &piece.header;
    Frame {
        fin: header.fin(),
        opcode: header.opcode_bits(),
        rsv: header.rsv(),
        masked: header.key.is_some(),
        length: header.len,
        offset: piece.offset,
    }
}

fn control(place: Place, opcode: OpCode, payload: &[u8]) -> Event {
    let with_payload = || Control { place, payload: Payload::from(payload) };
    match (opcode, payload) {
        (OpCode::Ping, _) => Event::Ping(with_payload()),
        (OpCode::Pong, _) => Event::Pong(with_payload()),
        (_, [high, low, reason @ ..]) => {
            let code = Some(u16::from_be_bytes([*high, *low]));
            let reason = String::from_utf8_lossy(reason).into_owned();
            Event::Close(Close { place, code, reason })
        }
        _ => Event::Close(Close { place, code: None, reason: String::new() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use bytes::Bytes;
    use echogate_proto::{
        close::CloseCode,
        recording::Opened,
        ws::{
            Decoder,
            frame::{close_frame, control_frame, masked_frame},
        },
    };

    use super::*;

    const TO_SERVER: Place = Place { side: Side::Client, direction: Direction::ToServer };

    /// The events after the first of a connection with frames, which `bytes` arrived on.
    fn events(bytes: &[&[u8]]) -> Vec<Event> {
        let mut decoder = RecordDecoder::default();
        let mut events = Vec::new();
        let opened = Opened { client_has_frames: true, ..Opened::default() };
        let wire = [WireEvent::Opened(Arc::new(opened))].into_iter();
        let read = bytes.iter().map(|b| WireEvent::Bytes(TO_SERVER, Bytes::copy_from_slice(b)));
        for event in wire.chain(read) {
            let record = WireRecord { time: 1_500_000_000, connection: 1, event };
            decoder.decode(record, |record| events.push(record.event));
        }
        events.split_off(1)
    }

    #[test]
    fn frames_are_unmasked_and_control_frames_are_whole() {
        let text = masked_frame(OpCode::Text, b"hello", [1, 2, 3, 4]);
        let ping = masked_frame(OpCode::Ping, b"abc", [5, 6, 7, 8]);
        let all = [&text[..], &ping, &close_frame(CloseCode::NORMAL, "bye")].concat();
        let whole = events(&[&all]);
        let frame = Frame { fin: true, opcode: 1, rsv: 0, masked: true, length: 5, offset: 0 };
        assert_eq!(
            whole,
            [
                data(TO_SERVER, DataKind::Text, Some(frame), b"hello"),
                control(TO_SERVER, OpCode::Ping, b"abc"),
                control(TO_SERVER, OpCode::Close, b"\x03\xe8bye"),
            ]
        );
        let single: Vec<&[u8]> = all.chunks(1).collect();
        assert_eq!(events(&single)[5..], whole[1..]);
    }

    /// The scanner of a decoder that has decoded `bytes`.
    fn decoded_scanner(bytes: &[u8]) -> FrameScanner {
        let (mut decoder, mut bytes, mut at) = (Decoder::new(100), bytes.to_vec(), 0);
        while decoder.next(&mut bytes, &mut at).unwrap().is_some() {}
        decoder.scanner()
    }

    #[test]
    fn the_rest_of_a_frame_whose_header_was_not_observed_is_data_without_a_frame() {
        let text = masked_frame(OpCode::Text, b"hello, world", [1, 2, 3, 4]);
        let next = masked_frame(OpCode::Ping, b"abc", [5, 6, 7, 8]);
        let mut scanner = FrameScanner::default();
        scanner.skip(&text[..9]);
        assert!(!scanner.is_at_boundary());
        for (scanner, has_frame) in [(scanner, true), (decoded_scanner(&text[..9]), false)] {
            let mut decoder = RecordDecoder::default();
            let mut events = Vec::new();
            let rest = [&text[9..], &next].concat();
            for event in [
                WireEvent::Position(TO_SERVER, scanner.into()),
                WireEvent::Bytes(TO_SERVER, rest.into()),
            ] {
                let record = WireRecord { time: 1, connection: 1, event };
                decoder.decode(record, |record| events.push(record.event));
            }
            let frame = Frame { fin: true, opcode: 1, rsv: 0, masked: true, length: 12, offset: 3 };
            let frame = has_frame.then_some(frame);
            assert_eq!(
                events,
                [
                    data(TO_SERVER, DataKind::Text, frame, b"lo, world"),
                    control(TO_SERVER, OpCode::Ping, b"abc"),
                ]
            );
        }
    }

    #[test]
    fn an_oversized_control_frame_is_unknown_data() {
        let mut long = control_frame(OpCode::Ping, &[0; 100]);
        long[1] = 126;
        long.splice(2..2, [0, 200]);
        long.extend([0; 100]);
        assert!(matches!(
            &events(&[&long])[..],
            [Event::Data(Data { kind: DataKind::Unknown, .. })]
        ));
    }
}
