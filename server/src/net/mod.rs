//! Sockets of every family, TLS, and the addresses that proxies name.
//!
//! - [`listener`], [`datagram_socket`]: bound sockets of every family; [`datagram_reception`]: what
//!   they receive; [`connected_datagrams`]: connected datagram sockets; [`datagram_upstream`]: one of
//!   them as an upstream; `packet_info`: the local address of a datagram; `unread`: peers of Unix
//!   sockets that do not read; [`socket_file`]: the files of Unix sockets; [`own_sockets`]: this
//!   server's datagram sockets; [`descriptor_stream`]: descriptors passed between processes
//! - [`stream`]: byte streams of clients and upstreams; [`tapped`]: transports whose bytes observers
//!   see; [`tls`]; [`length_prefix`]: the records of a byte stream
//! - [`resolve`]: host names to addresses; [`happy_eyeballs`]: a TCP connection to one of a
//!   host's addresses; [`proxy`]: one through a proxy
//! - [`hairpin`]: connections of the gateway to this server's own listeners
//! - [`proxy_protocol`]: PROXY headers; [`forwarded`]: `X-Forwarded-*` and `Forwarded`;
//!   [`networks`]: the networks of trusted proxies
//! - [`authority`]: hosts and ports as in the headers `Host` and `Origin`
//! - [`websocket`]: the opening handshake of a WebSocket as its client; [`request_header`]: fields that a
//!   user adds to its request; [`hops`]: loops of requests through this server
//! - `otlp_client`: the HTTP client that sends spans (feature `otlp`)

pub(crate) mod authority;
pub(crate) mod connected_datagrams;
pub(crate) mod datagram_reception;
pub(crate) mod datagram_socket;
pub(crate) mod datagram_upstream;
pub(crate) mod descriptor_stream;
pub(crate) mod forwarded;
pub(crate) mod hairpin;
pub(crate) mod happy_eyeballs;
pub(crate) mod hops;
pub(crate) mod length_prefix;
pub(crate) mod listener;
pub(crate) mod networks;
#[cfg(feature = "otlp")]
pub(crate) mod otlp_client;
pub(crate) mod own_sockets;
mod packet_info;
pub(crate) mod proxy;
pub(crate) mod proxy_protocol;
pub(crate) mod request_header;
pub(crate) mod resolve;
pub(crate) mod socket_file;
pub(crate) mod stream;
pub(crate) mod tapped;
pub(crate) mod tls;
mod unread;
pub(crate) mod websocket;

use std::net::SocketAddr;

/// The address with an IPv4-mapped IPv6 address as IPv4: a dual-stack socket reports IPv4 peers as
/// IPv4-mapped. The port is kept; the zone of an IPv6 address is dropped.
fn canonical(at: SocketAddr) -> SocketAddr {
    SocketAddr::new(at.ip().to_canonical(), at.port())
}
