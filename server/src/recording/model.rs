//! A recording in memory, to replay and compare: whole messages, bytes and ends.

use bytes::Bytes;
use echogate_proto::recording::{Direction, Opened};

/// The connections of a recording, in the order in which they begin.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recording {
    pub(crate) connections: Vec<RecordedConnection>,
    /// Descriptions of missing data that belongs to no known connection.
    pub(crate) warnings: Vec<String>,
}

/// One side of a recorded connection: the client's if the file has both.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordedConnection {
    /// The number in the order in which connections begin, from 1.
    pub(crate) number: usize,
    pub(crate) opened: Opened,
    /// The time of the first event, in nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) traffic: Traffic,
    /// The events in the order of the file.
    pub(crate) events: Vec<TimedEvent>,
    /// Descriptions of missing data.
    pub(crate) defects: Vec<String>,
    /// The reason why the connection cannot be replayed.
    pub(crate) refusal: Option<String>,
}

/// The kind of data that a connection carries: a byte stream, WebSocket messages, or datagrams.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Traffic {
    Bytes,
    Messages,
    Datagrams,
}

/// An event of a recorded connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct TimedEvent {
    /// The time, in nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) direction: Direction,
    pub(crate) action: Action,
}

/// An action of one end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A part of a byte stream, of any length.
    Bytes(Bytes),
    Datagram(Bytes),
    /// A WebSocket message, joined from its fragments.
    Message {
        is_text: bool,
        payload: Bytes,
    },
    Ping(Bytes),
    Pong(Bytes),
    /// A Close frame.
    Close {
        code: Option<u16>,
        reason: String,
    },
    /// The end of the direction.
    End,
    /// The end of the connection by a reset.
    Reset,
}

impl Action {
    /// The payload that an application has sent.
    pub(crate) fn payload(&self) -> Option<&Bytes> {
        match self {
            Action::Bytes(payload) | Action::Datagram(payload) => Some(payload),
            Action::Message { payload, .. } => Some(payload),
            Action::Ping(_) | Action::Pong(_) => None,
            Action::Close { .. } | Action::End | Action::Reset => None,
        }
    }
}

impl From<Vec<RecordedConnection>> for Recording {
    fn from(connections: Vec<RecordedConnection>) -> Recording {
        Recording { connections, warnings: Vec::new() }
    }
}

impl RecordedConnection {
    /// The events of one direction.
    pub(crate) fn of(&self, direction: Direction) -> impl Iterator<Item = &TimedEvent> {
        self.events.iter().filter(move |event| event.direction == direction)
    }
}
