//! JSON Lines: one [`Record`] per line.

use data_encoding::HEXLOWER;
use echogate_proto::recording::{DataKind, Direction, Frame, Payload, Record, Side, TapPoint};
use serde::Serialize;

use super::{
    decode::{Decoded, Part, RecordDecoder},
    json,
    wire::WireRecord,
};

/// An encoder of the connections in one file.
#[derive(Debug, Default)]
pub(crate) struct JsonlEncoder {
    decoder: RecordDecoder,
}

/// The members that a line of an [`Event::Data`](echogate_proto::recording::Event::Data) begins
/// with.
#[derive(Debug, Serialize)]
struct Start {
    time: f64,
    connection: u64,
    event: &'static str,
    side: Side,
    direction: Direction,
    kind: DataKind,
}

impl JsonlEncoder {
    /// Appends the lines of an event to `out`.
    pub(crate) fn encode(&mut self, record: WireRecord, out: &mut Vec<u8>) {
        let (time, connection) = (record.seconds(), record.connection);
        // Consecutive frames of one event begin with the same members if their kind is the same.
        let (mut start, mut start_kind) = (Vec::new(), None);
        self.decoder.decode_in_place(record, |event| {
            match event {
                Decoded::Part(point, Part::Data { kind, frame, payload }) => {
                    if start_kind != Some(kind) {
                        start_kind = Some(kind);
                        start.clear();
                        let (event, TapPoint { side, direction }) = ("data", point);
                        let members = Start { time, connection, event, side, direction, kind };
                        json::value(&mut start, &members);
                        // Without the closing brace, since members follow.
                        start.pop();
                    }
                    out.extend_from_slice(&start);
                    if let Some(frame) = frame {
                        member_frame(out, frame);
                    }
                    member_payload(out, payload);
                    out.push(b'}');
                }
                event => json::value(out, &Record { time, connection, event: event.into() }),
            }
            out.push(b'\n');
        });
    }
}

/// Appends the member `frame`, as a [`Frame`] is serialized.
fn member_frame(out: &mut Vec<u8>, frame: Frame) {
    let Frame { fin, opcode, rsv, masked, length, offset } = frame;
    out.extend_from_slice(match fin {
        true => br#","frame":{"fin":true,"opcode":"#,
        false => br#","frame":{"fin":false,"opcode":"#,
    });
    json::value(out, &opcode);
    if rsv != 0 {
        out.extend_from_slice(br#","rsv":"#);
        json::value(out, &rsv);
    }
    out.extend_from_slice(match masked {
        true => br#","masked":true,"length":"#,
        false => br#","length":"#,
    });
    json::value(out, &length);
    if offset != 0 {
        out.extend_from_slice(br#","offset":"#);
        json::value(out, &offset);
    }
    out.push(b'}');
}

/// Appends the member `text` or `hex`, as a [`Payload`] is serialized.
fn member_payload(out: &mut Vec<u8>, payload: &[u8]) {
    let member = out.len();
    out.extend_from_slice(br#","text":"#);
    if json::plain_string(out, payload) {
        return;
    }
    if let Some(text) = Payload::text(payload) {
        return json::value(out, &text);
    }
    out.truncate(member);
    out.extend_from_slice(br#","hex":"#);
    json::encoded_string(out, &HEXLOWER, payload);
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use echogate_proto::{
        recording::Opened,
        ws::{
            OpCode,
            frame::{FrameHeader, control_frame, masked_frame},
        },
    };
    use proptest::prelude::*;

    use super::*;
    use crate::recording::wire::WireEvent;

    /// The lines of a connection, and the serialization of its records.
    fn lines(events: impl Iterator<Item = WireEvent>) -> [String; 2] {
        let (mut encoder, mut decoder) = (JsonlEncoder::default(), RecordDecoder::default());
        let (mut lines, mut expected) = (Vec::new(), String::new());
        for (time, event) in (1_790_000_000_123_456_789..).step_by(1_000_003).zip(events) {
            let record = WireRecord { time, connection: 7, event };
            encoder.encode(record.clone(), &mut lines);
            decoder.decode(record, |record| {
                expected += &(serde_json::to_string(&record).unwrap() + "\n");
            });
        }
        [String::from_utf8(lines).unwrap(), expected]
    }

    proptest! {
        #[test]
        fn lines_are_those_of_records(
            payloads in prop::collection::vec(prop_oneof![
                "[ -~]{0,200}".prop_map(String::into_bytes),
                "\\PC{0,20}[\t\r\n\"\\\\]?".prop_map(String::into_bytes),
                prop::collection::vec(any::<u8>(), 0..300),
            ], 1..5),
            cuts in 1_usize..400,
            is_upstream: bool,
        ) {
            let side = if is_upstream { Side::Upstream } else { Side::Client };
            let [up, down] = [Direction::ToServer, Direction::ToClient]
                .map(|direction| TapPoint { side, direction });
            let opened = Opened {
                client_has_frames: !is_upstream,
                upstream_has_frames: is_upstream,
                ..Opened::default()
            };
            let mut sent = Vec::new();
            for payload in &payloads {
                sent.extend(masked_frame(OpCode::Text, payload, [1, 2, 3, 4]));
                sent.extend(FrameHeader::new(OpCode::Binary, false, payload.len() as u64).as_bytes());
                sent.extend(payload);
                sent.extend(control_frame(OpCode::Ping, &payload[..payload.len().min(125)]));
            }
            let framed = [up, down].into_iter().flat_map(|point| {
                let parts = sent.chunks(cuts).map(Bytes::copy_from_slice);
                parts.map(move |bytes| WireEvent::Bytes(point, bytes)).collect::<Vec<_>>()
            });
            let other = TapPoint { side: if is_upstream { Side::Client } else { Side::Upstream }, ..up };
            let plain = payloads.iter().cloned().map(Bytes::from).flat_map(|payload| {
                [WireEvent::Bytes(other, payload.clone()), WireEvent::Datagram(other, payload)]
            });
            let events = [WireEvent::Opened(opened.into())].into_iter().chain(framed).chain(plain);
            let [lines, expected] = lines(events.chain([WireEvent::Closed("over".into())]));
            prop_assert_eq!(lines, expected);
        }
    }
}
