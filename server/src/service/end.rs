//! The ends of a connection to a service, with their texts in the log.

use std::{borrow::Cow, fmt, io};

use echogate_proto::reason::{self, fill};

use crate::text::io_error::describe;

/// The reason for which a connection ended.
#[derive(Debug)]
pub(crate) enum End {
    /// The client ended its side and all answers were written.
    InputEnded,
    /// The server shuts down, and all answers were written.
    Drained,
    /// The end of this connection was requested, for the given reason, and all answers were written.
    Requested(Cow<'static, str>),
    /// The idle timeout has passed.
    Idle,
    /// The one message of the connection was answered.
    Once,
    /// The service ended the connection.
    Closed,
    /// The deadline of the shutdown has passed, or a reset of this connection was requested.
    Cut,
    /// The connection has failed.
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::InputEnded => f.write_str(reason::CLIENT_CLOSED),
            End::Drained => f.write_str(reason::SHUT_DOWN),
            End::Requested(given) => f.write_str(given),
            End::Idle => f.write_str(reason::IDLE),
            End::Once => f.write_str(reason::ANSWERED_ONCE),
            End::Closed => f.write_str(reason::SERVICE_CLOSED),
            End::Cut => f.write_str(reason::CUT_OFF_BY_SHUTDOWN),
            End::Failed(e) => f.write_str(&fill(reason::CONNECTION_FAILED, &[&describe(e)])),
        }
    }
}
