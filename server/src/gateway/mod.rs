//! The gateway: connections between the clients of routes and forwards and their upstreams.
//!
//! - [`upgrade`]: a GET request on a route becomes a WebSocket connection
//! - [`handshake`]: the opening handshake (RFC 6455 section 4.2.1); `heads`: its heads, for
//!   observers
//! - [`origin`]: the pages that may connect, and the hosts under which requests are answered
//! - [`switching`]: the head of a 101 response as it is written
//! - [`forward`]: a connection that is passed to an upstream
//! - [`upstream`], [`dial`]: upstreams, and connections to them; [`in_memory`]: one to a built-in
//!   service
//! - [`streams`]: the streams of the two sides of a bridge; [`failure`]: the description of a failed
//!   connection
//! - [`bridge`]: the relay between a WebSocket and a byte stream, in either role; [`relay`]: the one
//!   between two sides of the same kind; [`websocket`]: the parts that relays with a WebSocket side
//!   share; [`masking_key`]: the keys of a client's frames
//! - [`datagram_sessions`]: the senders to a bound datagram socket, as clients of a relay

pub(crate) mod bridge;
pub(crate) mod datagram_sessions;
pub(crate) mod dial;
pub(in crate::gateway) mod failure;
pub(crate) mod forward;
pub(crate) mod handshake;
mod heads;
pub(crate) mod in_memory;
pub(crate) mod masking_key;
pub(crate) mod origin;
pub(crate) mod relay;
pub(crate) mod streams;
pub(crate) mod switching;
#[cfg(test)]
mod test_rig;
pub(crate) mod upgrade;
pub(crate) mod upstream;
pub(crate) mod websocket;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use hyper::upgrade::Upgraded;

use self::upstream::Upstream;
use crate::{
    connections::{
        counters::{Counters, Refusal},
        limits::RouteLimit,
        registry::{Kind, Peer},
        tap::Sides,
        target::{ConnectionTarget, TargetMetrics},
    },
    net::{
        forwarded::Forwarded,
        proxy_protocol::{self, ProxiedAddresses},
        stream::Stream,
    },
};

/// A WebSocket path of the HTTP server, and the upstream that it leads to.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path of the request, or [`ANY_PATH`](crate::config::ANY_PATH).
    pub(crate) path: Arc<str>,
    pub(crate) target: UpstreamTarget,
}

/// A socket whose connections are passed to an upstream.
#[derive(Debug)]
pub(crate) struct Forward {
    /// The transport of the socket.
    pub(crate) kind: Kind,
    pub(crate) target: UpstreamTarget,
}

impl Forward {
    /// The URL of the upstream, as the registry shows it.
    pub(crate) fn name(&self) -> &str {
        &self.target.registered_as.name
    }
}

/// The upstream of a route or a forward, and the terms of its connections.
#[derive(Debug)]
pub(crate) struct UpstreamTarget {
    pub(crate) upstream: Upstream,
    /// The subprotocol ([`TargetSpec`](crate::config::TargetSpec)).
    pub(crate) protocol: Option<String>,
    /// The version of the PROXY header that precedes the connection to the upstream.
    pub(crate) proxy: Option<proxy_protocol::Version>,
    /// The sides of the connections that are recorded.
    pub(crate) record: Option<Sides>,
    /// The target as registry entries refer to it.
    pub(crate) registered_as: Arc<ConnectionTarget>,
    pub(crate) metrics: Arc<TargetMetrics>,
    pub(crate) limit: RouteLimit,
    pub(crate) config: Arc<bridge::BridgeConfig>,
}

impl UpstreamTarget {
    /// Counts a refused client, for the server and for this target.
    pub(crate) fn refused(&self, counters: &Counters, why: Refusal) {
        counters.refused.count(why);
        self.metrics.refused.count(why);
    }
}

/// The client of a request, with the information of trusted proxies applied.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The client, as reported by trusted proxies.
    pub(crate) peer: Peer,
    /// The address that the client connected to; none for a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    pub(crate) is_tls: bool,
    /// The request as trusted HTTP proxies describe it.
    pub(crate) forwarded: Forwarded,
}

impl Client {
    /// The addresses for a PROXY header; none for a process on this machine. The destination is
    /// unspecified if a proxy passed the client on over a Unix socket.
    fn proxied_addresses(&self) -> Option<ProxiedAddresses> {
        let Peer::Address(source) = self.peer else { return None };
        let destination = self.local.unwrap_or_else(|| {
            let unspecified: IpAddr = match source {
                SocketAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
                SocketAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
            };
            (unspecified, 0).into()
        });
        Some(ProxiedAddresses { source, destination })
    }
}

/// Takes the stream of an upgraded HTTP/1.1 connection out of hyper, or gives back the stream of
/// an HTTP/2 connection. An extension of each request: only the layer that drives HTTP connections
/// knows their type.
#[derive(Clone, Copy)]
pub(crate) struct Reclaim(pub(crate) fn(Upgraded) -> Result<Reclaimed, Upgraded>);

/// The stream of an upgraded HTTP/1.1 connection, and the bytes read after the request.
pub(crate) type Reclaimed = (Stream, Vec<u8>);
