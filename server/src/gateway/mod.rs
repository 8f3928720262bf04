//! The gateway: WebSocket on one side, an upstream on the other.
//!
//! - [`upgrade`]: a GET request on a route becomes a WebSocket connection
//! - [`handshake`]: the opening handshake (RFC 6455 section 4.2.1)
//! - [`origin`]: the pages that may connect, and the hosts under which requests are answered
//! - [`switching`]: the head of a 101 response as it is written
//! - [`dial`]: the connection to an upstream; [`in_memory`]: one to a built-in service
//! - [`streams`]: the streams of the two sides of a bridge
//! - [`bridge`]: the relay between a WebSocket client and a byte stream; [`relay`]: the one between
//!   two sides of the same kind; [`websocket`]: the parts that relays with a WebSocket side share
//! - [`datagram_sessions`]: the senders to a bound datagram socket, as clients of a relay

pub(crate) mod bridge;
#[cfg_attr(not(test), expect(dead_code, reason = "no setting leads to it yet"))]
pub(crate) mod datagram_sessions;
pub(crate) mod dial;
pub(crate) mod handshake;
pub(crate) mod in_memory;
pub(crate) mod origin;
pub(crate) mod relay;
pub(crate) mod streams;
pub(crate) mod switching;
pub(crate) mod upgrade;
pub(crate) mod websocket;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use hyper::upgrade::Upgraded;

use self::dial::Upstream;
use crate::{
    connections::{limits::RouteLimit, registry::Peer},
    net::{
        forwarded::Forwarded,
        proxy_protocol::{self, ProxiedAddresses},
        stream::Stream,
    },
};

/// A WebSocket path of the HTTP server, and the upstream that it leads to.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path of the request.
    pub(crate) path: Arc<str>,
    /// The upstream.
    pub(crate) upstream: Upstream,
    /// The subprotocol that is chosen if the client offers it and no preferred one.
    pub(crate) protocol: Option<String>,
    /// The version of the PROXY header that precedes the connection to the upstream.
    pub(crate) proxy: Option<proxy_protocol::Version>,
    /// The limit on connections.
    pub(crate) limit: RouteLimit,
    /// The configuration of the relay.
    pub(crate) config: Arc<bridge::BridgeConfig>,
}

/// The client of a request, with the information of trusted proxies applied.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The client, as reported by trusted proxies.
    pub(crate) peer: Peer,
    /// The address that the client connected to; none for a Unix socket.
    pub(crate) local: Option<SocketAddr>,
    /// Whether the connection is a TLS connection.
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

/// The stream of an upgraded HTTP/1.1 connection, and the bytes read behind the request.
pub(crate) type Reclaimed = (Stream, Vec<u8>);
