//! The events on the receiving half of a connection.

use bytes::Bytes;

/// An event on the receiving half.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) enum Received {
    /// The next bytes of a stream, which has no message boundaries.
    Bytes(Bytes),
    /// A complete message.
    Message(Bytes),
    /// A Pong with its payload.
    Pong(Bytes),
    /// The end of the peer's direction. The end of the connection follows.
    HalfClosed,
    /// The regular end of the connection.
    End(End),
}

/// The regular end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::client) struct End {
    /// The description of the end, for the user.
    pub(in crate::client) description: String,
    /// Whether only the peer's direction has ended, so that the peer may still read.
    pub(in crate::client) may_read: bool,
}
