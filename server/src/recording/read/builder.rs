//! The builder of connections with whole messages from records.

use std::collections::HashMap;

use bytes::Bytes;
use echogate_proto::{
    api::Kind,
    recording::{Data, DataKind, Event, Lost, Opened, Payload, Record, Side, TapPoint},
};

use crate::recording::{
    earlier_bytes, head, lost, missing_connections,
    model::{Action, RecordedConnection, Recording, TimedEvent, Traffic},
};

/// The connections of the records so far.
#[derive(Debug, Default)]
pub(crate) struct Builder {
    /// The index of each connection.
    indices: HashMap<u64, usize>,
    connections: Vec<Pending>,
    /// The losses of connections of which no event was recorded.
    missing: Lost,
    warnings: Vec<String>,
}

/// A connection whose last record may not have been read.
#[derive(Debug, Default)]
struct Pending {
    opened: Opened,
    /// The time of the first record, in nanoseconds since 1970.
    start: Option<u64>,
    sides: [PendingSide; 2],
    /// The sum of all losses.
    lost: Lost,
    defects: Vec<String>,
    refusal: Option<String>,
}

#[derive(Debug, Default)]
struct PendingSide {
    events: Vec<TimedEvent>,
    /// The messages of each direction that have arrived in part.
    partial: [Option<PartialMessage>; 2],
}

#[derive(Debug)]
struct PartialMessage {
    is_text: bool,
    payload: Vec<u8>,
}

impl Builder {
    /// Adds the next record.
    pub(crate) fn add(&mut self, record: Record) {
        let Record { time, connection, event } = record;
        let time = (time.max(0.0) * 1e9) as u64;
        if let (0, Event::Lost(lost)) = (connection, &event) {
            self.missing += *lost;
            return;
        }
        let pending = self.connection(connection);
        // The connection may be known by a defect that was added before its first record.
        let is_new = pending.start.is_none();
        pending.start.get_or_insert(time);
        match event {
            Event::Opened(opened) if is_new => pending.opened = *opened,
            // The connection continues from another file.
            Event::Opened(_) => {}
            Event::Data(data) => pending.data(time, data),
            Event::Ping(ping) => pending.push(time, ping.point, Action::Ping(bytes(ping.payload))),
            Event::Pong(pong) => pending.push(time, pong.point, Action::Pong(bytes(pong.payload))),
            Event::Close(close) => {
                let action = Action::Close { code: close.code, reason: close.reason };
                pending.push(time, close.point, action);
            }
            Event::EndOfInput(point) => pending.push(time, point, Action::End),
            Event::Reset(point) => pending.push(time, point, Action::Reset),
            Event::Lost(lost) => pending.lost += lost,
            Event::Closed { .. } => {}
        }
    }

    /// Whether there is no connection so far.
    pub(super) fn is_empty(&self) -> bool {
        self.connections.is_empty()
    }

    /// Adds a warning about missing data that belongs to no known connection.
    pub(super) fn warn(&mut self, text: String) {
        self.warnings.push(text);
    }

    /// Adds a description of missing data of a connection.
    pub(super) fn add_defect(&mut self, connection: u64, text: String) {
        self.connection(connection).defects.push(text);
    }

    /// Sets the reason why a connection cannot be replayed, unless it has one.
    pub(super) fn refuse(&mut self, connection: u64, text: String) {
        self.connection(connection).refusal.get_or_insert(text);
    }

    /// The recording of all records.
    pub(crate) fn finish(mut self) -> Recording {
        let all = self.connections.len();
        self.connections.retain(Pending::has_more_than_losses);
        self.missing += Lost { events: (all - self.connections.len()) as u64, bytes: 0 };
        if self.missing.events > 0 {
            self.warnings.push(missing_connections(self.missing.events));
        }
        let mut connections: Vec<_> = self.connections.into_iter().map(Pending::finish).collect();
        connections.sort_by_key(|connection| connection.start);
        for (number, connection) in (1..).zip(&mut connections) {
            connection.number = number;
        }
        Recording { connections, warnings: self.warnings }
    }

    fn connection(&mut self, connection: u64) -> &mut Pending {
        let index = *self.indices.entry(connection).or_insert(self.connections.len());
        if index == self.connections.len() {
            self.connections.push(Pending::default());
        }
        &mut self.connections[index]
    }
}

impl Pending {
    /// Whether the recording has more of the connection than losses and its end. It does not if the
    /// file with the first event could not be written.
    fn has_more_than_losses(&self) -> bool {
        let is_empty =
            |side: &PendingSide| side.events.is_empty() && side.partial.iter().all(Option::is_none);
        self.opened != Opened::default()
            || !self.sides.iter().all(is_empty)
            || !self.defects.is_empty()
            || self.refusal.is_some()
    }

    fn push(&mut self, time: u64, point: TapPoint, action: Action) {
        let TapPoint { side, direction } = point;
        self.sides[side as usize].events.push(TimedEvent { time, direction, action });
    }

    fn data(&mut self, time: u64, data: Data) {
        let Data { point, kind, frame, payload } = data;
        let payload = bytes(payload);
        match kind {
            DataKind::Bytes => return self.push(time, point, Action::Bytes(payload)),
            DataKind::Datagram => return self.push(time, point, Action::Datagram(payload)),
            DataKind::Unknown => return self.refuse("it has frames that RFC 6455 does not define"),
            DataKind::Text | DataKind::Binary | DataKind::Continuation => {}
        }
        if frame.is_some_and(|frame| frame.rsv != 0) {
            self.refuse("it has frames with reserved bits, as of compression");
        }
        let partial = &mut self.sides[point.side as usize].partial[point.direction as usize];
        let begins = kind != DataKind::Continuation && frame.is_none_or(|frame| frame.offset == 0);
        let interrupted = begins
            && partial
                .replace(PartialMessage { is_text: kind == DataKind::Text, payload: Vec::new() })
                .is_some();
        let Some(message) = partial else {
            return self.defect("a message begins before the recording");
        };
        message.payload.extend_from_slice(&payload);
        let is_complete = frame.is_none_or(|frame| {
            frame.fin && frame.offset.saturating_add(payload.len() as u64) >= frame.length
        });
        if is_complete && let Some(PartialMessage { is_text, payload }) = partial.take() {
            self.push(time, point, Action::Message { is_text, payload: payload.into() });
        }
        if interrupted {
            self.defect("a message has no end");
        }
    }

    fn refuse(&mut self, text: &str) {
        self.refusal.get_or_insert_with(|| text.to_owned());
    }

    fn defect(&mut self, text: &str) {
        if !self.defects.iter().any(|known| known == text) {
            self.defects.push(text.to_owned());
        }
    }

    fn finish(mut self) -> RecordedConnection {
        if self.opened.bytes_before > 0 {
            self.defects.push(earlier_bytes(self.opened.bytes_before));
        }
        if self.lost.events > 0 {
            self.defects.push(lost(self.lost));
        }
        if let Some(refusal) = self.opened.response.as_deref().and_then(head::refusal) {
            self.refusal.get_or_insert(refusal);
        }
        let is_upstream = self.sides[Side::Client as usize].events.is_empty()
            && !self.sides[Side::Upstream as usize].events.is_empty();
        let side = if is_upstream { Side::Upstream } else { Side::Client };
        let PendingSide { mut events, partial } = std::mem::take(&mut self.sides[side as usize]);
        if partial.iter().any(Option::is_some) {
            self.defect("it ends within a message");
        }
        let traffic = self.traffic(side, &events);
        if traffic == Traffic::Messages {
            // The direction of a WebSocket ends with its Close. The end of the stream that follows
            // is left out: HAR does not have it.
            let mut closed = [false; 2];
            events.retain(|event| {
                let closed = &mut closed[event.direction as usize];
                *closed |= matches!(event.action, Action::Close { .. });
                !(*closed && matches!(event.action, Action::End | Action::Reset))
            });
        }
        let first = events.first().map(|event| event.time);
        let start = self.start.into_iter().chain(first).min().unwrap_or_default();
        let Pending { opened, defects, refusal, .. } = self;
        RecordedConnection { number: 0, opened, start, traffic, events, defects, refusal }
    }

    fn traffic(&self, side: Side, events: &[TimedEvent]) -> Traffic {
        let of_event = events.iter().find_map(|event| match event.action {
            Action::Bytes(_) => Some(Traffic::Bytes),
            Action::Datagram(_) => Some(Traffic::Datagrams),
            Action::Message { .. } | Action::Ping(_) | Action::Pong(_) | Action::Close { .. } => {
                Some(Traffic::Messages)
            }
            Action::End | Action::Reset => None,
        });
        let is_datagrams = matches!(self.opened.kind, Some(Kind::Udp | Kind::UnixGram));
        of_event.unwrap_or(match (self.opened.has_frames(side), is_datagrams) {
            (true, _) => Traffic::Messages,
            (_, true) => Traffic::Datagrams,
            _ => Traffic::Bytes,
        })
    }
}

fn bytes(payload: Payload) -> Bytes {
    match payload {
        Payload::Text(text) => text.into(),
        Payload::Bytes(bytes) => bytes.into(),
    }
}
