//! HTTP: the page, the WebSocket routes, and what the server tells of itself.
//!
//! - [`upgrade`]: GET on a route becomes a WebSocket connection
//! - [`handshake`]: what makes a request an opening handshake (RFC 6455 section 4.2.1)
//! - [`policy`]: which pages may connect
//! - [`api`]: `/healthz`, `/readyz`, `/version`, `/api/connections`

mod api;
mod handshake;
pub(crate) mod policy;
mod upgrade;

use std::{net::SocketAddr, path::Path, pin::pin, sync::Arc};

use axum::{
    Router,
    extract::Request,
    middleware::{self, Next},
    routing::any,
};
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::sync::OwnedSemaphorePermit;
use tower::ServiceExt;

use crate::{
    bridge, dial::Target, drain::Stage, limits::RouteLimit, page, proxy, serve::Shared,
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
    pub(crate) limit: Option<Arc<RouteLimit>>,
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
                    _ if !handshake::wants_upgrade(request.headers()) => next.run(request).await,
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
/// held until then.
pub(crate) async fn serve(
    stream: Stream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    app: Router,
    shared: Arc<Shared>,
) {
    // Of a connection that is gone already nothing more will come.
    let Ok(local) = stream.local_addr() else { return };
    let client = Client { peer, local };
    let service = service_fn(move |mut request: hyper::Request<Incoming>| {
        request.extensions_mut().insert(client);
        app.clone().oneshot(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(shared.settings.header_timeout)
        .max_buf_size(MAX_HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let mut watch = shared.http.drain.watch();
    let draining = std::future::poll_fn(|cx| match watch.poll(cx) {
        Stage::Serving => std::task::Poll::Pending,
        _ => std::task::Poll::Ready(()),
    });
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = draining => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(e) = ended {
        tracing::debug!(%peer, "http connection: {e}");
    }
    drop(permit);
}
