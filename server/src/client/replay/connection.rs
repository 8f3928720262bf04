//! The events of a connection that is being replayed, and the progress of its peer.

use std::{
    cell::{Cell, RefCell},
    collections::VecDeque,
    mem,
    sync::Arc,
};

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Direction, Opened, Side, TapPoint},
    ws::OpCode,
};
use tokio::sync::Notify;

use super::script::Progress;
use crate::{
    client::recording_file::FileWriter,
    recording::{
        decode::{FrameDirection, Part, RecordDecoder},
        model::{RecordedConnection, Traffic},
        read::Builder,
        wire::{WireEvent, WireRecord, now},
    },
};

/// A connection that is being replayed, with its events so far.
#[derive(Debug)]
pub(super) struct ReplayedConnection {
    number: u64,
    /// The direction in which this program sends.
    own: Direction,
    traffic: Traffic,
    /// The events so far, if they are to be compared.
    records: Option<RefCell<Vec<WireRecord>>>,
    /// The file of `--record`.
    output: Option<Arc<FileWriter>>,
    /// The progress of the peer.
    progress: Cell<Progress>,
    /// Whether the connection has ended, so that nothing more will be received.
    has_ended: Cell<bool>,
    /// Whether the peer has reset the connection.
    is_reset: Cell<bool>,
    frames: RefCell<Frames>,
    /// Notified when the peer has sent something or has ended.
    pub(super) changed: Notify,
}

/// The frames that the peer has sent.
#[derive(Debug, Default)]
struct Frames {
    direction: FrameDirection,
    /// The payloads of Pings that have not been answered.
    pings: VecDeque<Vec<u8>>,
    /// The payload of the Close.
    close: Option<Vec<u8>>,
}

impl ReplayedConnection {
    /// A connection that begins now. `opened` gets the kind that `traffic` implies.
    pub(super) fn new(
        number: u64,
        own: Direction,
        traffic: Traffic,
        opened: Opened,
        is_compared: bool,
        output: Option<Arc<FileWriter>>,
    ) -> ReplayedConnection {
        let kind = match traffic {
            Traffic::Bytes => Kind::Tcp,
            Traffic::Messages => Kind::WebSocket,
            Traffic::Datagrams => Kind::Udp,
        };
        let client_has_frames = traffic == Traffic::Messages;
        let opened = Opened { kind: Some(kind), client_has_frames, ..opened };
        let connection = ReplayedConnection {
            number,
            own,
            traffic,
            records: is_compared.then(RefCell::default),
            output,
            progress: Cell::default(),
            has_ended: Cell::new(false),
            is_reset: Cell::new(false),
            frames: RefCell::default(),
            changed: Notify::new(),
        };
        connection.add(WireEvent::Opened(opened.into()));
        connection
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.traffic
    }

    /// The progress of the peer.
    pub(super) fn progress(&self) -> Progress {
        self.progress.get()
    }

    pub(super) fn has_ended(&self) -> bool {
        self.has_ended.get()
    }

    pub(super) fn is_reset(&self) -> bool {
        self.is_reset.get()
    }

    /// Records bytes that were sent.
    pub(super) fn sent(&self, bytes: Bytes) {
        self.add(self.payload(self.own, bytes));
    }

    /// Records the end of this program's direction.
    pub(super) fn ended(&self, is_reset: bool) {
        self.add(end(self.own, is_reset));
    }

    /// Records bytes of the peer.
    pub(super) fn received(&self, bytes: Bytes) {
        let mut progress = self.progress.get();
        match self.traffic {
            Traffic::Bytes => progress.units += bytes.len() as u64,
            Traffic::Datagrams => progress.units += 1,
            Traffic::Messages => self.frames.borrow_mut().decode(bytes.clone(), &mut progress),
        }
        self.progress.set(progress);
        self.add(self.payload(opposite(self.own), bytes));
        self.changed.notify_one();
    }

    /// Records that the peer has ended the connection or its direction.
    pub(super) fn peer_ended(&self, is_reset: bool) {
        self.progress.set(Progress { has_ended: true, ..self.progress.get() });
        self.has_ended.set(true);
        self.is_reset.set(is_reset);
        self.add(end(opposite(self.own), is_reset));
        self.changed.notify_one();
    }

    /// Takes the payload of the next Ping to answer.
    pub(super) fn next_ping(&self) -> Option<Vec<u8>> {
        self.frames.borrow_mut().pings.pop_front()
    }

    /// The payload of the peer's Close.
    pub(super) fn close(&self) -> Option<Vec<u8>> {
        self.frames.borrow().close.clone()
    }

    /// Records the end of the connection, and takes all events. There are none unless they are to
    /// be compared.
    pub(super) fn take(&self) -> Vec<WireRecord> {
        self.add(WireEvent::Closed("replayed".into()));
        self.records
            .as_ref()
            .map(|records| mem::take(&mut *records.borrow_mut()))
            .unwrap_or_default()
    }

    fn payload(&self, direction: Direction, bytes: Bytes) -> WireEvent {
        let point = TapPoint { side: Side::Client, direction };
        match self.traffic {
            Traffic::Datagrams => WireEvent::Datagram(point, bytes),
            Traffic::Bytes | Traffic::Messages => WireEvent::Bytes(point, bytes),
        }
    }

    fn add(&self, event: WireEvent) {
        let record = WireRecord { time: now(), connection: self.number, event };
        if let Some(output) = &self.output {
            output.add(record.clone());
        }
        if let Some(records) = &self.records {
            records.borrow_mut().push(record);
        }
    }
}

impl Frames {
    /// Decodes the next bytes, and counts the messages that end in them.
    fn decode(&mut self, bytes: Bytes, progress: &mut Progress) {
        let Frames { direction, pings, close } = self;
        direction.decode(bytes, |part| match part {
            Part::Control { opcode: OpCode::Ping, payload, .. } => pings.push_back(payload.into()),
            Part::Control { opcode: OpCode::Close, payload, .. } => {
                *close = Some(payload.into());
                progress.has_ended = true;
            }
            Part::Data { frame: Some(frame), payload, .. } => {
                let ends_frame = frame.offset + payload.len() as u64 == frame.length;
                progress.units += u64::from(frame.fin && ends_frame);
            }
            Part::Control { .. } | Part::Data { .. } => {}
        });
    }
}

fn end(direction: Direction, is_reset: bool) -> WireEvent {
    let point = TapPoint { side: Side::Client, direction };
    if is_reset { WireEvent::Reset(point) } else { WireEvent::EndOfInput(point) }
}

/// The direction of the other end.
pub(super) fn opposite(direction: Direction) -> Direction {
    match direction {
        Direction::ToServer => Direction::ToClient,
        Direction::ToClient => Direction::ToServer,
    }
}

/// The connection that `records` describe. All records must belong to one connection.
pub(super) fn recorded(records: &[WireRecord]) -> RecordedConnection {
    let (mut decoder, mut builder) = (RecordDecoder::default(), Builder::default());
    for record in records {
        decoder.decode(record.clone(), |record| builder.add(record));
    }
    builder.finish().connections.pop().expect("the first record opens the connection")
}
