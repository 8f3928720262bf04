//! The states of a side.
//!
//! Each of the two sides has two state variables:
//!
//! ```text
//! Input    Open ───Close───▶ Closed ───┐
//!            ├──violation──▶ Violated ─┤
//!            └──FIN, failure, no Pong──┴──▶ Ended
//!
//! Output   Open ──end of the client (FIN, violation)──▶ Replies
//!            ├──Close of the other side, timeout, shutdown─┴──▶ Closed ──all written──▶ Shut
//!            ├──────────────no answer to the Close────────────────┴───────────────────────┤
//!            ├──the client ended without a Close──────────────────────────────────────────┴──▶ Last
//!            └──write error, peer given up──▶ Failed                 Last ──arrived──▶ Delivered
//! ```
//!
//! A side is done when nothing more is to be written to its peer and nothing more is awaited from
//! it; the connection has ended when both are.

use std::borrow::Cow;

use echogate_proto::close::CloseCode;
use tokio::time::Instant;

use crate::runtime::delivery::Delivery;

/// The input from a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Input {
    Open,
    /// A Close was received. Bytes after it are read and discarded ([`Closing::more`]): closing a
    /// socket with unread bytes sends a reset, which could destroy the last bytes sent.
    Closed,
    /// The peer violated the protocol: bytes are read and discarded.
    Violated,
    /// Nothing is read: the stream has ended or failed, or the peer is considered lost.
    Ended,
}

/// The output to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Output {
    Open,
    /// Frames are written: those that the upstream sends in the next moments answer messages of a
    /// client that has ended.
    Replies,
    /// No frames are added: the Close, if one is due, is written or in the buffer.
    Closed,
    /// Everything is written, and the write side is shut.
    Shut,
    /// No frames are added, and the connection ends as soon as the buffered ones have arrived:
    /// by a reset if [`Closing::resets`].
    Last,
    /// All frames have arrived. The peer's frames are still passed while the other side takes any;
    /// then the connection is reset, if it is to be, or ends with the relay.
    Delivered,
    /// Nothing is written any more: the connection has failed in this direction, or the peer is
    /// considered lost. Bytes that it sent before may still have to be read.
    Failed,
}

/// The state of the end of a side, once it has begun.
#[derive(Debug, Default)]
pub(super) struct Closing {
    /// The end of the current step: replies, the peer's Close or the peer's end are awaited until
    /// then.
    pub(super) deadline: Option<Instant>,
    /// The number of bytes that the peer's kernel had acknowledged when the deadline was set.
    pub(super) acknowledged: u64,
    /// The code of the peer's Close.
    pub(super) received: Option<CloseCode>,
    /// Whether bytes may follow the peer's Close: its end is awaited.
    pub(super) more: bool,
    /// The Close that is due after the replies.
    pub(super) due: Option<(CloseCode, Cow<'static, str>)>,
    /// Whether the connection ends by a reset (state `Last`).
    pub(super) resets: bool,
    /// The number of bytes for the peer that are known to be lost.
    pub(super) undelivered: usize,
    pub(super) delivery: Option<Delivery>,
}
