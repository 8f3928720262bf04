//! HTTP: the page, the API, and the connections on which WebSocket routes are requested.
//!
//! - [`api`]: `/healthz`, `/readyz`, `/version`, `/api/endpoints`, `/api/connections`
//! - `events`: `/api/events`; `replicas`: the connections of all replicas; `tap`:
//!   `/api/connections/ID/tap`; `metrics`: `/metrics`; `ends`: `/api/connections/ID/close` and `/api/drain`;
//!   `access`: the access to taps and ends; `query`: the parameters of a query; `limits`: the limits on
//!   clients of the API
//! - [`connection`]: the activity and the deadlines of a connection; [`stream`], [`response`]: the
//!   sources of activity; `requests`: the requests of a connection
//! - [`assets`]: the files of the page; [`base_path`]: requests below `--base-path`

mod access;
mod api;
mod assets;
mod base_path;
mod connection;
mod ends;
mod events;
mod limits;
mod metrics;
mod query;
mod replicas;
mod requests;
mod response;
mod stream;
mod tap;

use std::{convert::Infallible, net::SocketAddr, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    response::Response,
    routing::any,
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
    upgrade::Upgraded,
};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::time::Instant;
use tower::ServiceExt;

use self::{
    connection::{Activity, Ended, Timeouts, drive},
    requests::RequestHandler,
    response::StreamExecutor,
    stream::HttpStream,
};
use crate::{
    config::{ANY_PATH, PAGE_PATHS, is_reserved},
    connections::{limits::http::HttpPermit, registry::Peer},
    context::ServerContext,
    gateway::{
        Reclaimed, Route, handshake, origin,
        switching::{Switching, SwitchingHead},
        upgrade,
    },
    net::stream::Stream,
};

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The maximum number of concurrent streams of an HTTP/2 connection: more than the WebSockets that
/// a browser opens to one host, all of them on one connection.
const STREAMS: u32 = 256;

/// The flow-control window of one HTTP/2 stream, in bytes.
const STREAM_WINDOW: u32 = 128 * 1024;

/// The flow-control window of an HTTP/2 connection, in bytes: larger than those of all streams
/// together, so that streams that are not read do not block the others.
const CONNECTION_WINDOW: u32 = (STREAMS + 1) * STREAM_WINDOW;

/// The maximum number of bytes of one HTTP/2 stream that wait to be sent.
const STREAM_BUFFER: usize = 64 * 1024;

/// The responses to HTTP requests under one configuration.
#[derive(Debug)]
pub(crate) struct Site {
    context: Arc<ServerContext>,
    router: Router,
}

impl Site {
    /// The page, the API and `routes`.
    pub(crate) fn new(context: &Arc<ServerContext>, routes: &[Arc<Route>]) -> Site {
        Site { context: context.clone(), router: router(context, routes) }
    }

    async fn respond(&self, request: hyper::Request<Incoming>) -> Result<Response, Infallible> {
        let base = &self.context.settings.base_path;
        if base.is_empty() {
            return self.router.clone().oneshot(request).await;
        }
        let request = match base_path::strip(base, request) {
            Ok(request) => request,
            Err(redirection) => return Ok(redirection),
        };
        let mut response = self.router.clone().oneshot(request).await?;
        base_path::complete_location(base, &mut response);
        Ok(response)
    }
}

fn router(context: &Arc<ServerContext>, routes: &[Arc<Route>]) -> Router {
    let guard = middleware::from_fn_with_state(context.clone(), origin::guard_host);
    let on_any = routes.iter().find(|route| &*route.path == ANY_PATH).cloned();
    let on_any = move |path: &str| on_any.clone().filter(|_| !is_reserved(path));
    // On a path of the page, an opening handshake is for the route of that path, if there is one.
    let (on_page, routes): (Vec<_>, Vec<_>) = routes
        .iter()
        .filter(|route| &*route.path != ANY_PATH)
        .cloned()
        .partition(|route| PAGE_PATHS.contains(&&*route.path));
    let page = assets::router(context.settings.web_root.as_deref()).layer(guard.clone());
    let otherwise = on_any.clone();
    let page = page.layer(middleware::from_fn_with_state(
        context.clone(),
        move |state, client, permit, request: Request, next: Next| {
            let path = request.uri().path();
            let route = handshake::wants_upgrade(&request).then(|| {
                let route = on_page.iter().find(|route| &*route.path == path);
                route.cloned().or_else(|| otherwise(path))
            });
            async move {
                match route {
                    None => next.run(request).await,
                    Some(route) => {
                        upgrade::upgrade_if_any(route, state, client, permit, request).await
                    }
                }
            }
        },
    ));
    let mut router = Router::new()
        .merge(api::router(context).layer(guard))
        .merge(page)
        .merge(api::health())
        .fallback(move |state, client, permit, request: Request| {
            upgrade::upgrade_if_any(on_any(request.uri().path()), state, client, permit, request)
        });
    for route in routes {
        let path = route.path.to_string();
        let route = route.clone();
        router = router.route(
            &path,
            any(move |state, client, permit, request| {
                upgrade::upgrade(route, state, client, permit, request)
            }),
        );
    }
    router.with_state(context.clone())
}

/// Serves one HTTP connection until it ends, is upgraded, misses a deadline or loses its permit.
/// Each request is answered by the `site` in force when the request arrives. The deadline of the
/// first request counts from `since`. `destination` is the address that the client connected to,
/// where a PROXY header named it.
pub(crate) async fn serve(
    stream: Stream,
    peer: Peer,
    destination: Option<SocketAddr>,
    permit: Arc<HttpPermit>,
    since: Instant,
    site: impl Fn() -> Arc<Site> + Clone + Send + Sync + 'static,
    context: &ServerContext,
) {
    let local = match (destination, &peer) {
        (None, Peer::Address(_)) => match stream.local_addr() {
            Ok(local) => Some(local),
            // The client has disconnected already.
            Err(_) => return,
        },
        (destination, _) => destination,
    };
    let is_tls = matches!(stream, Stream::Tls(_));
    let is_http2 = stream.is_http2();
    let counted_by = context.counted_by(&peer);
    let counted_by = context.limits.http_counted_by(counted_by);
    let activity = Activity::new(permit, counted_by, is_http2, since);
    let stream = HttpStream::new(stream, activity.clone());
    let head = SwitchingHead::default();
    let requests = RequestHandler {
        peer: peer.clone(),
        local,
        is_tls,
        activity: activity.clone(),
        head: head.clone(),
        site,
    };
    let service = service_fn(move |request| requests.handle(request));
    let (drain, timeouts) = (&context.http.drain, Timeouts::from(&context.settings));
    let ended = if is_http2 {
        // No PINGs: a connection without streams is closed when it is idle, and WebSockets
        // have their own.
        let (write_timeout, tasks) = (timeouts.write, context.http.tracker.clone());
        let connection = http2::Builder::new(StreamExecutor { write_timeout, tasks })
            .timer(TokioTimer::new())
            .max_header_list_size(MAX_HEAD as u32)
            .max_concurrent_streams(STREAMS)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .max_send_buf_size(STREAM_BUFFER)
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(stream), service);
        drive(connection, &activity, timeouts, drain, http2::Connection::graceful_shutdown).await
    } else {
        let connection = http1::Builder::new()
            // hyper's timeout includes the time between two requests.
            .header_read_timeout(None)
            .max_buf_size(MAX_HEAD)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(Switching::new(stream, head)), service)
            .with_upgrades();
        let close = http1::UpgradeableConnection::graceful_shutdown;
        drive(connection, &activity, timeouts, drain, close).await
    };
    report(ended, &peer, context);
}

/// Logs and counts the end of a connection.
fn report(ended: Ended<hyper::Result<()>>, peer: &Peer, context: &ServerContext) {
    match ended {
        Ended::Done(Ok(())) => {}
        Ended::Done(Err(e)) => tracing::debug!(%peer, "http connection: {e}"),
        Ended::TimedOut => tracing::debug!(%peer, "http connection: closed at its deadline"),
        Ended::Revoked(reason) => {
            context.counters.refused.count(reason);
            tracing::debug!(%peer, "http connection: closed to admit another connection");
        }
    }
}

/// Takes the stream of an upgraded HTTP/1.1 connection out of hyper, with what was read of it
/// beyond the request.
fn reclaim(upgraded: Upgraded) -> Result<Reclaimed, Upgraded> {
    let parts = upgraded.downcast::<TokioIo<Switching<HttpStream>>>()?;
    // A copy, so that hyper's large read buffer is freed.
    Ok((parts.io.into_inner().into_inner().into_inner(), parts.read_buf.to_vec()))
}
