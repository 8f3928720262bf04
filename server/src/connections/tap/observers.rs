//! The observers of one connection.

use std::{sync::Arc, time::Instant};

use echogate_proto::{
    reason::{self, fill},
    recording::{Opened, Side, TapPoint},
    ws::scanner::FrameScanner,
};
use thiserror::Error;

use super::{
    Histories, Passed, Sides, TapPoints,
    history::{History, payload},
    input, output,
    sink::{OVERHEAD, Sink},
};
use crate::recording::wire::{self, WireEvent, WireRecord};

/// The observers of a connection at most.
const MAX_SINKS: usize = 8;

/// The reason for which an observer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum AttachError {
    /// The connection has ended.
    #[error("{}", reason::OBSERVED_ENDED)]
    Ended,
    /// The connection has [`MAX_SINKS`] observers.
    #[error("{}", fill(reason::OBSERVERS_FULL, &[&MAX_SINKS]))]
    TooMany,
    /// The queue of the observer is full.
    #[error("{}", reason::OBSERVERS_SLOW)]
    NoRoom,
}

/// The observers of one connection, and its history.
#[derive(Debug)]
pub(crate) struct Observers {
    connection: u64,
    opened: Arc<Opened>,
    /// The time at which the observation began.
    since: u64,
    /// The directions in which there are frames.
    framed: TapPoints,
    sinks: Vec<Attached>,
    history: Option<Box<History>>,
    /// The directions that have ended, and the sides that have failed in a direction.
    ended: TapPoints,
    failed: TapPoints,
}

/// An observer of one connection.
#[derive(Debug)]
struct Attached {
    connection: u64,
    sink: Sink,
    sides: Sides,
    /// The directions in which the position within the frames is not known, because bytes before
    /// were not observed. Their bytes are lost until the relay reports it.
    unknown: TapPoints,
}

impl Observers {
    /// The observers, none so far, of a connection that `opened` describes.
    pub(crate) fn new(connection: u64, opened: Opened) -> Observers {
        let mut framed = TapPoints::default();
        for point in TapPoint::ALL.into_iter().filter(|point| opened.has_frames(point.side)) {
            framed.insert(point);
        }
        Observers {
            connection,
            opened: opened.into(),
            since: wire::now(),
            framed,
            sinks: Vec::new(),
            history: None,
            ended: TapPoints::default(),
            failed: TapPoints::default(),
        }
    }

    /// Takes over the observers of a connection of which nothing has passed yet.
    pub(crate) fn adopt(&mut self, earlier: Observers) {
        self.sinks.extend(earlier.sinks);
    }

    /// Keeps a history from now on, the beginning of the connection.
    pub(crate) fn keep_history(&mut self, histories: &Histories) {
        let start = Instant::now();
        let memory = histories.begin(self.connection, start, head_bytes(&self.opened));
        self.history = Some(History::new(self.framed, start, memory).into());
    }

    /// Gives the history up.
    pub(crate) fn give_history_up(&mut self) {
        self.history = None;
    }

    /// Whether a side is observed, or part of a history.
    pub(crate) fn contains(&self, side: Side) -> bool {
        self.history.is_some() || self.sinks.iter().any(|attached| attached.sides.contains(side))
    }

    /// Whether an observer does not know the position within the frames of a direction.
    pub(crate) fn await_position(&self) -> bool {
        self.sinks.iter().any(|attached| attached.unknown != TapPoints::default())
    }

    /// Adds an observer. It is sent the description of the connection, its history, and what
    /// passes from now on. `bytes_before` passed before, if there is no history.
    ///
    /// # Errors
    ///
    /// Too many observers, or no room in the queue.
    pub(crate) fn attach(
        &mut self,
        sink: &Sink,
        sides: Sides,
        bytes_before: u64,
    ) -> Result<(), AttachError> {
        self.remove_closed();
        if self.sinks.len() >= MAX_SINKS {
            return Err(AttachError::TooMany);
        }
        let history = self.history.as_deref();
        let side = if sides == Sides::Upstream { Side::Upstream } else { Side::Client };
        let bytes_before = history.map_or(bytes_before, |history| history.bytes_before(side));
        let opened = match bytes_before {
            0 => self.opened.clone(),
            _ => Arc::new(Opened { bytes_before, ..(*self.opened).clone() }),
        };
        // The last event, which the queue always takes, is counted together with the first.
        let bytes = head_bytes(&opened) + OVERHEAD;
        let mut first = self.record(WireEvent::Opened(opened));
        if history.is_some() {
            first.time = self.since;
        }
        if !sink.push(first, bytes) {
            return Err(AttachError::NoRoom);
        }
        let is_known = history.is_some() || bytes_before == 0;
        let unknown = if is_known { TapPoints::default() } else { self.framed };
        let mut attached =
            Attached { connection: self.connection, sink: sink.clone(), sides, unknown };
        if let Some(history) = history {
            for point in TapPoint::ALL {
                if let Some(position) = history.position(point) {
                    let record = self.record(WireEvent::Position(point, position.into()));
                    attached.push(point, 0, self.framed, || record);
                }
            }
            for record in history.records() {
                let bytes = payload(&record.event).map_or(0, |(_, bytes)| bytes.len());
                if let Some(point) = point(&record.event) {
                    attached.push(point, bytes, self.framed, || record.clone());
                }
            }
        }
        self.sinks.push(attached);
        Ok(())
    }

    /// Removes observers whose queues are closed.
    pub(crate) fn remove_closed(&mut self) {
        self.sinks.retain(|attached| !attached.sink.is_closed());
    }

    /// Event: payload passed. It is copied once, if any queue has room for it.
    pub(crate) fn passed(&mut self, passed: &Passed<'_>) {
        let (time, connection) = (wire::now(), self.connection);
        let record = || WireRecord { time, connection, event: passed.event() };
        self.emit(passed.point, passed.len, record);
    }

    /// Event: a direction ended, reported once.
    pub(crate) fn ended(&mut self, point: TapPoint) {
        if !self.failed.contains(point) && self.ended.insert(point) {
            let record = self.record(WireEvent::EndOfInput(point));
            self.emit(point, 0, || record.clone());
        }
    }

    /// Event: a side failed or is reset, reported once for each direction, and not after the ends
    /// of both.
    pub(crate) fn failed(&mut self, point: TapPoint) {
        let both = [input(point.side), output(point.side)];
        let has_ended = both.iter().all(|point| self.ended.contains(*point));
        if !has_ended && self.failed.insert(point) {
            let record = self.record(WireEvent::Reset(point));
            self.emit(point, 0, || record.clone());
        }
    }

    /// Event: the next bytes in a direction are at a known position within the frames.
    pub(crate) fn is_at(&mut self, point: TapPoint, scanner: impl FnOnce() -> FrameScanner) {
        let is_unknown =
            |attached: &Attached| attached.unknown.contains(point) && attached.sink.has_room(0);
        if !self.sinks.iter().any(is_unknown) {
            return;
        }
        let record = self.record(WireEvent::Position(point, scanner().into()));
        for attached in self.sinks.iter_mut().filter(|attached| is_unknown(attached)) {
            attached.unknown.remove(point);
            attached.push(point, 0, self.framed, || record.clone());
        }
    }

    /// Event: the connection ended.
    pub(crate) fn closed(&mut self, reason: &Arc<str>) {
        let record = self.record(WireEvent::Closed(reason.clone()));
        for attached in self.sinks.drain(..) {
            attached.sink.push_last(record.clone());
        }
        self.history = None;
    }

    fn record(&self, event: WireEvent) -> WireRecord {
        WireRecord { time: wire::now(), connection: self.connection, event }
    }

    /// Queues an event with `bytes` of payload for each observer of its side, and adds it to the
    /// history. All of them share one copy of the payload.
    fn emit(&mut self, point: TapPoint, bytes: usize, record: impl Fn() -> WireRecord) {
        let recipients = self.sinks.len() + usize::from(self.history.is_some());
        let mut shared = None;
        let mut record = || match recipients {
            0 | 1 => record(),
            _ => shared.get_or_insert_with(&record).clone(),
        };
        let mut is_any_closed = false;
        for attached in &mut self.sinks {
            attached.push(point, bytes, self.framed, &mut record);
            is_any_closed |= attached.sink.is_closed();
        }
        if let Some(history) = &mut self.history
            && !history.push(record(), Instant::now())
        {
            self.history = None;
        }
        if is_any_closed {
            self.remove_closed();
        }
    }
}

impl Attached {
    /// Queues an event with `bytes` of payload if its side is observed; otherwise it is lost.
    fn push(
        &mut self,
        point: TapPoint,
        bytes: usize,
        framed: TapPoints,
        record: impl FnOnce() -> WireRecord,
    ) {
        if !self.sides.contains(point.side) {
            return;
        }
        let is_useless = bytes > 0 && self.unknown.contains(point);
        // Without room the payload is not copied.
        let is_taken = if is_useless || !self.sink.has_room(bytes) {
            self.sink.lose(self.connection, bytes);
            false
        } else {
            self.sink.push(record(), bytes)
        };
        if !is_taken && framed.contains(point) {
            self.unknown.insert(point);
        }
    }
}

/// The bytes of the opening handshake in a description.
fn head_bytes(opened: &Opened) -> usize {
    let heads = [&opened.request, &opened.response];
    heads.map(|head| head.as_ref().map_or(0, String::len)).iter().sum()
}

/// The tap point of an event, if it has one.
fn point(event: &WireEvent) -> Option<TapPoint> {
    match event {
        WireEvent::Bytes(point, _)
        | WireEvent::Datagram(point, _)
        | WireEvent::Position(point, _)
        | WireEvent::EndOfInput(point)
        | WireEvent::Reset(point) => Some(*point),
        WireEvent::Opened(_) | WireEvent::Lost(_) | WireEvent::Closed(_) => None,
    }
}
