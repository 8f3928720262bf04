//! The observers of one connection.

use std::sync::Arc;

use bytes::Bytes;
use echogate_proto::{
    recording::{Opened, Place, Side},
    ws::scanner::FrameScanner,
};
use thiserror::Error;

use super::{
    Places, Sides,
    history::{Histories, History, payload},
    input, output,
    sink::Sink,
};
use crate::recording::wire::{self, WireEvent, WireRecord};

/// The observers of a connection at most.
const MAX_SINKS: usize = 8;

/// The reason for which an observer is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub(crate) enum Attach {
    /// The connection has ended.
    #[error("the connection has ended")]
    Ended,
    /// The connection has [`MAX_SINKS`] observers.
    #[error("the connection has {MAX_SINKS} observers already")]
    TooMany,
    /// The queue of the observer is full.
    #[error("too many events wait for the observers of connections: one of them does not read")]
    NoRoom,
}

/// The observers of one connection, and its history.
#[derive(Debug)]
pub(crate) struct Observers {
    connection: u64,
    opened: Opened,
    /// The time at which the observation began.
    since: u64,
    /// The directions in which there are frames.
    framed: Places,
    sinks: Vec<Attached>,
    history: Option<Box<History>>,
    /// The directions that have ended, and the sides that have failed in a direction.
    ended: Places,
    failed: Places,
}

/// An observer of one connection.
#[derive(Debug)]
struct Attached {
    sink: Sink,
    sides: Sides,
    /// The directions in which the position within the frames is not known, because bytes before
    /// were not observed. Their bytes are lost until the relay reports it.
    unknown: Places,
}

impl Observers {
    /// The observers, none so far, of a connection that `opened` describes.
    pub(crate) fn new(connection: u64, opened: Opened) -> Observers {
        let mut framed = Places::default();
        for (side, has_frames) in
            [(Side::Client, opened.client_has_frames), (Side::Upstream, opened.upstream_has_frames)]
        {
            if has_frames {
                framed = framed.union(Places::of_side(side));
            }
        }
        Observers {
            connection,
            opened,
            since: wire::now(),
            framed,
            sinks: Vec::new(),
            history: None,
            ended: Places::default(),
            failed: Places::default(),
        }
    }

    /// Keeps a history from now on, the beginning of the connection, if there may be a further one.
    pub(crate) fn keep_history(&mut self, histories: &Histories) {
        self.history = histories.begin(self.framed).map(Box::new);
    }

    /// Whether nobody observes the connection, and it has no history.
    pub(crate) fn is_empty(&self) -> bool {
        self.sinks.is_empty() && self.history.is_none()
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
    ) -> Result<(), Attach> {
        self.remove_closed();
        if self.sinks.len() >= MAX_SINKS {
            return Err(Attach::TooMany);
        }
        let history = self.history.as_deref();
        let side = if sides == Sides::Upstream { Side::Upstream } else { Side::Client };
        let bytes_before = history.map_or(bytes_before, |history| history.bytes_before(side));
        let opened = Opened { bytes_before, ..self.opened.clone() };
        let heads =
            [&opened.request, &opened.response].map(|head| head.as_ref().map_or(0, String::len));
        let mut first = self.record(WireEvent::Opened(opened.into()));
        if history.is_some() {
            first.time = self.since;
        }
        if !sink.push(first, heads.iter().sum()) {
            return Err(Attach::NoRoom);
        }
        let is_known = history.is_some() || bytes_before == 0;
        let unknown = if is_known { Places::default() } else { self.framed };
        let mut attached = Attached { sink: sink.clone(), sides, unknown };
        if let Some(history) = history {
            for place in
                [Side::Client, Side::Upstream].map(|side| [input(side), output(side)]).concat()
            {
                if let Some(position) = history.position(place) {
                    let record = self.record(WireEvent::Position(place, position.into()));
                    attached.push(place, record, 0, self.framed);
                }
            }
            for record in history.records() {
                let bytes = payload(&record.event).map_or(0, |(_, bytes)| bytes.len());
                if let Some(place) = place(&record.event) {
                    attached.push(place, record.clone(), bytes, self.framed);
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

    /// Event: `len` bytes of a stream, or a datagram, passed. They are copied only if there is room
    /// for them.
    pub(crate) fn passed(
        &mut self,
        place: Place,
        len: usize,
        is_datagram: bool,
        copy: impl FnOnce() -> Bytes,
    ) {
        let has_room = |attached: &Attached| {
            attached.sides.contains(place.side)
                && !attached.unknown.contains(place)
                && attached.sink.has_room(len)
        };
        if self.history.is_some() || self.sinks.iter().any(has_room) {
            let event = if is_datagram { WireEvent::Datagram } else { WireEvent::Bytes };
            self.emit(place, event(place, copy()), len);
        } else {
            self.emit_lost(place, len);
        }
    }

    /// Event: a direction ended, reported once.
    pub(crate) fn ended(&mut self, place: Place) {
        if !self.failed.contains(place) && self.ended.insert(place) {
            self.emit(place, WireEvent::EndOfInput(place), 0);
        }
    }

    /// Event: a side failed or is reset, reported once for each direction, and not behind the ends
    /// of both.
    pub(crate) fn failed(&mut self, place: Place) {
        let both = [input(place.side), output(place.side)];
        let has_ended = both.iter().all(|place| self.ended.contains(*place));
        if !has_ended && self.failed.insert(place) {
            self.emit(place, WireEvent::Reset(place), 0);
        }
    }

    /// Event: the next bytes in a direction are at a known position within the frames.
    pub(crate) fn is_at(&mut self, place: Place, scanner: impl FnOnce() -> FrameScanner) {
        let is_unknown =
            |attached: &Attached| attached.unknown.contains(place) && attached.sink.has_room(0);
        if !self.sinks.iter().any(is_unknown) {
            return;
        }
        let record = self.record(WireEvent::Position(place, scanner().into()));
        for attached in self.sinks.iter_mut().filter(|attached| is_unknown(attached)) {
            attached.unknown.remove(place);
            attached.push(place, record.clone(), 0, self.framed);
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

    fn emit(&mut self, place: Place, event: WireEvent, bytes: usize) {
        let record = self.record(event);
        let mut is_any_closed = false;
        for attached in &mut self.sinks {
            let is_taken = attached.push(place, record.clone(), bytes, self.framed);
            is_any_closed |= !is_taken && attached.sink.is_closed();
        }
        if is_any_closed {
            self.remove_closed();
        }
        if let Some(history) = &mut self.history
            && !history.push(record)
        {
            self.history = None;
        }
    }

    fn emit_lost(&mut self, place: Place, bytes: usize) {
        let connection = self.connection;
        for attached in &mut self.sinks {
            attached.lose(connection, place, bytes, self.framed);
        }
        self.remove_closed();
    }
}

impl Attached {
    /// Queues an event if its side is observed; false if it is lost.
    fn push(&mut self, place: Place, record: WireRecord, bytes: usize, framed: Places) -> bool {
        if !self.sides.contains(place.side) {
            return true;
        }
        if bytes > 0 && self.unknown.contains(place) {
            self.lose(record.connection, place, bytes, framed);
            return false;
        }
        let is_taken = self.sink.push(record, bytes);
        if !is_taken && framed.contains(place) {
            self.unknown.insert(place);
        }
        is_taken
    }

    fn lose(&mut self, connection: u64, place: Place, bytes: usize, framed: Places) {
        if self.sides.contains(place.side) {
            self.sink.lose(connection, bytes);
            if framed.contains(place) {
                self.unknown.insert(place);
            }
        }
    }
}

/// The side and direction of an event, if it has one.
fn place(event: &WireEvent) -> Option<Place> {
    match event {
        WireEvent::Bytes(place, _)
        | WireEvent::Datagram(place, _)
        | WireEvent::Position(place, _)
        | WireEvent::EndOfInput(place)
        | WireEvent::Reset(place) => Some(*place),
        WireEvent::Opened(_) | WireEvent::Lost(_) | WireEvent::Closed(_) => None,
    }
}
