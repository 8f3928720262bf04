//! The requests of one HTTP connection, and its responses.

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    http::{HeaderValue, StatusCode, Version, header},
    response::{IntoResponse, Response},
};
use hyper::{Request, body::Incoming};

use super::{
    Site,
    connection::Activity,
    reclaim,
    response::{PendingResponse, ResponseBody},
};
use crate::{
    connections::registry::Peer,
    gateway::{Client, Reclaim, handshake, origin, switching::SwitchingHead},
    net::forwarded,
};

/// The media type of server-sent events, whose responses last until their clients disconnect.
const EVENT_STREAM: &str = "text/event-stream";

/// Handles the requests of one connection. `S` returns the site in force.
pub(super) struct RequestHandler<S> {
    pub(super) peer: Peer,
    /// The address that the client connected to; none for a Unix socket.
    pub(super) local: Option<SocketAddr>,
    pub(super) is_tls: bool,
    pub(super) activity: Arc<Activity>,
    /// The head of the 101 response, which the stream writes in place of hyper's.
    pub(super) head: SwitchingHead,
    pub(super) site: S,
}

impl<S: Fn() -> Arc<Site>> RequestHandler<S> {
    /// Handles a request. Its head counts as received when this function returns, before the future is
    /// polled.
    pub(super) fn handle(
        &self,
        mut request: Request<Incoming>,
    ) -> impl Future<Output = Result<Response<ResponseBody>, Infallible>> + use<S> {
        let is_handshake = handshake::wants_upgrade(&request);
        self.activity.request_received(!is_handshake);
        let site = (self.site)();
        let trusted = &site.context.settings.forwarded_from;
        let forwarded = forwarded::resolve(request.headers(), &self.peer, trusted);
        let (peer, local, is_tls) = (forwarded.client.clone(), self.local, self.is_tls);
        request.extensions_mut().insert(Client { peer, local, is_tls, forwarded });
        request.extensions_mut().insert(self.activity.permit().clone());
        request.extensions_mut().insert(Reclaim(reclaim));
        let (activity, head) = (self.activity.clone(), self.head.clone());
        async move {
            // Beside :authority or an absolute-form target, Host may have any value, but occurs at
            // most once.
            let is_required = request.version() == Version::HTTP_11;
            let checked = origin::check_host(request.headers(), is_required);
            normalize_host(&mut request);
            let checked = checked.and_then(|()| origin::check_host(request.headers(), false));
            // WebSockets have limits of their own.
            let mut pending = match is_handshake {
                true => None,
                false => Some(PendingResponse::begin(activity).await),
            };
            let response = match checked {
                Ok(()) => site.respond(request).await?,
                Err(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                head.set(response.headers());
            }
            if response.headers().get(header::CONTENT_TYPE).is_some_and(|of| of == EVENT_STREAM)
                && let Some(pending) = &mut pending
            {
                pending.stop_counting();
            }
            Ok(response.map(|body| match pending {
                Some(pending) => pending.with(body),
                None => body.into(),
            }))
        }
    }
}

/// Replaces `Host` by the authority of the request's target: in HTTP/2 that is the pseudo-header
/// `:authority` (RFC 9113 section 8.3.1), and a target in absolute form overrides `Host` (RFC 9112
/// section 3.2.2).
fn normalize_host(request: &mut Request<Incoming>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}
