//! The gateway: WebSocket on one side, an upstream on the other.
//!
//! - [`upgrade`]: a GET request on a route becomes a WebSocket connection
//! - [`handshake`]: the opening handshake (RFC 6455 section 4.2.1)
//! - [`origin`]: the pages that may connect, and the hosts under which requests are answered
//! - [`switching`]: the head of a 101 response as it is written
//! - [`dial`]: the connection to an upstream; [`in_memory`]: one to a built-in service
//! - [`bridge`]: the relay between client and upstream

pub(crate) mod bridge;
pub(crate) mod dial;
pub(crate) mod handshake;
pub(crate) mod in_memory;
pub(crate) mod origin;
pub(crate) mod switching;
pub(crate) mod upgrade;

use std::{net::SocketAddr, sync::Arc};

use self::dial::Target;
use crate::{
    connections::limits::RouteLimit,
    net::proxy::{self, Forwarded},
};

/// A WebSocket path and where it leads.
#[derive(Debug)]
pub(crate) struct Route {
    /// The path of the request.
    pub(crate) path: Arc<str>,
    /// The upstream.
    pub(crate) target: Target,
    /// The subprotocol chosen if it is offered and none is preferred to it.
    pub(crate) protocol: Option<String>,
    /// The version of the PROXY protocol that the upstream is told of the client by.
    pub(crate) proxy: Option<proxy::Version>,
    /// The most connections.
    pub(crate) limit: RouteLimit,
    /// How it is bridged.
    pub(crate) options: Arc<bridge::Options>,
}

/// The client of a request, resolved once.
#[derive(Clone, Debug)]
pub(crate) struct Client {
    /// The client's address, as trusted proxies name it.
    pub(crate) peer: SocketAddr,
    /// The address that the client connected to.
    pub(crate) local: SocketAddr,
    /// Whether the connection is a TLS connection.
    pub(crate) is_tls: bool,
    /// What trusted HTTP proxies say of the request.
    pub(crate) forwarded: Forwarded,
}
