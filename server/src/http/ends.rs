//! `POST /api/connections/ID/close` and `POST /api/drain`: the end of one connection, and of the
//! server.

use std::{borrow::Cow, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{IntoResponse, Response},
};
use echogate_proto::{api::Kind, close::CloseCode, reason, ws::frame::MAX_REASON};
use percent_encoding::percent_decode_str;
use tokio::time::timeout;

use super::{
    access::{self, Action},
    query,
    replicas::no_connection,
};
use crate::{
    connections::registry::Entry,
    context::ServerContext,
    gateway::Client,
    runtime::drain::{EndRequest, ServerClose, Stage, request_end_of},
    text::escape::escape,
};

/// The time within which the task of a connection that has just begun runs for the first time.
const BEGINS_WITHIN: Duration = Duration::from_secs(1);

/// Begins the shutdown, as SIGTERM does.
pub(super) async fn drain(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&context, &client, &headers, &Action::Drain) {
        return refused;
    }
    let drain = context.settings.drain;
    tracing::info!(peer = %client.peer, "shutdown requested (POST /api/drain)");
    context.drain_requested.cancel();
    (StatusCode::ACCEPTED, format!("the server ends within {drain:?} (--drain)\n")).into_response()
}

/// Ends a connection: by Close frames and ends of output, or by resets.
pub(super) async fn close(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    if let Some(refused) = refused(&context, &client, &headers, &Action::Close) {
        return refused;
    }
    let Some(entry) = id.parse().ok().and_then(|id| context.registry.entry(id)) else {
        let reason = no_connection(&context, &id);
        return (StatusCode::NOT_FOUND, format!("{reason}\n")).into_response();
    };
    match request(query.as_deref(), &entry) {
        Ok(request) => end(&context, &client, &entry, &request).await,
        Err(reason) => query::bad_request(&reason),
    }
}

/// The response to a client that may not perform an action; `None` for one that may.
fn refused(
    context: &ServerContext,
    client: &Client,
    headers: &HeaderMap,
    action: &Action<'_>,
) -> Option<Response> {
    let reason = access::check(context, &client.peer, headers, action).err()?;
    tracing::info!(peer = %client.peer, "{} refused: {reason}", action.subject());
    Some((StatusCode::FORBIDDEN, format!("{reason}\n")).into_response())
}

async fn end(
    context: &ServerContext,
    client: &Client,
    entry: &Entry,
    request: &EndRequest,
) -> Response {
    let id = entry.id();
    let ServerClose { code, reason } = &request.close;
    let how = match request.stage {
        Stage::Cut => "a reset".to_owned(),
        _ if is_websocket(entry) => format!("Close {} \"{}\"", code.0, escape(reason)),
        _ => "an end of output".to_owned(),
    };
    let groups = [&context.bridges.drain, &context.services.drain];
    let is_open = || context.registry.entry(id).is_some();
    let asked = timeout(BEGINS_WITHIN, request_end_of(groups, id, request, is_open)).await;
    if !asked.unwrap_or(false) {
        let reason = format!(
            "connection {id} cannot be closed: datagrams have no connection, or it has just ended\n"
        );
        return (StatusCode::CONFLICT, reason).into_response();
    }
    let path = format!("/api/connections/{id}/close");
    tracing::info!(id, peer = %client.peer, "end by {how} requested (POST {path})");
    (StatusCode::ACCEPTED, format!("connection {id} is asked to end by {how}\n")).into_response()
}

fn is_websocket(entry: &Entry) -> bool {
    entry.kind() == Kind::WebSocket
}

/// The end that a query asks for: `code` and `reason` of a Close, or `reset`.
fn request(query: Option<&str>, entry: &Entry) -> Result<EndRequest, String> {
    let (mut code, mut reason, mut reset) = (None, None, false);
    for parameter in query::parameters(query)? {
        match parameter {
            ("code", Some(value)) => code = Some(close_code(value)?),
            ("reason", Some(value)) => reason = Some(close_reason(value)?),
            ("reset", None) => reset = true,
            other => {
                let other = query::as_written(other);
                return Err(format!("\"{other}\": expected code=CODE, reason=TEXT or reset"));
            }
        }
    }
    let has_close = code.is_some() || reason.is_some();
    if has_close && reset {
        return Err(
            "a reset sends no Close frame: code and reason cannot be used with reset".to_owned()
        );
    }
    if has_close && !is_websocket(entry) {
        return Err(format!(
            "connection {} is not a WebSocket: code and reason cannot be used",
            entry.id()
        ));
    }
    let close = ServerClose {
        code: code.unwrap_or(CloseCode::GOING_AWAY),
        reason: reason.map_or(reason::BY_OPERATOR.into(), Cow::Owned),
    };
    Ok(EndRequest { stage: if reset { Stage::Cut } else { Stage::Immediate }, close })
}

fn close_code(value: &str) -> Result<CloseCode, String> {
    let code = value.parse().ok().map(CloseCode).filter(|code| code.may_be_sent());
    code.ok_or_else(|| format!("code={}: expected {}", escape(value), CloseCode::SENDABLE))
}

fn close_reason(value: &str) -> Result<String, String> {
    let bytes = value.replace('+', " ");
    let text = percent_decode_str(&bytes).decode_utf8();
    let text = text.map_err(|_| "reason: expected percent-encoded UTF-8".to_owned())?;
    if text.len() > MAX_REASON {
        return Err(format!("reason: {} bytes, expected {MAX_REASON} at most", text.len()));
    }
    Ok(text.into_owned())
}
