//! The API: `/healthz`, `/readyz`, `/version`, `/metrics`,
//! `/api/endpoints`, `/api/connections`, `/api/connections/ID/tap`, `/api/connections/ID/close`,
//! `/api/drain`, `/api/events`.

use std::{convert::Infallible, sync::Arc};

use axum::{
    Extension, Json, Router,
    body::Body,
    extract::{RawQuery, Request, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::{get, post},
};
use echogate_proto::{api::Connection, reason};
use futures_util::stream;
use serde::Serialize;
use serde_json::json;

use super::{
    access,
    ends::{close, drain},
    events::events,
    limits::ApiRefusal,
    metrics::metrics,
    query, replicas,
    tap::tap,
};
use crate::{
    cluster::ClusterState,
    connections::{counters::Refusal, limits::share::Share, registry::Entry},
    context::ServerContext,
    gateway::{Client, origin::refused_host, upgrade::refused_by_policy},
};

/// The number of connections in one part of the response to `/api/connections`, about 20 KB.
const PART: usize = 64;

/// Headers of every response: browsers must not show it as a document or embed it in other origins.
const HEADERS: [(HeaderName, &str); 3] = [
    (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
];

/// Paths for health checks, answered whatever `Host` says.
pub(super) fn health() -> Router<Arc<ServerContext>> {
    Router::new()
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .method_not_allowed_fallback(needs_get)
        .layer(middleware::map_response(with_headers))
}

/// Paths for the page and for monitoring, answered under allowed hosts only. `--no-api` leaves
/// out `/api/*`.
pub(super) fn router(context: &Arc<ServerContext>) -> Router<Arc<ServerContext>> {
    let mut router = Router::new().route("/version", get(version)).route("/metrics", get(metrics));
    if context.settings.api {
        router = router
            .route("/api/endpoints", get(endpoints))
            .route("/api/connections", get(connections))
            .route("/api/connections/{id}/tap", get(tap))
            .route("/api/connections/{id}/close", post(close).fallback(needs_post))
            .route("/api/drain", post(drain).fallback(needs_post))
            .route("/api/events", get(events));
    }
    router
        .method_not_allowed_fallback(needs_get)
        .layer(middleware::from_fn_with_state(context.clone(), guard_origin))
        .layer(middleware::map_response(with_headers))
}

/// Answers methods other than GET.
async fn needs_get() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "this path needs GET\n")
}

/// Answers methods other than POST.
async fn needs_post() -> (StatusCode, &'static str) {
    (StatusCode::METHOD_NOT_ALLOWED, "this path needs POST\n")
}

async fn with_headers(mut response: Response) -> Response {
    for (name, value) in HEADERS {
        response.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    response
}

/// Refuses requests from pages of other origins with 403. Such pages cannot read a response, but
/// could use up the limits.
async fn guard_origin(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    request: Request,
    next: Next,
) -> Response {
    match foreign(&context, &client, request.headers()) {
        Some(reason) => {
            context.counters.refused.count(Refusal::Policy);
            (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response()
        }
        None => next.run(request).await,
    }
}

/// The reason for the refusal of a request that comes from a page of another origin.
fn foreign(context: &ServerContext, client: &Client, headers: &HeaderMap) -> Option<String> {
    let site = headers.get("sec-fetch-site").map(HeaderValue::as_bytes);
    if let Some(b"cross-site" | b"same-site") = site {
        return Some(reason::FOREIGN_PAGE.to_owned());
    }
    refused_by_policy(context, client, headers).map(|refused| refused.reason)
}

/// Liveness: 503 names an event loop that does not answer, so that its connections are stalled.
async fn healthy(State(context): State<Arc<ServerContext>>) -> (StatusCode, String) {
    match context.loop_lag.measure().await {
        Ok(()) => (StatusCode::OK, "ok\n".to_owned()),
        Err(stuck) => (StatusCode::SERVICE_UNAVAILABLE, format!("{stuck}\n")),
    }
}

/// Readiness: 503 from the beginning of a shutdown, by a signal or by the API. A broker that cannot be
/// reached does not change the status, since the replica serves its own clients; only responses to
/// clients of this machine and to operators name the broker and the reason.
async fn ready(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> (StatusCode, String) {
    if context.not_ready.is_cancelled() {
        return (StatusCode::SERVICE_UNAVAILABLE, "draining\n".to_owned());
    }
    // Any host name is answered, for health checks; details only under an allowed one, so that a page
    // of another origin cannot read them by DNS rebinding.
    let reads_details = refused_host(&headers, &context.settings.allow_host).is_none()
        && access::reads_details(&context, &client.peer, &headers);
    let state = context.cluster.state();
    let cluster = match &state {
        ClusterState::Off => return (StatusCode::OK, "ready\n".to_owned()),
        ClusterState::Connecting { .. } if !reads_details => "not connected".to_owned(),
        ClusterState::Connected { .. } if !reads_details => "connected".to_owned(),
        ClusterState::Connecting { .. } => {
            format!("{state}; this replica serves its own clients meanwhile")
        }
        ClusterState::Connected { .. } => {
            format!("{state}; other replicas: {}", context.cluster.members().len())
        }
    };
    (StatusCode::OK, format!("ready\ncluster: {cluster}\n"))
}

async fn version() -> impl IntoResponse {
    Json(json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
}

async fn endpoints(State(context): State<Arc<ServerContext>>) -> impl IntoResponse {
    Json(context.endpoints.clone())
}

/// Lists the live connections, oldest first, as a JSON array. The array is generated in parts
/// while the client reads it: it is not a snapshot, and a response holds one part in memory.
/// `?cluster` lists the connections of all replicas.
async fn connections(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    RawQuery(query): RawQuery,
) -> Response {
    let Some(share) = context.listings.take(client.peer.ip()) else {
        let reason = "too many responses to /api/connections under way (64, and 16 to one address)";
        return ApiRefusal::new(reason).response(&context);
    };
    match replicas::is_asked_for(query.as_deref()) {
        Ok(true) => return replicas::list(&context).await,
        Ok(false) => {}
        Err(reason) => return query::bad_request(&reason),
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let first = context.registry.entries_after(0, PART);
    if first.len() < PART {
        // In one piece, with Content-Length.
        let array = ["[", &joined(&first), "]"].concat();
        return (headers, array).into_response();
    }
    let listing = Listing { context, last: Some(0), _share: share };
    (headers, Body::from_stream(stream::iter(listing))).into_response()
}

/// The parts of a long array of connections.
struct Listing {
    context: Arc<ServerContext>,
    /// The identifier of the last listed connection; none when the array is closed.
    last: Option<u64>,
    _share: Share,
}

impl Iterator for Listing {
    type Item = Result<String, Infallible>;

    fn next(&mut self) -> Option<Self::Item> {
        let last = self.last?;
        let entries = self.context.registry.entries_after(last, PART);
        self.last = entries.last().map(|entry| entry.id());
        let opening = if last == 0 { "[" } else { "," };
        Some(Ok(match self.last {
            Some(_) => [opening, &joined(&entries)].concat(),
            // All connections have ended since the first part was counted.
            None if last == 0 => "[]".to_owned(),
            None => "]".to_owned(),
        }))
    }
}

/// An element of the array.
#[derive(Serialize)]
struct Listed {
    #[serde(flatten)]
    connection: Connection,
    #[serde(skip_serializing_if = "Option::is_none")]
    trace_id: Option<String>,
}

/// The objects of an array, without its brackets.
fn joined(entries: &[Arc<Entry>]) -> String {
    let objects = entries.iter().map(|entry| {
        let trace_id = entry.trace().map(|trace| trace.id.to_string());
        let listed = Listed { connection: entry.connection(), trace_id };
        serde_json::to_string(&listed).expect("numbers and texts are JSON")
    });
    objects.collect::<Vec<_>>().join(",")
}
