//! The upgrade of a request on a route to a WebSocket connection: handshake, policy, permits,
//! dial, 101 response, bridge.
//!
//! - `refusal`: the response to a handshake that is refused; `pending`: the connection of the request

mod pending;
mod refusal;

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, HeaderName, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use echogate_proto::{close::CloseCode, reason, recording::Opened, ws::Role};
use serde::Deserialize;

pub(crate) use self::refusal::refused_by_policy;
use self::{
    pending::Upgrade,
    refusal::{Refused, no_such_route, refuse},
};
use super::{
    Client, Route,
    dial::DialRequest,
    handshake::{Handshake, ProtocolChoice},
    heads::Heads,
    relay::messages::{self, ReadAhead},
    streams::ClientStream,
    upstream::{Connected, UpstreamEndpoint, WebSocketStream},
};
use crate::{
    connections::{
        counters::Refusal,
        limits::{
            ConnectionPermit,
            http::{Exemption, HttpPermit},
        },
        registry::{ConnectionInfo, GatewayInfo, Kind},
    },
    context::ServerContext,
    gateway::bridge,
    net::tapped::{TappedClient, TappedUpstream},
    recording::model::Traffic,
    trace::{Trace, context::TraceContext},
};

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
    let choice = match target.upstream.traffic {
        Traffic::Messages => ProtocolChoice::Upstream,
        Traffic::Bytes | Traffic::Datagrams => {
            ProtocolChoice::Framing(target.protocol.as_deref(), target.config.framing)
        }
    };
    let mut handshake = match Handshake::of(&request, choice) {
        Ok(handshake) => handshake,
        Err(error) => return error.into_response(),
    };
    if let Some(refused) = refused_by_policy(&context, &client, &request.headers) {
        return refuse(&context, &client, Some(&target.metrics), permit, request, refused);
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
            trace.refused(&refused.reason);
            request.extensions.insert(upgrade.on_upgrade);
            refuse(&context, &client, Some(&target.metrics), permit, request, refused)
        }
    }
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
        let (status, reason) = (StatusCode::LOOP_DETECTED, reason::ROUTE_LOOP.to_owned());
        return Err(Refused::new(status, CloseCode::POLICY, reason, Refusal::Loop));
    }
    let connection_permit = context.limits.enter(client.peer.ip(), Some(&target.limit))?;
    let exemption = permit.exempt()?;
    let prelude = target.proxy.map(|version| version.header(client.proxied_addresses()));
    let headers = match &target.upstream.to {
        UpstreamEndpoint::WebSocket(spec, _) => passed_headers(context, path, &spec.pass, headers),
        _ => HeaderMap::new(),
    };
    let (client, prelude) = (client.peer.clone(), prelude.unwrap_or_default());
    let request = DialRequest { client, trace, prelude, headers };
    let dialled = target.dial(request, context).await;
    let upstream = dialled.map_err(|error| Refused::from(error).of(&target.upstream))?;
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
        let info = ConnectionInfo {
            kind: Kind::WebSocket,
            peer: client.peer,
            target: route.target.registered_as.clone(),
            gateway: GatewayInfo::if_any(upstream.local_addr(), label, trace),
        };
        let entry = context.registry.enter(info, Some(connection_permit));
        if upstream.has_frames() {
            entry.upstream_has_frames();
        }
        let is_http2 = matches!(stream, ClientStream::Http2(_));
        context.observe(&entry, route.target.record, false, |opened| {
            let opened = heads.into_iter().fold(opened, |opened, heads| heads.describe(opened));
            let local = client.local.map(|at| at.to_string());
            let upstream = Some(route.target.upstream.url.to_string());
            Opened { local, upstream, client_has_tls: client.is_tls, ..opened }
        });
        let stream = TappedClient::new(stream, &entry, &early);
        let has_datagrams = route.target.upstream.traffic == Traffic::Datagrams;
        let in_runtime = is_http2 || has_datagrams;
        let (config, drain) = (route.target.config.clone(), &context.bridges.drain);
        // Each kind of relay is spawned as a type of its own: a task takes the memory of its relay
        // alone, for as long as the connection exists.
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

/// Spawns a relay on an event loop, or in the runtime, to which datagram sockets and hyper's tasks for
/// the streams of HTTP/2 belong.
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
