//! The states of a connection, and those of its end.
//!
//! A connection has six states that are independent of one another:
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
//! The connection is over when the client is done (its input has ended and nothing more is
//! written to it) and the upstream has got everything that the client sent before (delivery.rs).

use std::{borrow::Cow, fmt};

use echogate_proto::close::CloseCode;

/// The input from the client.
#[derive(Debug)]
pub(super) enum ClientIn {
    /// Frames are read.
    Open,
    /// Frames are read, but no data may come: the client has ended its input (half-close).
    InputEnded,
    /// The client's Close came, with this code. If there is `more` behind it, that is read and
    /// discarded: left unread it would make our end of the connection a reset, which could
    /// destroy our Close.
    Closed { code: CloseCode, more: bool },
    /// The client broke the protocol: bytes are read and discarded.
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
    /// Nothing can or may be written: the connection has failed in this direction, or the
    /// client was given up. What it sent before may still have to be read.
    Failed,
}

/// The output to the upstream.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamOut {
    /// Payload is written.
    Open,
    /// The payload that waits is written, and then the end of input unless a reset is due.
    /// Nothing more is added.
    Ending,
    /// Everything is written, including the end of input if it was due.
    Shut,
    /// The upstream takes no more.
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

/// How the upstream's connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UpstreamEnd {
    /// In order, unless the client turns out to have sent less than it meant to.
    InOrder,
    /// In order, whatever becomes of the client: it has ended its input (half-close).
    EndOfInput,
    /// By a reset: the upstream did not get all that the client sent or meant to send.
    Reset,
}

/// Whether replies to what the client sent before its end are waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Replies {
    #[default]
    Expected,
    GivenUp,
}

/// A Close that is decided on.
#[derive(Clone, Debug)]
pub(super) struct PendingClose {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
    /// Whether it answers the client's own Close.
    pub(super) is_echo: bool,
    pub(super) stage: CloseStage,
}

/// How far a Close has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CloseStage {
    /// It waits for replies to what the client sent before.
    AfterReplies,
    /// It is to be sent.
    Due,
    /// It is written, or waits only for the client to take it.
    Sent,
}

/// How a client's connection ended without a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// The client ended the stream: a FIN.
    WithoutClose,
    /// The connection failed: a reset, a timeout, TLS without its end.
    Failed,
    /// The client did not answer a Ping and was given up.
    NoPong,
    /// The client did not answer a Close, or did not take what was to be sent before it.
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

/// How a connection ended.
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
