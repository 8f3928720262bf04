//! What the server tells of itself: `/healthz`, `/readyz`, `/version`,
//! `/api/endpoints`, `/api/connections`.

use std::sync::Arc;

use axum::{
    Json, Router,
    extract::State,
    http::{StatusCode, header},
    response::IntoResponse,
    routing::get,
};
use serde_json::json;

use super::{events::events, metrics::metrics};
use crate::shared::Shared;

/// What monitors ask, under whatever name.
pub(super) fn health() -> Router<Arc<Shared>> {
    Router::new().route("/healthz", get(|| async { "ok\n" })).route("/readyz", get(ready))
}

/// What tells of the server and its clients: for its own page and for monitors that use a host
/// name which no stranger controls.
pub(super) fn router() -> Router<Arc<Shared>> {
    Router::new()
        .route("/version", get(version))
        .route("/api/endpoints", get(endpoints))
        .route("/api/connections", get(connections))
        .route("/api/events", get(events))
        .route("/metrics", get(metrics))
}

/// Whether new connections are welcome: not any more once the end has begun.
async fn ready(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    if shared.ending.is_cancelled() {
        (StatusCode::SERVICE_UNAVAILABLE, "ending\n")
    } else {
        (StatusCode::OK, "ready\n")
    }
}

async fn version() -> impl IntoResponse {
    Json(json!({ "name": env!("CARGO_PKG_NAME"), "version": env!("CARGO_PKG_VERSION") }))
}

async fn endpoints(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    Json(shared.endpoints.clone())
}

async fn connections(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let connections: Vec<_> =
        shared.registry.entries().iter().map(|entry| entry.connection()).collect();
    ([(header::CACHE_CONTROL, "no-store")], Json(connections))
}
