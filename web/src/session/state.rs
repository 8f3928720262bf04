//! Where a connection stands.

use crate::ending::Ending;

/// Where a connection stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum State {
    /// Never connected yet.
    Idle,
    /// Asked for, not yet there.
    Connecting,
    /// Messages can be sent.
    Open {
        /// The subprotocol that was agreed on; empty for none.
        protocol: String,
    },
    /// Closing, or calling off a connection that is not yet open.
    Closing,
    /// Over.
    Closed(Ending),
}

impl State {
    /// The state's name, for machines.
    pub fn name(&self) -> &'static str {
        match self {
            State::Idle => "idle",
            State::Connecting => "connecting",
            State::Open { .. } => "open",
            State::Closing => "closing",
            State::Closed(_) => "closed",
        }
    }

    /// The state in a few words, for people.
    pub fn headline(&self) -> &'static str {
        match self {
            State::Idle => "Not connected",
            State::Connecting => "Connecting",
            State::Open { .. } => "Connected",
            State::Closing => "Closing",
            State::Closed(ending) => ending.headline(),
        }
    }
}
