//! The clients of a forward, whose data is passed to the upstream.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, header};
use echogate_proto::{
    recording::Opened,
    ws::{HALF_CLOSE, Role},
};
use futures_util::FutureExt;

use super::{
    Forward, UpstreamTarget,
    bridge::{self, BridgeConfig, Negotiated},
    datagram_sessions::DatagramSession,
    dial::{DialError, DialRequest},
    relay::streams,
    streams::UpstreamStream,
    upstream::{Connected, UpstreamEndpoint, WebSocketStream},
};
use crate::{
    connections::{
        limits::ConnectionPermit,
        registry::{ConnectionInfo, GatewayInfo, Peer, RegistryGuard},
    },
    context::ServerContext,
    net::{
        length_prefix::LengthPrefixed,
        proxy_protocol::ProxiedAddresses,
        stream::{Stream, Transport},
        tapped::{TappedClient, TappedUpstream},
    },
    runtime::drain::Drain,
    trace::Trace,
};

#[derive(Debug)]
pub(crate) enum ForwardClient {
    Stream(Stream),
    /// The datagrams of one sender.
    Session(DatagramSession),
}

/// Passes a client's data to the upstream and back. `destination` is the address that the client
/// connected to, where it is known. A client whose upstream cannot be reached is reset.
pub(crate) async fn forward(
    context: Arc<ServerContext>,
    forward: Arc<Forward>,
    mut client: ForwardClient,
    peer: Peer,
    destination: Option<SocketAddr>,
    permit: ConnectionPermit,
) {
    let trace = Trace::begin(&context.spans, None, forward.name(), || {
        vec![("client.address", peer.to_string()), ("echogate.kind", forward.kind.to_string())]
    });
    let upstream = match dial(&context, &forward, &peer, destination, &trace).await {
        Ok(upstream) => upstream,
        Err(DialError { reason, outcome, .. }) => {
            trace.refused(&reason);
            forward.target.refused(&context.counters, outcome.refusal());
            if let ForwardClient::Stream(stream) = &mut client {
                stream.reset_on_drop();
            }
            return tracing::info!(%peer, forward = %forward.name(), "refused: {reason}");
        }
    };
    let info = ConnectionInfo {
        kind: forward.kind,
        peer,
        target: forward.target.registered_as.clone(),
        gateway: GatewayInfo::if_any(upstream.local_addr(), None, trace.of_connection()),
    };
    let entry = context.registry.enter(info, Some(permit));
    let protocol = upstream.protocol().map(str::to_owned);
    if upstream.has_frames() {
        entry.upstream_has_frames();
    }
    context.observe(&entry, forward.target.record, false, |opened| Opened {
        local: destination.map(|at| at.to_string()),
        upstream: Some(forward.target.upstream.url.to_string()),
        protocol,
        ..opened
    });
    relay(&context, client, upstream, &forward.target, entry);
}

/// Starts the relay between two sides. Relays with a datagram socket are in the runtime, to which
/// such sockets belong, and all others on event loops.
fn relay(
    context: &ServerContext,
    client: ForwardClient,
    upstream: Connected,
    target: &UpstreamTarget,
    entry: RegistryGuard,
) {
    use Connected::{Stream, WebSocket};
    use ForwardClient::Session;

    let (config, drain) = (target.config.clone(), &context.bridges.drain);
    let (idle, prefix) = (config.idle_timeout, config.framing_options.prefix);
    let counters = &context.counters;
    match (client, upstream) {
        (ForwardClient::Stream(client), Stream(UpstreamStream::Datagrams(upstream))) => {
            let client =
                LengthPrefixed::new(TappedClient::new(client, &entry, b""), prefix, counters);
            let upstream = TappedUpstream::new(*upstream, &entry, b"");
            in_runtime(context, streams::run(client, upstream, idle, entry, drain));
        }
        (ForwardClient::Stream(client), Stream(upstream)) => {
            let client = TappedClient::new(client, &entry, b"");
            let upstream = TappedUpstream::new(upstream, &entry, b"");
            let relay = streams::run(client, upstream, idle, entry, drain);
            context.spawn_on_loop(&context.bridges, relay);
        }
        (Session(client), Stream(UpstreamStream::Datagrams(upstream))) => {
            let client = TappedClient::new(client, &entry, b"");
            let upstream = TappedUpstream::new(*upstream, &entry, b"");
            in_runtime(context, streams::run(client, upstream, idle, entry, drain));
        }
        (Session(client), Stream(upstream)) => {
            let client = TappedClient::new(client, &entry, b"");
            let upstream = TappedUpstream::new(upstream, &entry, b"");
            let upstream = LengthPrefixed::new(upstream, prefix, counters);
            in_runtime(context, streams::run(client, upstream, idle, entry, drain));
        }
        (ForwardClient::Stream(client), WebSocket(upstream)) => {
            let relay = bridge_to(upstream, client, config, entry, drain);
            context.spawn_on_loop(&context.bridges, relay);
        }
        (Session(client), WebSocket(upstream)) => {
            in_runtime(context, bridge_to(upstream, client, config, entry, drain));
        }
    }
}

/// The bridge between a WebSocket server and the client of a forward.
fn bridge_to<C: Transport>(
    upstream: WebSocketStream,
    client: C,
    config: Arc<BridgeConfig>,
    entry: RegistryGuard,
    drain: &Drain,
) -> impl Future + use<C> {
    let WebSocketStream { stream, early, protocol } = upstream;
    let half_close = protocol.as_deref() == Some(HALF_CLOSE);
    let negotiated = Negotiated { config, half_close };
    let client = TappedClient::new(client, &entry, b"");
    let upstream = TappedUpstream::new(stream, &entry, &early);
    bridge::run(Role::Client, upstream, client, &early, negotiated, entry, drain)
}

fn in_runtime(context: &ServerContext, relay: impl Future + Send + 'static) {
    context.bridges.tracker.spawn(relay.map(drop));
}

async fn dial(
    context: &ServerContext,
    forward: &Forward,
    peer: &Peer,
    destination: Option<SocketAddr>,
    trace: &Trace,
) -> Result<Connected, DialError> {
    let target = &forward.target;
    let addresses = match (peer, destination) {
        (Peer::Address(source), Some(destination)) => {
            Some(ProxiedAddresses { source: *source, destination })
        }
        _ => None,
    };
    let prelude = target.proxy.map(|version| version.header(addresses));
    let mut headers = HeaderMap::new();
    if let UpstreamEndpoint::WebSocket(..) = target.upstream.to {
        let protocol = target.protocol.as_deref().map(HeaderValue::from_str);
        headers
            .extend(protocol.and_then(Result::ok).map(|it| (header::SEC_WEBSOCKET_PROTOCOL, it)));
        context.hops.add(forward.name(), &mut headers);
    }
    let prelude = prelude.unwrap_or_default();
    let request = DialRequest { client: peer.clone(), trace, prelude, headers };
    target.dial(request, context).await
}
