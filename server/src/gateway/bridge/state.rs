//! The states of a connection.
//!
//! A connection has six state variables:
//!
//! ```text
//! ClientIn      Open ──empty binary message (half-close)──▶ InputEnded
//!                 ├───────────────── Close ─────────────────────┤──▶ Closed
//!                 ├─────────────── violation ───────────────────┤──▶ Violated ──┐
//!                 └─────── FIN, failure, missing Pong ──────────┴───────────────┴──▶ Gone
//!
//! CloseStage    (none) ──violation──▶ AfterReplies ──replies done──▶ Sent
//!                 └──end of a side, timeout, shutdown──▶ Due ─────────▲
//!
//! ClientOut     Open ──everything written, input ended──▶ Shut
//!                 └──write error, client given up──┴──▶ Failed
//!
//! UpstreamOut   Open ──end of the client's input──▶ Ending ──everything written──▶ Shut
//!                 └───────────────── write error ────┴──▶ Broken
//!
//! UpstreamIn    Open ──bytes that the framing cannot carry──▶ Unframed
//!                 └──────────────── FIN, error ──────────────────┴──▶ Ended
//!
//! UpstreamEnd   InOrder ──end of input (half-close)──▶ EndOfInput
//!                 └──abort─────▶ Reset ◀──bytes lost──────┘
//! ```
//!
//! The connection has ended when the client's input has ended, nothing more is to be written to the
//! client, and everything that the client sent has been delivered to the upstream (delivery.rs).

use std::{borrow::Cow, fmt};

use echogate_proto::close::CloseCode;

/// The input from the client.
#[derive(Debug)]
pub(super) enum ClientIn {
    /// Frames are read.
    Open,
    /// Control frames only are read: the client has ended its input (half-close).
    InputEnded,
    /// A Close with this code was received. If `more` bytes may follow, they are read and
    /// discarded: closing a socket with unread bytes sends a reset, which could destroy the Close
    /// of this side.
    Closed { code: CloseCode, more: bool },
    /// The client violated the protocol: bytes are read and discarded.
    Violated,
    /// The connection ended without a Close: nothing is read.
    Gone(Disconnect),
}

impl ClientIn {
    /// Whether frames are read.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, ClientIn::Open | ClientIn::InputEnded)
    }

    pub(super) fn is_gone(&self) -> bool {
        matches!(self, ClientIn::Gone(_))
    }
}

/// The output to the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ClientOut {
    /// Frames are written.
    Open,
    /// Everything is written, and the write side is shut.
    Shut,
    /// Nothing is written any more: the connection has failed in this direction, or the client is
    /// considered lost. Bytes that it sent before may still have to be read.
    Failed,
}

/// The output to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamOut {
    /// Payload is written.
    Open,
    /// The buffered payload is written, and then the end of input unless a reset is due. No
    /// payload is added.
    Ending,
    /// Everything is written, including the end of input if it was due.
    Shut,
    /// The connection has failed: nothing is written any more.
    Broken,
}

/// The input from the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamIn {
    /// Bytes are read.
    Open,
    /// Bytes are read and discarded: the framing cannot carry them.
    Unframed,
    /// The stream ended or failed.
    Ended,
}

/// The kind of end that the upstream's connection gets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamEnd {
    /// In order, unless the client ends without declaring its input complete.
    InOrder,
    /// In order, however the client ends: it has ended its input (half-close).
    EndOfInput,
    /// By a reset: the upstream has not received everything that the client sent or intended to
    /// send.
    Reset,
}

/// Whether the relay waits for replies to the client's last messages before it ends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    Expected,
    GivenUp,
}

/// The Close for the client, decided on and possibly sent.
#[derive(Clone, Debug)]
pub(super) struct PendingClose {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
    /// Whether the Close only echoes the client's own.
    pub(super) is_echo: bool,
    pub(super) stage: CloseStage,
}

/// The progress of a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseStage {
    /// The Close is sent after the replies to the client's last messages.
    AfterReplies,
    /// The Close is to be sent.
    Due,
    /// The Close is written, or in the write buffer.
    Sent,
}

/// The kind of end of a client's connection without a Close from the client.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// The client ended the stream (FIN).
    WithoutClose,
    /// The connection failed: a reset, a timeout, or TLS without close_notify.
    Failed,
    /// The client did not answer a Ping.
    NoPong,
    /// The client did not answer a Close, or did not read what was sent before it.
    NoCloseReply,
}

impl Disconnect {
    pub(super) fn description(self) -> &'static str {
        match self {
            Disconnect::WithoutClose => "the client went away without a Close",
            Disconnect::Failed => "the client's connection failed",
            Disconnect::NoPong => "the client did not answer a Ping",
            Disconnect::NoCloseReply => "cut off",
        }
    }
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
        write!(f, "{} ({})", self.why, self.code.0)
    }
}
