//! The decoder from bytes of connections to events with frames.

use std::collections::HashMap;

use bytes::Bytes;
use echogate_proto::{
    recording::{Close, Control, Data, DataKind, Event, Frame, Payload, Record, TapPoint},
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
    frames: HashMap<(u64, TapPoint), FrameDirection>,
}

/// An event whose payload is not copied.
#[derive(Debug)]
pub(super) enum Decoded<'a> {
    /// Bytes that passed.
    Part(TapPoint, Part<'a>),
    /// Any other event.
    Other(Event),
}

/// A piece of the bytes of a direction.
#[derive(Debug)]
pub(crate) enum Part<'a> {
    /// Payload: bytes, a datagram, or a frame or part of one.
    Data { kind: DataKind, frame: Option<Frame>, payload: &'a [u8] },
    /// A whole control frame.
    Control { frame: Frame, opcode: OpCode, payload: &'a [u8] },
}

/// A direction in which frames pass.
#[derive(Debug, Default)]
pub(crate) struct FrameDirection {
    scanner: FrameScanner,
    /// The payload so far of a control frame that has arrived in part.
    control: Vec<u8>,
}

impl RecordDecoder {
    /// Whether there are frames in a direction of a connection.
    pub(crate) fn has_frames(&self, connection: u64, point: TapPoint) -> bool {
        self.frames.contains_key(&(connection, point))
    }

    /// Decodes an event, and calls `emit` with each resulting event. There is none while a frame
    /// header or a control frame is incomplete.
    pub(crate) fn decode(&mut self, record: WireRecord, mut emit: impl FnMut(Record)) {
        let (time, connection) = (record.seconds(), record.connection);
        self.decode_in_place(record, |event| {
            emit(Record { time, connection, event: event.into() });
        });
    }

    /// Decodes an event as [`RecordDecoder::decode`] does, without copying payload.
    pub(super) fn decode_in_place(
        &mut self,
        record: WireRecord,
        mut emit: impl FnMut(Decoded<'_>),
    ) {
        let WireRecord { connection, event, .. } = record;
        match event {
            WireEvent::Opened(opened) => {
                for point in TapPoint::ALL {
                    let key = (connection, point);
                    if opened.has_frames(point.side) {
                        self.frames.insert(key, FrameDirection::default());
                    } else {
                        self.frames.remove(&key);
                    }
                }
                emit(Decoded::Other(Event::Opened(Box::new((*opened).clone()))));
            }
            WireEvent::Bytes(point, bytes) => match self.frames.get_mut(&(connection, point)) {
                Some(direction) => direction.decode(bytes, |part| emit(Decoded::Part(point, part))),
                None => emit(Decoded::Part(point, data(DataKind::Bytes, None, &bytes))),
            },
            WireEvent::Position(point, scanner) => {
                self.frames.insert((connection, point), FrameDirection::at(*scanner));
            }
            WireEvent::Datagram(point, bytes) => {
                emit(Decoded::Part(point, data(DataKind::Datagram, None, &bytes)));
            }
            WireEvent::EndOfInput(point) => emit(Decoded::Other(Event::EndOfInput(point))),
            WireEvent::Reset(point) => emit(Decoded::Other(Event::Reset(point))),
            WireEvent::Lost(lost) => emit(Decoded::Other(Event::Lost(lost))),
            WireEvent::Closed(reason) => {
                self.frames.retain(|(of, _), _| *of != connection);
                emit(Decoded::Other(Event::Closed { reason: reason.to_string() }));
            }
        }
    }
}

impl FrameDirection {
    /// A direction that continues at the position of `scanner`.
    pub(super) fn at(scanner: FrameScanner) -> FrameDirection {
        FrameDirection { scanner, control: Vec::new() }
    }

    /// Calls `emit` with each piece of `bytes`. There is none while a frame header or a control
    /// frame is incomplete.
    pub(crate) fn decode(&mut self, bytes: Bytes, mut emit: impl FnMut(Part<'_>)) {
        let (mut bytes, mut at) = (Vec::from(bytes), 0);
        while let Some(piece) = self.scanner.next(&mut bytes, &mut at) {
            let payload = &bytes[piece.range.clone()];
            match piece.header.opcode() {
                Some(opcode)
                    if opcode.is_control()
                        && piece.header.len <= MAX_CONTROL as u64
                        && !piece.is_rest =>
                {
                    self.control.extend(payload);
                    if piece.ends_frame() {
                        let frame = Frame { offset: 0, ..frame(&piece) };
                        emit(Part::Control { frame, opcode, payload: &self.control });
                        self.control.clear();
                    }
                }
                opcode => {
                    let frame = (!piece.is_rest).then(|| frame(&piece));
                    emit(data(kind(opcode), frame, payload));
                }
            }
        }
    }
}

impl From<Decoded<'_>> for Event {
    fn from(decoded: Decoded<'_>) -> Event {
        match decoded {
            Decoded::Part(point, Part::Data { kind, frame, payload }) => {
                Event::Data(Data { point, kind, frame, payload: payload.into() })
            }
            Decoded::Part(point, Part::Control { opcode, payload, .. }) => {
                control(point, opcode, payload)
            }
            Decoded::Other(event) => event,
        }
    }
}

fn data(kind: DataKind, frame: Option<Frame>, payload: &[u8]) -> Part<'_> {
    Part::Data { kind, frame, payload }
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

/// The event of a control frame.
pub(super) fn control(point: TapPoint, opcode: OpCode, payload: &[u8]) -> Event {
    let with_payload = || Control { point, payload: Payload::from(payload) };
    match (opcode, payload) {
        (OpCode::Ping, _) => Event::Ping(with_payload()),
        (OpCode::Pong, _) => Event::Pong(with_payload()),
        (_, [high, low, reason @ ..]) => {
            let code = Some(u16::from_be_bytes([*high, *low]));
            let reason = String::from_utf8_lossy(reason).into_owned();
            Event::Close(Close { point, code, reason })
        }
        _ => Event::Close(Close { point, code: None, reason: String::new() }),
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use echogate_proto::{
        close::CloseCode,
        recording::{Direction, Opened, Side},
        ws::{
            Decoder,
            frame::{close_frame, control_frame, masked_frame},
        },
    };

    use super::*;

    const TO_SERVER: TapPoint = TapPoint { side: Side::Client, direction: Direction::ToServer };

    /// The events of a connection with frames on which `bytes` arrived, without the first event.
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
                Decoded::Part(TO_SERVER, data(DataKind::Text, Some(frame), b"hello")).into(),
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
                    Decoded::Part(TO_SERVER, data(DataKind::Text, frame, b"lo, world")).into(),
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
