//! A recording in memory, as it is replayed and compared: whole messages, bytes and ends.

use bytes::Bytes;
use echogate_proto::recording::{Direction, Opened};

/// The connections of a recording, in the order of their beginnings.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Recording {
    pub(crate) connections: Vec<RecordedConnection>,
    /// Descriptions of what is missing, where no connection is known for it.
    pub(crate) warnings: Vec<String>,
}

/// One side of a recorded connection: the client's if both are in the file.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RecordedConnection {
    /// The number in the order of the beginnings, from 1.
    pub(crate) number: usize,
    pub(crate) opened: Opened,
    /// The time of the first event, in nanoseconds since 1970.
    pub(crate) start: u64,
    pub(crate) traffic: Traffic,
    /// In the order of the file.
    pub(crate) events: Vec<TimedEvent>,
    /// The reasons why something is missing here.
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
    /// In nanoseconds since 1970.
    pub(crate) time: u64,
    pub(crate) direction: Direction,
    pub(crate) action: Action,
}

/// Something that one end of a connection did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A part of a byte stream, cut anywhere.
    Bytes(Bytes),
    Datagram(Bytes),
    /// A whole WebSocket message, however it was fragmented.
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
