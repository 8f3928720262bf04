//! The end of a connection by the server: at its shutdown, or at a request for one connection.

use std::borrow::Cow;

use echogate_proto::{close::CloseCode, reason};

use super::{Drain, Stage};

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

/// Asks a connection of one of two groups to end as soon as its task polls its watch, which a new
/// connection does only after it has been registered and reported. False once the connection is not
/// open.
pub(crate) async fn request_end_of(
    groups: [&Drain; 2],
    id: u64,
    request: &EndRequest,
    is_open: impl Fn() -> bool,
) -> bool {
    loop {
        // Created before the tables are searched, so that no later registration is missed.
        let [one, other] = groups.map(|group| group.0.registered.notified());
        if groups.into_iter().any(|group| group.request_end(id, request.clone())) {
            return true;
        }
        if !is_open() {
            return false;
        }
        tokio::select! {
            () = one => {}
            () = other => {}
        }
    }
}
