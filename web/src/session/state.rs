//! Where a connection stands.

pub use echogate_proto::ws::HALF_CLOSE;

use crate::{ending::Ending, time::Millis, words::Words};

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq)]
pub enum State {
    /// Never connected yet.
    Idle,
    /// Asked for, not yet there.
    Connecting,
    /// Messages can be sent.
    Open {
        /// The subprotocol that was agreed on; empty for none.
        protocol: String,
        /// Which sides have said that they send nothing more.
        ended: Halves,
    },
    /// Closing, or calling off a connection that is not yet open.
    Closing,
    /// Over, and to be made again.
    Waiting {
        /// How it ended.
        ending: Ending,
        /// Which attempt in a row comes next, from 1.
        attempt: u32,
        /// When it comes.
        until: Millis,
    },
    /// Over.
    Closed(Ending),
}

/// The halves of a connection that have ended, where `half-close` is spoken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Halves {
    /// This side sends nothing more.
    pub ours: bool,
    /// The other side sends nothing more.
    pub theirs: bool,
}

impl State {
    /// The state's name, for machines.
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

    /// The state in a few words, for people.
    pub fn headline(&self, words: &Words) -> &'static str {
        match self {
            State::Idle => words.not_connected,
            State::Connecting => words.connecting,
            State::Open { ended: Halves { ours: true, .. }, .. } => words.you_ended_input,
            State::Open { ended: Halves { theirs: true, .. }, .. } => words.they_ended_input,
            State::Open { .. } => words.connected,
            State::Closing => words.closing,
            State::Waiting { .. } => words.reconnecting,
            State::Closed(ending) => ending.headline(words),
        }
    }

    /// Whether a connection can be asked for: there is none, and none on its way.
    pub fn is_at_rest(&self) -> bool {
        matches!(self, State::Idle | State::Waiting { .. } | State::Closed(_))
    }

    /// Whether messages can be sent.
    pub fn takes_messages(&self) -> bool {
        matches!(self, State::Open { ended: Halves { ours: false, .. }, .. })
    }

    /// Whether this side can end its input and go on reading.
    pub fn can_half_close(&self) -> bool {
        self.takes_messages()
            && matches!(self, State::Open { protocol, .. } if protocol == HALF_CLOSE)
    }

    /// How the last connection ended, if it has.
    pub fn ending(&self) -> Option<&Ending> {
        match self {
            State::Closed(ending) | State::Waiting { ending, .. } => Some(ending),
            _ => None,
        }
    }
}
