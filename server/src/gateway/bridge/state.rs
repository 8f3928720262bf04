//! The states of a connection.
//!
//! A connection has six state variables:
//!
//! ```text
//! WsIn          Open ──empty binary message (half-close)──▶ InputEnded
//!                 ├───────────────── Close ─────────────────────┤──▶ Closed
//!                 ├─────────────── violation ───────────────────┤──▶ Violated ──┐
//!                 └─────── FIN, failure, missing Pong ──────────┴───────────────┴──▶ Gone
//!
//! CloseStage    (none) ──violation──▶ AfterReplies ──replies done──▶ Sent
//!                 ├──end of a side, timeout, shutdown──▶ Due ─────────▲
//!                 └──failure of a stream client──▶ Reset
//!
//! WsOut         Open ──everything written, input ended──▶ Shut
//!                 └──write error, WebSocket peer given up──┴──▶ Failed
//!
//! StreamOut     Open ──end of the messages──▶ Ending ──everything written──▶ Shut
//!                 └──────────── write error, reset ──┴──▶ Broken
//!
//! StreamIn      Open ──bytes that the framing cannot carry──▶ Unframed
//!                 └──────────────── FIN, error ──────────────────┴──▶ Ended
//!
//! StreamEnd     InOrder ──end of input (half-close)──▶ EndOfInput
//!                 └──abort─────▶ Reset ◀──bytes lost──────┘
//! ```
//!
//! The connection has ended when the input from the WebSocket has ended, nothing more is to be
//! written to it, and everything that its peer sent has been delivered to the stream; or, after a
//! failure of the stream in the client role, when everything that the stream sent has been delivered
//! to the WebSocket peer (delivery.rs). A stream that is to be reset is reset as soon as its last
//! bytes are delivered and the Close is sent: it does not wait for the end of the WebSocket.

use std::{borrow::Cow, fmt};

use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
};

/// The input from the WebSocket.
#[derive(Debug)]
pub(super) enum WsIn {
    /// Frames are read.
    Open,
    /// Control frames only are read: the WebSocket peer has ended its output (half-close).
    InputEnded,
    /// A Close with this code was received. If `more` bytes may follow, they are read and
    /// discarded: closing a socket with unread bytes sends a reset, which could destroy the Close
    /// of this side.
    Closed { code: CloseCode, more: bool },
    /// The WebSocket peer violated the protocol: bytes are read and discarded.
    Violated,
    /// The connection ended without a Close: nothing is read.
    Gone(Disconnect),
}

impl WsIn {
    pub(super) fn is_open(&self) -> bool {
        matches!(self, WsIn::Open | WsIn::InputEnded)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, WsIn::Gone(_))
    }
}

/// The output to the WebSocket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WsOut {
    Open,
    /// Everything is written, and the write side is shut.
    Shut,
    /// Nothing is written any more: the connection has failed in this direction, or the WebSocket
    /// peer is considered lost. Bytes that it sent before may still have to be read.
    Failed,
}

/// The output to the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamOut {
    Open,
    /// The buffered payload is written, and then the end of input unless a reset is due. No
    /// payload is added.
    Ending,
    /// Everything is written, including the end of input if it was due.
    Shut,
    /// The connection has failed or was reset: nothing is written any more.
    Broken,
}

/// The input from the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamIn {
    Open,
    /// Bytes are read and discarded: the framing cannot carry them.
    Unframed,
    Ended,
}

/// The kind of end that the stream gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StreamEnd {
    /// In order, unless the WebSocket peer ends without declaring its output complete. A client that
    /// only fails to answer the server's own Close need not declare it.
    InOrder,
    /// In order, however the WebSocket peer ends, except that in the client role a failure still
    /// leads to a reset: the peer has ended its output (half-close).
    EndOfInput,
    /// By a reset: the stream peer has not received everything that the WebSocket peer sent or
    /// intended to send.
    Reset,
}

/// Whether the relay waits for replies to the WebSocket peer's last messages before it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    Expected,
    GivenUp,
}

/// The Close for the WebSocket peer, decided on and possibly sent.
#[derive(Clone, Debug)]
pub(super) struct PendingClose {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
    pub(super) cause: CloseCause,
    pub(super) stage: CloseStage,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseCause {
    /// A shutdown, a request or the idle timeout.
    Server,
    /// Another event at this end or of the stream.
    Own,
    /// A violation of the protocol by the WebSocket peer.
    Violation,
    /// The peer's own Close, which is only echoed.
    Echo,
}

/// The progress of a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseStage {
    /// The Close is sent after the replies to the WebSocket peer's last messages.
    AfterReplies,
    Due,
    /// The Close is written, or in the write buffer.
    Sent,
    /// No Close is sent: the buffered frames are written, and the connection is reset once they are
    /// acknowledged. The client behind the stream has failed (client role).
    Reset,
}

/// The kind of end of a WebSocket connection without a Close from the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// The peer ended the connection (FIN).
    WithoutClose,
    /// The connection failed: a reset, a timeout, or TLS without close_notify.
    Failed,
    /// The peer did not answer a Ping.
    NoPong,
    /// The peer did not answer a Close, or did not read what was sent before it.
    NoCloseReply,
}

/// The end of a connection, for the log and the registry.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The code of the Close that was sent or received; [`CloseCode::ABNORMAL`] if the
    /// connection ended without one.
    pub(crate) code: CloseCode,
    /// The reason, for the log.
    pub(crate) why: Cow<'static, str>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&fill(reason::WITH_CODE, &[&self.why as &dyn fmt::Display, &self.code.0]))
    }
}
