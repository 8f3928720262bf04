//! The end of a connection by the server: at its shutdown, or at a request for one connection.

use std::borrow::Cow;

use echogate_proto::{close::CloseCode, reason};

use super::Stage;

/// The Close that a WebSocket peer is sent at such an end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ServerClose {
    pub(crate) code: CloseCode,
    pub(crate) reason: Cow<'static, str>,
}

impl ServerClose {
    /// The Close of a shutdown, unless another one is configured.
    pub(crate) const SHUTDOWN: ServerClose =
        ServerClose { code: CloseCode::GOING_AWAY, reason: Cow::Borrowed(reason::SHUTDOWN) };

    /// The Close of a connection whose idle timeout has passed.
    pub(crate) const IDLE: ServerClose =
        ServerClose { code: CloseCode::GOING_AWAY, reason: Cow::Borrowed(reason::IDLE) };
}

/// A request to end one connection.
#[derive(Clone, Debug)]
pub(crate) struct EndRequest {
    /// The stage that the connection is moved to.
    pub(crate) stage: Stage,
    pub(crate) close: ServerClose,
}
