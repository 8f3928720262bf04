//! The connection of a forward's client: it is passed to the upstream.

use std::{net::SocketAddr, sync::Arc};

use axum::http::{HeaderMap, HeaderValue, header};
use echogate_proto::ws::{HALF_CLOSE, Role};
use futures_util::FutureExt;

use super::{
    Forward, Target, bridge,
    dial::{DialError, DialRequest},
    relay::streams,
    upstream::{Connected, Upstream, WebSocketStream},
};
use crate::{
    config::SideKind,
    connections::{
        limits::ConnectionPermit,
        registry::{ConnectionInfo, GatewayInfo, Peer},
    },
    context::ServerContext,
    net::{
        proxy_protocol::ProxiedAddresses,
        stream::{Stream, Transport},
    },
};

/// Passes a connection to the upstream. `destination` is the address that the client connected to,
/// where it is known. A client whose upstream cannot be reached is reset.
pub(crate) async fn forward(
    context: Arc<ServerContext>,
    forward: Arc<Forward>,
    mut stream: Stream,
    peer: Peer,
    destination: Option<SocketAddr>,
    permit: ConnectionPermit,
) {
    let upstream = match dial(&context, &forward.target, &peer, destination).await {
        Ok(upstream) => upstream,
        Err(DialError { reason, refusal, .. }) => {
            context.counters.refused(refusal);
            stream.reset_on_drop();
            return tracing::info!(%peer, forward = %forward.name, "refused: {reason}");
        }
    };
    let gateway = GatewayInfo { label: None, upstream_from: upstream.local_addr() };
    let info = ConnectionInfo {
        kind: forward.kind,
        peer,
        target: forward.name.clone(),
        gateway: gateway.if_any(),
    };
    let entry = context.registry.enter(info, Some(permit));
    let target = &forward.target;
    let (config, drain) = (target.config.clone(), &context.bridges.drain);
    match upstream {
        Connected::Stream(upstream) => {
            let relay = streams::run(stream, upstream, config.idle_timeout, entry, drain);
            spawn(&context, relay, target);
        }
        Connected::WebSocket(WebSocketStream { stream: websocket, early, protocol }) => {
            let half_close = protocol.as_deref() == Some(HALF_CLOSE);
            let negotiated = bridge::Negotiated { config, half_close };
            let role = Role::Client;
            let relay = bridge::run(role, websocket, stream, &early, negotiated, entry, drain);
            spawn(&context, relay, target);
        }
    }
}

/// Carries a relay on an event loop, or in the runtime, to which datagram sockets belong.
fn spawn(context: &ServerContext, relay: impl Future + Send + 'static, target: &Target) {
    if target.upstream.kind() == SideKind::Datagrams {
        context.bridges.tracker.spawn(relay.map(drop));
    } else {
        context.spawn_on_loop(&context.bridges, relay);
    }
}

/// Connects to the upstream of a forward for a client.
async fn dial(
    context: &ServerContext,
    target: &Target,
    peer: &Peer,
    destination: Option<SocketAddr>,
) -> Result<Connected, DialError> {
    let addresses = match (peer, destination) {
        (Peer::Address(source), Some(destination)) => {
            Some(ProxiedAddresses { source: *source, destination })
        }
        _ => None,
    };
    let prelude = target.proxy.map(|version| version.header(addresses));
    let mut headers = HeaderMap::new();
    if let Upstream::WebSocket(..) = target.upstream {
        let protocol = target.protocol.as_deref().map(HeaderValue::from_str);
        headers
            .extend(protocol.and_then(Result::ok).map(|it| (header::SEC_WEBSOCKET_PROTOCOL, it)));
        context.hops.add(&mut headers);
    }
    let request =
        DialRequest { client: peer.clone(), prelude: prelude.unwrap_or_default(), headers };
    target.upstream.dial(request, context.settings.dial_timeout).await
}
