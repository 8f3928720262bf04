//! The refusal of an opening handshake: as a response, or for pages as a Close frame.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::State,
    http::{HeaderMap, Request, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use echogate_proto::{
    close::CloseCode,
    reason::{self, fill},
};
use tracing::field::display;

use super::pending::Upgrade;
use crate::{
    config::Settings,
    connections::{
        counters::Refusal,
        limits::{LimitReached, RETRY_AFTER, http::HttpPermit},
        target::TargetMetrics,
    },
    context::ServerContext,
    gateway::{
        Client, bridge,
        dial::DialError,
        handshake::{Handshake, ProtocolChoice},
        origin,
        upstream::{Upstream, UpstreamEndpoint},
    },
    text::escape::escape,
    trace::context::TraceContext,
};

/// The refusal of an opening handshake.
pub(crate) struct Refused {
    /// The status of the response, for programs.
    status: StatusCode,
    /// The status code of the Close frame, for pages, which cannot read the response.
    code: CloseCode,
    pub(crate) reason: String,
    counted_as: Refusal,
    /// Header fields of the response.
    headers: HeaderMap,
    /// The upstream that could not be dialled, for the log.
    upstream: Option<String>,
}

impl Refused {
    pub(super) fn new(
        status: StatusCode,
        code: CloseCode,
        reason: String,
        counted_as: Refusal,
    ) -> Refused {
        Refused { status, code, reason, counted_as, headers: HeaderMap::new(), upstream: None }
    }

    /// Adds the upstream for the log, without the query of its URL, which may contain a secret.
    pub(super) fn of(self, upstream: &Upstream) -> Refused {
        let upstream = match &upstream.to {
            UpstreamEndpoint::WebSocket(spec, _) => spec.without_query(),
            _ => upstream.url.to_string(),
        };
        Refused { upstream: Some(upstream), ..self }
    }
}

impl From<DialError> for Refused {
    fn from(e: DialError) -> Refused {
        let DialError { status, code, reason, outcome, headers } = e;
        Refused { headers, ..Refused::new(status, code, reason, outcome.refusal()) }
    }
}

impl From<LimitReached> for Refused {
    fn from(limit: LimitReached) -> Refused {
        let mut refused = Refused::new(
            StatusCode::SERVICE_UNAVAILABLE,
            CloseCode::TRY_AGAIN_LATER,
            limit.to_string(),
            limit.refusal(),
        );
        refused.headers.insert(header::RETRY_AFTER, RETRY_AFTER.into());
        refused
    }
}

/// The refusal of a page that may not connect; the same on every path, with a route or without.
pub(crate) fn refused_by_policy(
    context: &ServerContext,
    client: &Client,
    headers: &HeaderMap,
) -> Option<Refused> {
    let Settings { allow_host, allow_origin, .. } = &context.settings;
    let check = origin::OriginCheck {
        is_tls: client.is_tls,
        forwarded: Some(&client.forwarded),
        hosts: allow_host,
        origins: allow_origin,
    };
    let reason = check.refusal(headers)?;
    Some(Refused::new(StatusCode::FORBIDDEN, CloseCode::POLICY, reason, Refusal::Policy))
}

/// Answers a request on a path without a route.
pub(super) fn no_such_route(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    request: Request<Body>,
) -> Response {
    let (request, _) = request.into_parts();
    let path = escape(request.uri.path());
    if Handshake::of(&request, ProtocolChoice::ANY).is_err() {
        return (StatusCode::NOT_FOUND, format!("no such path: {path}\n")).into_response();
    }
    // A page that may not connect must not find out which routes exist.
    let refused = refused_by_policy(&context, &client, &request.headers).unwrap_or_else(|| {
        let reason = fill(reason::NO_ROUTE, &[&path]);
        Refused::new(StatusCode::NOT_FOUND, CloseCode::POLICY, reason, Refusal::NoRoute)
    });
    refuse(&context, &client, None, permit, request, refused)
}

/// Refuses a client: with an error response, or, if a page sent the request, with a 101 response
/// and a Close frame after it. The connection of a page keeps its permit until it is closed. The refusal
/// of a page is counted at that time, in the total and, if the path has a route, in the metrics of its
/// `target`, under one reason: its own, or that for which the permit was revoked before.
pub(super) fn refuse(
    context: &Arc<ServerContext>,
    client: &Client,
    target: Option<&Arc<TargetMetrics>>,
    permit: Arc<HttpPermit>,
    mut request: Parts,
    refused: Refused,
) -> Response {
    let Refused { status, code, reason, counted_as, headers, upstream } = refused;
    let path = format!("\"{}\"", escape(request.uri.path()));
    let trace = TraceContext::of(&request.headers);
    let trace_id = trace.map(|trace| display(trace.parent.trace));
    let status_code = status.as_u16();
    let upstream = upstream.map(display);
    tracing::info!(
        peer = %client.peer, %path, upstream, status = status_code, trace_id, "refused: {reason}"
    );
    let (counters, target) = (context.counters.clone(), target.cloned());
    let count = move |why| {
        counters.refused.count(why);
        if let Some(target) = target {
            target.refused.count(why);
        }
    };
    let is_page = origin::is_page(&request.headers);
    let upgrade = Upgrade::take(&mut request.extensions).filter(|_| is_page);
    // The route's own subprotocol is left out: the response must be the same on every path.
    let handshake = Handshake::of(&request, ProtocolChoice::ANY);
    let (Some(upgrade), Ok(handshake)) = (upgrade, handshake) else {
        count(counted_as);
        let mut response = (status, format!("{reason}\n")).into_response();
        response.headers_mut().extend(headers);
        return response;
    };
    context.bridges.tracker.spawn(async move {
        let closed = async {
            if let Some((stream, _)) = upgrade.finish().await {
                bridge::reject(stream, code, &reason).await;
            }
        };
        count(tokio::select! {
            () = closed => counted_as,
            revoked_for = permit.revoked() => revoked_for,
        });
    });
    handshake.response()
}
