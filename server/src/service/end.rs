//! The ends of a connection to a service, as the log words them.

use std::{fmt, io};

/// How a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client ended its side and got all it was owed.
    InputEnded,
    /// The server shuts down; the client got all it was owed.
    Drained,
    /// The idle timeout has passed.
    Idle,
    /// The only message that is answered here was answered.
    Once,
    /// A message ended the conversation.
    Over,
    /// The time of the shutdown is over.
    Cut,
    /// The stream failed.
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::InputEnded => f.write_str("the client ended"),
            End::Drained => f.write_str("the server shut down"),
            End::Idle => f.write_str("idle timeout (--idle-timeout)"),
            End::Once => f.write_str("its message was answered"),
            End::Over => f.write_str("the conversation ended"),
            End::Cut => f.write_str("cut off at the end of the shutdown (--drain)"),
            End::Failed(e) => write!(f, "failed: {e}"),
        }
    }
}
