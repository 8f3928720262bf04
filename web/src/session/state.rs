//! The state of a connection.

pub use echogate_proto::ws::HALF_CLOSE;

use crate::{close_reason::CloseReason, i18n::Texts, time::Millis};

/// The state of a connection.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Not connected yet.
    Idle,
    /// The opening handshake is under way.
    Connecting,
    /// Messages can be exchanged.
    Open {
        /// The negotiated subprotocol, empty for none.
        protocol: String,
        /// The sides that have finished sending.
        ended: Halves,
    },
    /// The closing handshake is under way, or a connection not yet open is being cancelled.
    Closing,
    /// Closed, to be opened again.
    Waiting {
        /// The reason why it ended.
        cause: CloseReason,
        /// The number of the next attempt in a row, from 1.
        attempt: u32,
        /// The time of the next attempt.
        until: Millis,
    },
    /// Closed.
    Closed(CloseReason),
}

/// The directions of a connection that have ended, under the `half-close` subprotocol.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// This side has finished sending.
    pub ours: bool,
    /// The peer has finished sending.
    pub theirs: bool,
}

impl State {
    /// The state's name in the page's attributes.
    pub fn name(&self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connecting => "connecting",
            State::Open { .. } => "open",
            State::Closing => "closing",
            State::Waiting { .. } => "waiting",
            State::Closed(_) => "closed",
        }
    }

    /// The state as a heading of a few words.
    pub fn headline(&self, texts: &Texts) -> &'static str {
        match self {
            State::Idle => texts.not_connected,
            State::Connecting => texts.connecting,
            State::Open { ended: Halves { ours: true, .. }, .. } => texts.you_ended_input,
            State::Open { ended: Halves { theirs: true, .. }, .. } => texts.they_ended_input,
            State::Open { .. } => texts.connected,
            State::Closing => texts.closing,
            State::Waiting { .. } => texts.reconnecting,
            State::Closed(cause) => cause.headline(texts),
        }
    }

    /// Whether a connection can be opened: there is none, and none under way.
    pub fn is_at_rest(&self) -> bool {
        matches!(self, State::Idle | State::Waiting { .. } | State::Closed(_))
    }

    /// Whether messages can be sent.
    pub fn takes_messages(&self) -> bool {
        matches!(self, State::Open { ended: Halves { ours: false, .. }, .. })
    }

    /// Whether this side can finish sending and go on receiving.
    pub fn can_half_close(&self) -> bool {
        self.takes_messages()
            && matches!(self, State::Open { protocol, .. } if protocol == HALF_CLOSE)
    }

    /// Whether no connection has ended out of order: see [`CloseReason::is_normal`].
    pub fn is_normal(&self) -> bool {
        self.close_reason().is_none_or(CloseReason::is_normal)
    }

    /// The reason why the last connection ended, if it has.
    pub fn close_reason(&self) -> Option<&CloseReason> {
        match self {
            State::Closed(cause) | State::Waiting { cause, .. } => Some(cause),
            _ => None,
        }
    }
}
