//! The ends of a connection to a service, with their texts in the log.

use std::{borrow::Cow, fmt, io};

use crate::{runtime::drain::ServerClose, text::io_error::describe};

/// The reason for which a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client ended its side and all answers were written.
    InputEnded,
    /// The server shuts down, and all answers were written.
    Drained,
    /// The end of this connection was requested, for the given reason, and all answers were written.
    Requested(Cow<'static, str>),
    Idle,
    /// The one message of the connection was answered.
    Once,
    Closed,
    /// The deadline of the shutdown has passed, or a reset of this connection was requested.
    Cut,
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::InputEnded => f.write_str("the client closed the connection"),
            End::Drained => f.write_str("the server shut down"),
            End::Requested(reason) => f.write_str(reason),
            End::Idle => f.write_str(&ServerClose::IDLE.reason),
            End::Once => f.write_str("the only message was answered (?once)"),
            End::Closed => f.write_str("the service closed the connection"),
            End::Cut => f.write_str("cut off at the end of the shutdown (--drain)"),
            End::Failed(e) => write!(f, "connection failed: {}", describe(e)),
        }
    }
}
