//! HTTP: the page, the WebSocket routes, and what the server tells of itself.
//!
//! - [`upgrade`]: GET on a route becomes a WebSocket connection
//! - [`handshake`]: what makes a request an opening handshake (RFC 6455 section 4.2.1)
//! - [`policy`]: which pages may connect, and under which hosts requests are answered
//! - [`switching`]: the head of a 101 as it is written
//! - [`api`]: `/healthz`, `/readyz`, `/version`, `/api/endpoints`, `/api/connections`
//! - `events`: `/api/events`; `metrics`: `/metrics`

mod api;
mod events;
mod handshake;
mod metrics;
pub(crate) mod policy;
mod switching;
mod upgrade;

use std::{
    convert::Infallible,
    net::SocketAddr,
    path::Path,
    pin::{Pin, pin},
    sync::Arc,
};

use axum::{
    Router,
    extract::Request,
    http::{HeaderValue, StatusCode, Version, header},
    middleware::{self, Next},
    response::IntoResponse,
    routing::any,
};
use hyper::{
    body::Incoming,
    server::conn::{http1, http2},
    service::service_fn,
};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use self::switching::{Switching, SwitchingHead};
use crate::{
    bridge,
    dial::Target,
    drain::Drain,
    generation::Current,
    limits::RouteLimit,
    page,
    proxy::{self, Forwarded},
    shared::Shared,
    stream::Stream,
};

/// The largest head of a request, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// A WebSocket path and where it leads.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path of the request.
    pub(crate) path: Arc<str>,
    /// The upstream.
    pub(crate) target: Target,
    /// The subprotocol chosen if it is offered and none is preferred to it.
    pub(crate) protocol: Option<String>,
    /// The version of the PROXY protocol that the upstream is told of the client by.
    pub(crate) proxy: Option<proxy::Version>,
    /// The most connections.
    pub(crate) limit: RouteLimit,
    /// How it is bridged.
    pub(crate) options: Arc<bridge::Options>,
}

/// The client of a request, resolved once.
#[derive(Clone, Debug)]
struct Client {
    /// The client's address, as trusted proxies name it.
    peer: SocketAddr,
    /// The address that the client connected to.
    local: SocketAddr,
    /// Whether the connection is a TLS connection.
    is_tls: bool,
    /// What trusted HTTP proxies say of the request.
    forwarded: Forwarded,
}

/// Everything that is answered over HTTP.
pub(crate) fn router(
    shared: &Arc<Shared>,
    routes: &[Arc<Route>],
    web_root: Option<&Path>,
) -> Router {
    let guard = middleware::from_fn_with_state(shared.clone(), policy::guard_host);
    // Where the page is, a handshake leads elsewhere: to the route of that path, if any.
    let (on_page, routes): (Vec<_>, Vec<_>) =
        routes.iter().cloned().partition(|route| page::has(&route.path));
    let page = page::router(web_root).layer(guard.clone());
    let page = page.layer(middleware::from_fn_with_state(
        shared.clone(),
        move |state, client, request: Request, next: Next| {
            let path = request.uri().path();
            let route = on_page.iter().find(|route| &*route.path == path).cloned();
            async move {
                match route {
                    _ if !handshake::wants_upgrade(&request) => next.run(request).await,
                    Some(route) => upgrade::upgrade(route, state, client, request).await,
                    None => upgrade::no_such_route(state, client, request).await,
                }
            }
        },
    ));
    let mut router = Router::new()
        .merge(api::router().layer(guard))
        .merge(page)
        .merge(api::health())
        .fallback(upgrade::no_such_route);
    for route in routes {
        let path = route.path.to_string();
        let route = route.clone();
        router = router.route(
            &path,
            any(move |state, client, request| upgrade::upgrade(route, state, client, request)),
        );
    }
    router.with_state(shared.clone())
}

/// Serves one HTTP connection until it ends or becomes something else; `permit` is
/// held until then. Each request is answered by what holds when it comes. `destination` is the
/// address that the client connected to, where a PROXY header named it.
pub(crate) async fn serve(
    stream: Stream,
    peer: SocketAddr,
    destination: Option<SocketAddr>,
    permit: OwnedSemaphorePermit,
    current: Arc<Current>,
    shared: &Shared,
) {
    // Of a connection that is gone already nothing more will come.
    let Ok(local) = destination.map_or_else(|| stream.local_addr(), Ok) else { return };
    let is_tls = matches!(stream, Stream::Tls(_));
    let switching = SwitchingHead::default();
    let head = switching.clone();
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        let generation = current.get();
        let trusted = &generation.shared.settings.forwarded_from;
        let forwarded = proxy::forwarded(request.headers(), peer, trusted);
        let client = Client { peer: forwarded.client, local, is_tls, forwarded };
        request.extensions_mut().insert(client);
        // A Host beside :authority or a whole URL may be any, but there is at most one.
        let is_required = request.version() == Version::HTTP_11;
        let checked = policy::check_host(request.headers(), is_required);
        name_host(&mut request);
        let checked = checked.and_then(|()| policy::check_host(request.headers(), false));
        let app = checked.map(|()| generation.app.clone());
        let head = head.clone();
        async move {
            let response = match app {
                Ok(app) => app.oneshot(request).await?,
                Err(reason) => (StatusCode::BAD_REQUEST, format!("{reason}\n")).into_response(),
            };
            if response.status() == StatusCode::SWITCHING_PROTOCOLS {
                head.set(response.headers());
            }
            Ok::<_, Infallible>(response)
        }
    });
    let drain = &shared.http.drain;
    let ended = if stream.is_http2() {
        let connection = http2::Builder::new(TokioExecutor::new())
            .timer(TokioTimer::new())
            .keep_alive_interval(shared.settings.ping_interval)
            .keep_alive_timeout(shared.settings.ping_timeout)
            .max_header_list_size(MAX_HEAD as u32)
            .enable_connect_protocol()
            .serve_connection(TokioIo::new(stream), service);
        until_drained(connection, drain, http2::Connection::graceful_shutdown).await
    } else {
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(shared.settings.header_timeout)
            .max_buf_size(MAX_HEAD)
            .title_case_headers(true)
            .serve_connection(TokioIo::new(Switching::new(stream, switching)), service)
            .with_upgrades();
        until_drained(connection, drain, http1::UpgradeableConnection::graceful_shutdown).await
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, "http connection: {e}");
    }
    drop(permit);
}

/// Puts the host of the request's target into `Host`: in HTTP/2 it stands in a pseudo-header (RFC
/// 9113 section 8.3.1), and a target that is a whole URL counts whatever `Host` says (RFC 9112
/// section 3.2.2).
fn name_host(request: &mut hyper::Request<Incoming>) {
    if let Some(authority) = request.uri().authority()
        && let Ok(host) = HeaderValue::from_str(authority.as_str())
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Drives a connection; when the server ends, it is told to take no more requests.
async fn until_drained<C: Future>(
    connection: C,
    drain: &Drain,
    no_more: impl FnOnce(Pin<&mut C>),
) -> C::Output {
    let mut connection = pin!(connection);
    let mut watch = drain.watch();
    tokio::select! {
        ended = connection.as_mut() => ended,
        () = watch.draining() => {
            no_more(connection.as_mut());
            connection.await
        }
    }
}
