//! The positions of connections that are being recorded, with which a further file continues them.

use std::{collections::BTreeMap, hint::black_box, sync::Arc};

use echogate_proto::{
    recording::{Opened, TapPoint},
    ws::scanner::FrameScanner,
};

use super::wire::{WireEvent, WireRecord};

/// The positions of the open connections.
#[derive(Debug, Default)]
pub(crate) struct Positions(BTreeMap<u64, Position>);

/// The position of a connection.
#[derive(Debug)]
struct Position {
    opened: Arc<Opened>,
    /// The bytes so far, lost ones included.
    bytes: u64,
    /// The positions within the frames, in the order of [`TapPoint::ALL`].
    frames: [FrameScanner; 4],
    /// The number of the file that has the latest event.
    file: u64,
}

impl Positions {
    /// Calls `emit` with the events to write to the file with the number `file` for `record`. If
    /// the earlier events of the connection are in another file, the first ones are `Opened`, and a
    /// `Position` for each direction that is within a frame.
    pub(crate) fn pass(&mut self, file: u64, record: WireRecord, mut emit: impl FnMut(WireRecord)) {
        let WireRecord { time, connection, ref event } = record;
        match event {
            WireEvent::Opened(opened) => {
                let (opened, frames) = (opened.clone(), Default::default());
                let position = Position { bytes: opened.bytes_before, opened, frames, file };
                self.0.insert(connection, position);
            }
            event => {
                // A connection whose `Opened` found the queue full has nothing but losses.
                let Some(position) = self.0.get_mut(&connection) else { return emit(record) };
                if position.file != file {
                    position.file = file;
                    position
                        .resume()
                        .for_each(|event| emit(WireRecord { time, connection, event }));
                }
                match event {
                    WireEvent::Bytes(point, bytes) => position.bytes(*point, bytes),
                    WireEvent::Position(point, scanner) => {
                        position.frames[point.index()] = (**scanner).clone();
                    }
                    WireEvent::Datagram(_, bytes) => position.bytes += bytes.len() as u64,
                    WireEvent::Lost(lost) => position.bytes += lost.bytes,
                    WireEvent::Closed(_) => drop(self.0.remove(&connection)),
                    _ => {}
                }
            }
        }
        emit(record);
    }
}

impl Position {
    fn bytes(&mut self, point: TapPoint, bytes: &[u8]) {
        self.bytes += bytes.len() as u64;
        if self.opened.has_frames(point.side) {
            load(bytes);
            self.frames[point.index()].skip(bytes);
        }
    }

    /// The first events in a further file.
    fn resume(&self) -> impl Iterator<Item = WireEvent> {
        let opened = Opened { bytes_before: self.bytes, ..(*self.opened).clone() };
        let positions = TapPoint::ALL.into_iter().zip(&self.frames);
        let positions = positions.filter(|(_, scanner)| !scanner.is_at_boundary());
        let positions =
            positions.map(|(point, scanner)| WireEvent::Position(point, scanner.clone().into()));
        [WireEvent::Opened(opened.into())].into_iter().chain(positions)
    }
}

/// Loads `bytes` into the processor's cache. These loads are independent of each other, unlike
/// those of a scan, in which each frame begins where the one before ends.
fn load(bytes: &[u8]) {
    const LINE: usize = 64;
    black_box(bytes.iter().step_by(LINE).fold(0, |sum, byte| sum ^ byte));
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use echogate_proto::ws::{OpCode, frame::masked_frame};
    use proptest::prelude::*;

    use super::*;
    use crate::recording::decode::RecordDecoder;
    use echogate_proto::recording::{Event, Record};

    const TO_SERVER: TapPoint = TapPoint::ALL[0];

    /// The payload bytes in the events that `wire` decodes to.
    fn payload(wire: Vec<WireEvent>) -> Vec<u8> {
        let (mut decoder, mut payload) = (RecordDecoder::default(), Vec::new());
        for event in wire {
            let record = WireRecord { time: 0, connection: 1, event };
            decoder.decode(record, |Record { event, .. }| {
                if let Event::Data(data) = event {
                    payload.extend(data.payload.as_bytes());
                }
            });
        }
        payload
    }

    proptest! {
        #[test]
        fn a_connection_continues_in_a_further_file_with_the_bytes_that_follow(
            lengths in prop::collection::vec(prop_oneof![0_usize..130, 200_usize..300, Just(70_000)], 1..8),
            cut in any::<prop::sample::Index>(),
        ) {
            let messages: Vec<Vec<u8>> = lengths.iter().enumerate()
                .map(|(n, length)| (0..*length).map(|i| (i + n) as u8).collect()).collect();
            let frames = messages.iter().enumerate()
                .map(|(n, message)| masked_frame(OpCode::Binary, message, [n as u8, 2, 3, 4]));
            let bytes: Vec<u8> = frames.flatten().collect();
            let (first, second) = bytes.split_at(cut.index(bytes.len() + 1));
            let opened = Opened { client_has_frames: true, ..Opened::default() };
            let events = [
                (1, WireEvent::Opened(opened.into())),
                (1, WireEvent::Bytes(TO_SERVER, Bytes::copy_from_slice(first))),
                (2, WireEvent::Bytes(TO_SERVER, Bytes::copy_from_slice(second))),
            ];
            let (mut positions, mut files) = (Positions::default(), [Vec::new(), Vec::new()]);
            for (file, event) in events {
                let record = WireRecord { time: 0, connection: 1, event };
                positions.pass(file, record, |record| files[file as usize - 1].push(record.event));
            }
            let WireEvent::Opened(opened) = &files[1][0] else { panic!() };
            prop_assert_eq!(opened.bytes_before, first.len() as u64);
            prop_assert_eq!(files.map(payload).concat(), messages.concat());
        }
    }
}
