//! The upgrade of a request on a route to a WebSocket connection: handshake, policy, permits,
//! dial, 101 response, bridge.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{Extensions, HeaderMap, HeaderName, Request, StatusCode, Uri, header, request::Parts},
    response::{IntoResponse, Response},
};
use echogate_proto::{close::CloseCode, recording::Opened, ws::Role};
use hyper::upgrade::OnUpgrade;
use serde::Deserialize;
use tracing::field::display;

use super::{
    Client, Reclaim, Route,
    dial::DialRequest,
    handshake::{Handshake, ProtocolChoice},
    heads::Heads,
    origin,
    relay::messages::{self, ReadAhead},
    streams::{ClientStream, Http2Stream},
    upstream::{Connected, Upstream, WebSocketStream},
};
use crate::{
    config::{Settings, SideKind},
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
    net::tapped::{TappedClient, TappedUpstream},
    text::escape::escape,
    trace::{Trace, context::TraceContext},
};

/// The refusal of a handshake.
pub(crate) struct Refused {
    /// The status of the response, for programs.
    status: StatusCode,
    /// The status code of the Close frame, for pages, which cannot read the response.
    code: CloseCode,
    pub(crate) reason: String,
    counted_as: Refusal,
    /// Header fields of the response.
    headers: HeaderMap,
}

impl Refused {
    fn new(status: StatusCode, code: CloseCode, reason: String, counted_as: Refusal) -> Refused {
        Refused { status, code, reason, counted_as, headers: HeaderMap::new() }
    }
}

impl From<DialError> for Refused {
    fn from(e: DialError) -> Refused {
        let DialError { status, code, reason, outcome, headers } = e;
        Refused { status, code, reason, counted_as: outcome.refusal(), headers }
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
    let target = &route.target;
    let choice = match target.upstream.kind() {
        SideKind::WebSocket => ProtocolChoice::Upstream,
        SideKind::Stream | SideKind::Datagrams => {
            ProtocolChoice::Framing(target.protocol.as_deref(), target.config.framing)
        }
    };
    let mut handshake = match Handshake::of(&request, choice) {
        Ok(handshake) => handshake,
        Err(error) => return error.into_response(),
    };
    if let Some(refused) = refused_by_policy(&context, &client, &request.headers) {
        target.metrics.refused.count(refused.counted_as);
        return refuse(&context, &client, permit, request, refused);
    }
    let Some(upgrade) = Upgrade::take(&mut request.extensions) else {
        return (StatusCode::BAD_REQUEST, "this connection cannot be upgraded\n").into_response();
    };
    let trace = begin_trace(&context, &route, &client, &request.headers);
    match admit(&context, &route, &client, &permit, &request.headers, &trace).await {
        Ok((connection_permit, exemption, upstream)) => {
            if let Connected::WebSocket(websocket) = &upstream {
                handshake.select(websocket.protocol.as_deref());
            }
            let (label, half_close) = (label(&request.uri), handshake.half_close());
            let response = handshake.response();
            let heads = context
                .observes(route.target.record)
                .then(|| Heads::new(&request, &response).into());
            let setup = BridgeSetup {
                client,
                label,
                connection_permit,
                exemption,
                upstream,
                half_close,
                heads,
                trace,
            };
            bridge_upgraded(&context, &route, upgrade, setup);
            response
        }
        Err(refused) => {
            target.metrics.refused.count(refused.counted_as);
            trace.refused(&refused.reason);
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
    let reason = addressed.refusal(headers)?;
    Some(Refused::new(StatusCode::FORBIDDEN, CloseCode::POLICY, reason, Refusal::Policy))
}

/// Begins the trace of a client's connection.
fn begin_trace(
    context: &ServerContext,
    route: &Route,
    client: &Client,
    headers: &HeaderMap,
) -> Trace {
    Trace::begin(&context.spans, TraceContext::of(headers), &route.path, || {
        vec![
            ("client.address", client.peer.to_string()),
            ("http.route", route.path.to_string()),
            ("echogate.kind", Kind::WebSocket.to_string()),
        ]
    })
}

/// Takes a permit for a client, exempts its connection from the limits on HTTP connections, and
/// dials the upstream.
async fn admit(
    context: &ServerContext,
    Route { path, target }: &Route,
    client: &Client,
    permit: &Arc<HttpPermit>,
    headers: &HeaderMap,
    trace: &Trace,
) -> Result<(ConnectionPermit, Exemption, Connected), Refused> {
    if context.hops.has_passed(path, headers) {
        let reason = "this request has passed this route already: the route leads to itself";
        let status = StatusCode::LOOP_DETECTED;
        return Err(Refused::new(status, CloseCode::POLICY, reason.to_owned(), Refusal::Loop));
    }
    let connection_permit = context.limits.enter(client.peer.ip(), Some(&target.limit))?;
    let exemption = permit.exempt();
    let prelude = target.proxy.map(|version| version.header(client.proxied_addresses()));
    let headers = match &target.upstream {
        Upstream::WebSocket(spec, _) => passed_headers(context, path, &spec.pass, headers),
        _ => HeaderMap::new(),
    };
    let (client, prelude) = (client.peer.clone(), prelude.unwrap_or_default());
    let request = DialRequest { client, trace, prelude, headers };
    let upstream = target.dial(request, context).await?;
    Ok((connection_permit, exemption, upstream))
}

/// The header fields of a client's request that are sent to a WebSocket server: the offered
/// subprotocols, the fields named in `pass`, and the hops so far.
fn passed_headers(
    context: &ServerContext,
    path: &str,
    pass: &[HeaderName],
    request: &HeaderMap,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for name in pass.iter().chain([&header::SEC_WEBSOCKET_PROTOCOL, &header::VIA]) {
        for value in request.get_all(name) {
            headers.append(name, value.clone());
        }
    }
    context.hops.add(path, &mut headers);
    headers
}

/// Answers a request on a route, or on a path without one.
pub(crate) async fn upgrade_if_any(
    route: Option<Arc<Route>>,
    state: State<Arc<ServerContext>>,
    client: Extension<Client>,
    permit: Extension<Arc<HttpPermit>>,
    request: Request<Body>,
) -> Response {
    match route {
        Some(route) => upgrade(route, state, client, permit, request).await,
        None => no_such_route(state, client, permit, request),
    }
}

/// Answers a request on a path without a route.
fn no_such_route(
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
        let reason = format!("no such route: {path}");
        Refused::new(StatusCode::NOT_FOUND, CloseCode::POLICY, reason, Refusal::NoRoute)
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
    let Refused { status, code, reason, counted_as, headers } = refused;
    context.counters.refused(counted_as);
    let path = format!("\"{}\"", escape(request.uri.path()));
    let trace = TraceContext::of(&request.headers);
    let trace_id = trace.map(|trace| display(trace.parent.trace));
    let status_code = status.as_u16();
    tracing::info!(peer = %client.peer, %path, status = status_code, trace_id, "refused: {reason}");
    let is_page = origin::is_page(&request.headers);
    let upgrade = Upgrade::take(&mut request.extensions).filter(|_| is_page);
    // The route's own subprotocol is left out: the response must be the same on every path.
    let handshake = Handshake::of(&request, ProtocolChoice::ANY);
    let (Some(upgrade), Ok(handshake)) = (upgrade, handshake) else {
        let mut response = (status, format!("{reason}\n")).into_response();
        response.headers_mut().extend(headers);
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
    upstream: Connected,
    half_close: bool,
    /// The heads of the handshake, if the connection may be observed.
    heads: Option<Box<Heads>>,
    trace: Trace,
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
        let BridgeSetup { client, label, connection_permit, exemption, upstream, .. } = setup;
        let (half_close, heads) = (setup.half_close, setup.heads);
        let trace = setup.trace.of_connection();
        let gateway = GatewayInfo { label, upstream_from: upstream.local_addr(), trace };
        let info = ConnectionInfo {
            kind: Kind::WebSocket,
            peer: client.peer,
            target: route.target.registered_as.clone(),
            gateway: gateway.if_any(),
        };
        let entry = context.registry.enter(info, Some(connection_permit));
        if upstream.has_frames() {
            entry.upstream_has_frames();
        }
        let is_http2 = matches!(stream, ClientStream::Http2(_));
        context.observe(&entry, route.target.record, |opened| {
            let opened = heads.into_iter().fold(opened, |opened, heads| heads.describe(opened));
            let local = client.local.map(|at| at.to_string());
            Opened { local, upstream: Some(route.target.upstream.to_string()), ..opened }
        });
        let stream = TappedClient::new(stream, &entry, &early);
        let has_datagrams = route.target.upstream.kind() == SideKind::Datagrams;
        let in_runtime = is_http2 || has_datagrams;
        let (config, drain) = (route.target.config.clone(), &context.bridges.drain);
        // Each kind of relay is a task of its own type, and as small as it can be: it exists for as
        // long as the connection.
        match upstream {
            Connected::Stream(upstream) => {
                let negotiated = bridge::Negotiated { config, half_close };
                let role = Role::Server;
                let upstream = TappedUpstream::new(upstream, &entry, b"");
                let relay = bridge::run(role, stream, upstream, &early, negotiated, entry, drain);
                spawn(&context, relay, exemption, in_runtime);
            }
            Connected::WebSocket(WebSocketStream { stream: upstream, early: behind, .. }) => {
                let read_ahead = ReadAhead { client: &early, upstream: &behind };
                let upstream = TappedUpstream::new(upstream, &entry, &behind);
                let relay = messages::run(stream, upstream, read_ahead, config, entry, drain);
                spawn(&context, relay, exemption, in_runtime);
            }
        }
    });
}

/// Carries a relay on an event loop, or in the runtime: hyper's tasks carry the bytes of an HTTP/2
/// stream there, and datagram sockets belong to it.
fn spawn(
    context: &ServerContext,
    relay: impl Future + Send + 'static,
    exemption: Exemption,
    in_runtime: bool,
) {
    if in_runtime {
        context.bridges.tracker.spawn(async move {
            relay.await;
            drop(exemption);
        });
    } else {
        exemption.keep();
        context.spawn_on_loop(&context.bridges, relay);
    }
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
