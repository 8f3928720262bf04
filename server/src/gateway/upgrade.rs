//! The upgrade of a request on a route to a WebSocket connection: handshake, policy, permits,
//! dial, 101 response, bridge.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{Extensions, HeaderMap, Request, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use echogate_proto::{close::CloseCode, framing::Framing};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;

use super::{
    Client, Reclaim, Route,
    handshake::Handshake,
    origin,
    streams::{ClientStream, Http2Stream, UpstreamStream},
};
use crate::{
    config::Settings,
    connections::{
        counters::Refusal,
        limits::{
            ConnectionPermit, LimitReached,
            http::{Exemption, HttpPermit},
        },
        registry::{ConnectionInfo, GatewayInfo, Kind},
    },
    context::ServerContext,
    gateway::{bridge, dial::DialError},
    text::escape::escape,
};

/// The refusal of a handshake.
pub(crate) struct Refused {
    /// The status of the response, for programs.
    status: StatusCode,
    /// The status code of the Close frame, for pages, which cannot read the response.
    code: CloseCode,
    pub(crate) reason: String,
    counted_as: Refusal,
}

impl From<DialError> for Refused {
    fn from(e: DialError) -> Refused {
        Refused { status: e.status, code: e.code, reason: e.reason, counted_as: e.refusal }
    }
}

impl From<LimitReached> for Refused {
    fn from(limit: LimitReached) -> Refused {
        Refused {
            status: StatusCode::SERVICE_UNAVAILABLE,
            code: CloseCode::TRY_AGAIN_LATER,
            reason: limit.to_string(),
            counted_as: limit.refusal(),
        }
    }
}

/// The value of `Retry-After`, in seconds, for a client that is refused by a limit.
const RETRY_AFTER: u32 = 5;

/// Answers a request on a route.
pub(crate) async fn upgrade(
    route: Arc<Route>,
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    request: Request<Body>,
) -> Response {
    let (mut request, _) = request.into_parts();
    let handshake = match Handshake::of(&request, route.protocol.as_deref(), route.config.framing) {
        Ok(handshake) => handshake,
        Err(error) => return error.into_response(),
    };
    if let Some(refused) = refused_by_policy(&context, &client, &request.headers) {
        return refuse(&context, &client, permit, request, refused);
    }
    let Some(upgrade) = Upgrade::take(&mut request.extensions) else {
        return (StatusCode::BAD_REQUEST, "this connection cannot be upgraded\n").into_response();
    };
    match admit(&context, &route, &client, &permit).await {
        Ok((connection_permit, exemption, upstream)) => {
            let (label, half_close) = (label(&request.uri), handshake.half_close());
            let setup =
                BridgeSetup { client, label, connection_permit, exemption, upstream, half_close };
            bridge_upgraded(&context, &route, upgrade, setup);
            handshake.response()
        }
        Err(refused) => {
            request.extensions.insert(upgrade.on_upgrade);
            refuse(&context, &client, permit, request, refused)
        }
    }
}

/// The refusal of a page that may not connect; the same on every path, with a route or without.
pub(crate) fn refused_by_policy(
    context: &ServerContext,
    client: &Client,
    headers: &HeaderMap,
) -> Option<Refused> {
    let Settings { allow_host, allow_origin, .. } = &context.settings;
    let addressed = origin::Addressed {
        is_tls: client.is_tls,
        forwarded: Some(&client.forwarded),
        hosts: allow_host,
        origins: allow_origin,
    };
    Some(Refused {
        status: StatusCode::FORBIDDEN,
        code: CloseCode::POLICY,
        reason: addressed.refusal(headers)?,
        counted_as: Refusal::Policy,
    })
}

/// Takes a permit for a client, exempts its connection from the limits on HTTP connections, and
/// dials the upstream.
async fn admit(
    context: &ServerContext,
    route: &Route,
    client: &Client,
    permit: &Arc<HttpPermit>,
) -> Result<(ConnectionPermit, Exemption, UpstreamStream), Refused> {
    let connection_permit = context.limits.enter(client.peer.ip(), Some(&route.limit))?;
    let exemption = permit.exempt();
    let header = route.proxy.map(|version| version.header(client.proxied_addresses()));
    let (peer, within) = (client.peer.clone(), context.settings.dial_timeout);
    let upstream = route.upstream.dial(peer, within, &header.unwrap_or_default()).await?;
    Ok((connection_permit, exemption, upstream))
}

/// Answers a request on a path without a route.
pub(crate) async fn no_such_route(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    request: Request<Body>,
) -> Response {
    let (request, _) = request.into_parts();
    let path = escape(request.uri.path());
    if Handshake::of(&request, None, Framing::default()).is_err() {
        return (StatusCode::NOT_FOUND, format!("no such path: {path}\n")).into_response();
    }
    // A page that may not connect must not find out which routes exist.
    let refused =
        refused_by_policy(&context, &client, &request.headers).unwrap_or_else(|| Refused {
            status: StatusCode::NOT_FOUND,
            code: CloseCode::POLICY,
            reason: format!("no such route: {path}"),
            counted_as: Refusal::NoRoute,
        });
    refuse(&context, &client, permit, request, refused)
}

/// Refuses a client: with an error response, or, if a page sent the request, with a 101 response
/// and a Close frame behind it. The connection of a page keeps its permit until it is closed.
fn refuse(
    context: &Arc<ServerContext>,
    client: &Client,
    permit: Arc<HttpPermit>,
    mut request: Parts,
    refused: Refused,
) -> Response {
    let Refused { status, code, reason, counted_as } = refused;
    context.counters.refused(counted_as);
    let path = format!("\"{}\"", escape(request.uri.path()));
    tracing::info!(peer = %client.peer, %path, status = status.as_u16(), "refused: {reason}");
    let is_page = origin::is_page(&request.headers);
    let upgrade = Upgrade::take(&mut request.extensions).filter(|_| is_page);
    // The route's own subprotocol is left out: the response must be the same on every path.
    let handshake = Handshake::of(&request, None, Framing::default());
    let (Some(upgrade), Ok(handshake)) = (upgrade, handshake) else {
        let mut response = (status, format!("{reason}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        return response;
    };
    let counters = context.counters.clone();
    context.bridges.tracker.spawn(async move {
        let closed = async {
            if let Some((stream, _)) = upgrade.finish().await {
                bridge::reject(stream, code, &reason).await;
            }
        };
        tokio::select! {
            () = closed => {}
            reason = permit.revoked() => counters.refused(reason),
        }
    });
    handshake.response()
}

/// The longest label, in bytes.
const MAX_LABEL: usize = 64;

/// The label in the query (`?label=`), by which a client finds its own connection in the API:
/// visible ASCII of at most [`MAX_LABEL`] bytes.
fn label(uri: &Uri) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Parameters {
        label: Box<str>,
    }
    let Query(Parameters { label }) = Query::try_from_uri(uri).ok()?;
    let fits = (1..=MAX_LABEL).contains(&label.len());
    (fits && label.bytes().all(|byte| byte.is_ascii_graphic())).then_some(label)
}

/// The client, the upstream and the negotiated terms of a bridge.
struct BridgeSetup {
    client: Client,
    label: Option<Box<str>>,
    connection_permit: ConnectionPermit,
    exemption: Exemption,
    upstream: UpstreamStream,
    half_close: bool,
}

/// Bridges the connection as soon as the 101 response is written.
fn bridge_upgraded(
    context: &Arc<ServerContext>,
    route: &Arc<Route>,
    upgrade: Upgrade,
    setup: BridgeSetup,
) {
    let (context, route) = (context.clone(), route.clone());
    context.bridges.tracker.clone().spawn(async move {
        let Some((stream, early)) = upgrade.finish().await else { return };
        let BridgeSetup { client, label, connection_permit, exemption, upstream, half_close } =
            setup;
        let gateway = GatewayInfo { label, upstream_from: upstream.local_addr() };
        let info = ConnectionInfo {
            kind: Kind::WebSocket,
            peer: client.peer,
            target: route.path.clone(),
            gateway: gateway.if_any(),
        };
        let entry = context.registry.enter(info, Some(connection_permit));
        let is_http2 = matches!(stream, ClientStream::Http2(_));
        let negotiated = bridge::Negotiated { config: route.config.clone(), half_close };
        let bridge =
            bridge::run(stream, upstream, &early, negotiated, entry, &context.bridges.drain);
        // The bridge gets a task of its own, smaller than this one: it exists for as long as the
        // connection.
        if is_http2 {
            // hyper's tasks carry the bytes of an HTTP/2 stream, so the bridge stays in the same
            // runtime.
            context.bridges.tracker.spawn(async move {
                bridge.await;
                drop(exemption);
            });
        } else {
            exemption.keep();
            context.spawn_on_loop(&context.bridges, bridge);
        }
    });
}

/// A connection that is upgraded as soon as its 101 response is written.
struct Upgrade {
    on_upgrade: OnUpgrade,
    reclaim: Reclaim,
}

impl Upgrade {
    /// Takes the upgrade of a request; `None` if its connection cannot be upgraded.
    fn take(extensions: &mut Extensions) -> Option<Upgrade> {
        let reclaim = *extensions.get()?;
        extensions.remove().map(|on_upgrade| Upgrade { on_upgrade, reclaim })
    }

    /// Waits for the 101 response to be written. Returns the stream of the connection, and the bytes
    /// read behind the request.
    async fn finish(self) -> Option<(ClientStream, Vec<u8>)> {
        let upgraded = self
            .on_upgrade
            .await
            .inspect_err(|e| tracing::debug!("the connection ended before its upgrade: {e}"))
            .ok()?;
        Some(match (self.reclaim.0)(upgraded) {
            Ok((stream, read)) => (ClientStream::Net(stream), read),
            Err(upgraded) => (ClientStream::Http2(Http2Stream::new(upgraded)), Vec::new()),
        })
    }
}
