//! Events of a connection as its sockets show them: bytes with their time, and ends. WebSocket
//! frames are not decoded, and masked as they were sent.

use std::sync::Arc;

use bytes::Bytes;
use echogate_proto::{
    recording::{Lost, Opened, TapPoint},
    ws::scanner::FrameScanner,
};
use nix::time::ClockId;

/// An event with its time and its connection.
#[derive(Clone, Debug)]
pub(crate) struct WireRecord {
    /// The time, in nanoseconds since 1970.
    pub(crate) time: u64,
    /// The ID of the connection.
    pub(crate) connection: u64,
    pub(crate) event: WireEvent,
}

impl WireRecord {
    /// The time, in seconds since 1970.
    pub(super) fn seconds(&self) -> f64 {
        self.time as f64 / 1e9
    }
}

/// Something that happened on a connection.
#[derive(Clone, Debug)]
pub(crate) enum WireEvent {
    /// The first event of a connection.
    Opened(Arc<Opened>),
    /// Bytes of a stream that were read, or that the system accepted for sending.
    Bytes(TapPoint, Bytes),
    /// The scanner with which the frames of a direction continue whose earlier bytes were not
    /// observed.
    Position(TapPoint, Box<FrameScanner>),
    /// A datagram.
    Datagram(TapPoint, Bytes),
    /// The end of one direction.
    EndOfInput(TapPoint),
    /// The end of one side by a reset, or by a failure of the connection.
    Reset(TapPoint),
    /// Events that are missing at this point.
    Lost(Lost),
    /// The last event of a connection, with the reason of its end.
    Closed(Arc<str>),
}

/// The present time, in nanoseconds since 1970.
pub(crate) fn now() -> u64 {
    // SystemTime would add checked 128-bit arithmetic to clock_gettime, for each event.
    let now = ClockId::CLOCK_REALTIME.now();
    let nanoseconds = now.map(|now| now.tv_sec() * 1_000_000_000 + now.tv_nsec());
    nanoseconds.map_or(0, |now| u64::try_from(now).unwrap_or_default())
}
