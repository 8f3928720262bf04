//! HTTP: the page, the WebSocket routes, and what the server tells of itself.
//!
//! - [`upgrade`]: GET on a route becomes a WebSocket connection
//! - [`handshake`]: what makes a request an opening handshake (RFC 6455 section 4.2.1)
//! - [`policy`]: which pages may connect
//! - [`api`]: `/healthz`, `/readyz`, `/version`, `/api/endpoints`, `/api/connections`
//! - `events`: `/api/events`; `metrics`: `/metrics`

mod api;
mod events;
mod handshake;
mod metrics;
pub(crate) mod policy;
mod upgrade;

use std::{
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

use crate::{
    bridge, dial::Target, drain::Drain, generation::Current, limits::RouteLimit, page, proxy,
    shared::Shared, stream::Stream,
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

/// The client of an HTTP connection.
#[derive(Clone, Copy, Debug)]
struct Client {
    peer: SocketAddr,
    /// The address that it connected to.
    local: SocketAddr,
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
    let page = page::router(web_root).layer(middleware::from_fn_with_state(
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
        .merge(api::router().layer(guard.clone()))
        .merge(page.layer(guard))
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
/// held until then. Each request is answered by what holds when it comes.
pub(crate) async fn serve(
    stream: Stream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    current: Arc<Current>,
    shared: &Shared,
) {
    // Of a connection that is gone already nothing more will come.
    let Ok(local) = stream.local_addr() else { return };
    let client = Client { peer, local };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client);
        let app = has_one_host(&request).then(|| current.get().app.clone());
        name_host(&mut request);
        async move {
            match app {
                Some(app) => app.oneshot(request).await,
                None => Ok((StatusCode::BAD_REQUEST, "one Host is needed\n").into_response()),
            }
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
            .serve_connection(TokioIo::new(stream), service)
            .with_upgrades();
        until_drained(connection, drain, http1::UpgradeableConnection::graceful_shutdown).await
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, "http connection: {e}");
    }
    drop(permit);
}

/// HTTP/2 says the host in a place of its own (RFC 9113 section 8.3.1), and so does a target
/// that is a whole URL, whatever `Host` says (RFC 9112 section 3.2.2).
fn name_host(request: &mut hyper::Request<Incoming>) {
    if let Some(authority) = request.uri().authority()
        // Before the @ is a user's name.
        && let Some(host) = authority.as_str().rsplit('@').next()
        && let Ok(host) = HeaderValue::from_str(host)
    {
        request.headers_mut().insert(header::HOST, host);
    }
}

/// Whether it is clear for which host a request is (RFC 9112 section 3.2).
fn has_one_host(request: &hyper::Request<Incoming>) -> bool {
    let hosts = request.headers().get_all(header::HOST).iter().count();
    hosts == 1 || hosts == 0 && request.version() != Version::HTTP_11
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
