//! The last events of a slow connection, for a later observer: a user who types in `nc` and then
//! opens the page sees what was typed. A busy connection loses its history, and with it the cost of
//! copying each event.

use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};

use bytes::Bytes;
use echogate_proto::{
    recording::{Side, TapPoint},
    ws::scanner::FrameScanner,
};

use super::{TapPoints, histories::HistoryMemory, sink::OVERHEAD};
use crate::recording::wire::{WireEvent, WireRecord};

/// The maximum number of payload bytes in a history.
const MAX_BYTES: usize = 8 * 1024;

/// The maximum number of events in a history.
const MAX_EVENTS: usize = 256;

/// The time in which a connection with a history may have [`MAX_EVENTS`] events and [`MAX_CARRIED`]
/// bytes, which is more than a user types.
const WINDOW: Duration = Duration::from_secs(5);

/// The bytes that a connection with a history may carry within a [`WINDOW`], on both of its sides
/// together.
const MAX_CARRIED: usize = 256 * 1024;

/// The last events of a connection.
#[derive(Debug)]
pub(super) struct History {
    records: VecDeque<WireRecord>,
    bytes: usize,
    window: Window,
    framed: TapPoints,
    /// The positions in front of the first event, once an event with frames was removed.
    scanners: Option<Box<[FrameScanner; 4]>>,
    /// The bytes in front of the first event, by side.
    evicted: [u64; 2],
    memory: HistoryMemory,
}

/// The events and bytes of a connection since the start of a [`WINDOW`].
#[derive(Debug)]
struct Window {
    start: Instant,
    events: usize,
    carried: usize,
}

impl Window {
    /// Counts an event. False if there were too many, or too many bytes.
    fn count(&mut self, at: Instant, bytes: usize) -> bool {
        if at.saturating_duration_since(self.start) >= WINDOW {
            *self = Window { start: at, events: 0, carried: 0 };
        }
        self.events += 1;
        self.carried += bytes;
        self.events <= MAX_EVENTS && self.carried <= MAX_CARRIED
    }
}

impl History {
    /// A history without events, which begins at `start`. The directions of `framed` have frames.
    pub(super) fn new(framed: TapPoints, start: Instant, memory: HistoryMemory) -> History {
        History {
            records: VecDeque::new(),
            bytes: 0,
            window: Window { start, events: 0, carried: 0 },
            framed,
            scanners: None,
            evicted: [0; 2],
            memory,
        }
    }

    /// Adds an event; `at` is a time of the monotonic clock. False if the connection is so busy
    /// that its history must be dropped.
    pub(super) fn push(&mut self, record: WireRecord, at: Instant) -> bool {
        let len = payload(&record.event).map_or(0, |(_, bytes)| bytes.len());
        if !self.window.count(at, len) {
            return false;
        }
        self.bytes += len;
        self.records.push_back(record);
        while self.bytes > MAX_BYTES || self.records.len() > MAX_EVENTS {
            self.evict();
        }
        self.memory.changed(at, self.bytes + self.records.len() * OVERHEAD);
        true
    }

    /// Removes the oldest event, or, if there is only one, the excess bytes at its beginning.
    fn evict(&mut self) {
        let Some(mut record) = self.records.pop_front() else { return };
        let Some((point, bytes)) = payload(&record.event) else { return };
        let (point, bytes) = (*point, bytes.clone());
        let is_stream = matches!(record.event, WireEvent::Bytes(..));
        let too_many = match self.records.is_empty() && is_stream {
            true => self.bytes - MAX_BYTES,
            false => bytes.len(),
        };
        self.bytes -= too_many;
        self.evicted[point.side as usize] += too_many as u64;
        if self.framed.contains(point) {
            let scanners = self.scanners.get_or_insert_default();
            scanners[point.index()].skip(&bytes[..too_many]);
        }
        if too_many < bytes.len() {
            // A copy, since a slice would keep the whole buffer in memory.
            let rest = Bytes::copy_from_slice(&bytes[too_many..]);
            record.event = WireEvent::Bytes(point, rest);
            self.records.push_front(record);
        }
    }

    /// The bytes in front of the first event on a side.
    pub(super) fn bytes_before(&self, side: Side) -> u64 {
        self.evicted[side as usize]
    }

    /// The events, oldest first.
    pub(super) fn records(&self) -> impl Iterator<Item = &WireRecord> {
        self.records.iter()
    }

    /// The position in front of the first event of a direction, unless that is the beginning of a
    /// frame.
    pub(super) fn position(&self, point: TapPoint) -> Option<FrameScanner> {
        let scanner = &self.scanners.as_ref()?[point.index()];
        (!scanner.is_at_boundary()).then(|| scanner.clone())
    }
}

/// The payload of an event.
pub(super) fn payload(event: &WireEvent) -> Option<(&TapPoint, &Bytes)> {
    match event {
        WireEvent::Bytes(point, bytes) | WireEvent::Datagram(point, bytes) => Some((point, bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::ws::{OpCode, frame::masked_frame};

    use super::*;
    use crate::connections::tap::{Histories, input, output};

    fn history(framed: TapPoints) -> (History, Instant) {
        let start = Instant::now();
        (History::new(framed, start, Histories::default().begin(1, start, 0)), start)
    }

    fn record(point: TapPoint, bytes: Vec<u8>) -> WireRecord {
        WireRecord { time: 1, connection: 1, event: WireEvent::Bytes(point, Bytes::from(bytes)) }
    }

    #[test]
    fn the_oldest_bytes_go_and_the_position_behind_them_is_known() {
        let mut framed = TapPoints::default();
        framed.insert(input(Side::Client));
        framed.insert(output(Side::Client));
        let (mut history, start) = history(framed);
        let push = |history: &mut History, record| history.push(record, start);
        let point = input(Side::Client);
        let frame = masked_frame(OpCode::Binary, &[7; 5000], [1, 2, 3, 4]);
        assert!(push(&mut history, record(point, frame[..3000].to_vec())));
        assert!(push(&mut history, record(output(Side::Client), b"answer".to_vec())));
        assert!(history.position(point).is_none(), "nothing is missing");
        assert!(push(&mut history, record(point, frame[3000..].to_vec())));
        assert!(push(&mut history, record(point, frame.clone())));
        assert_eq!(history.bytes_before(Side::Client), 3000);
        assert!(history.position(point).is_some(), "a part of a frame is missing");
        assert!(push(&mut history, record(point, frame.clone())));
        assert_eq!(history.bytes_before(Side::Client), 6 + 2 * frame.len() as u64);
        assert!(history.position(point).is_none(), "whole frames are missing");
        assert_eq!(history.records().count(), 1);

        assert!(push(&mut history, record(point, vec![0; 10_000])));
        assert_eq!(history.bytes, MAX_BYTES, "the end of a long event is kept");
    }

    #[test]
    fn the_history_of_a_busy_connection_goes_and_that_of_a_slow_one_stays() {
        for (interval, length, kept) in [
            (Duration::ZERO, 1, Some(MAX_EVENTS)),
            (Duration::ZERO, 64 * 1024, Some(4)),
            (WINDOW / 200, 1, None),
            (WINDOW / 20, 8 * 1024, None),
            (WINDOW * 100, 1024 * 1024, Some(0)),
        ] {
            let (mut history, start) = history(TapPoints::default());
            // The time of the records, which a step of the clock changes, does not matter.
            let pushed = (0..1000).take_while(|index| {
                let record = record(input(Side::Client), vec![0; length]);
                history.push(record, start + interval * *index)
            });
            assert_eq!(pushed.count(), kept.unwrap_or(1000), "{length} bytes each {interval:?}");
        }
    }
}
