//! Upstreams, as they are dialled.

use std::{net::SocketAddr, sync::Arc};

use echogate_proto::endpoint::{HostPort, UnixPath};

use super::streams::UpstreamStream;
use crate::{
    config::WebSocketSpec,
    net::{hairpin::Hairpins, proxy::Destination, stream::Stream, tls::client::ClientTls},
    recording::model::Traffic,
    service::backend::ServiceInstance,
};

/// The upstream of a route or a forward, resolved after the listeners are bound.
#[derive(Clone, Debug)]
pub(crate) struct Upstream {
    /// The kind of data that the upstream carries.
    pub(crate) traffic: Traffic,
    /// The URL, as the API and the log show it.
    pub(crate) url: Arc<str>,
    pub(crate) to: UpstreamEndpoint,
}

/// The endpoint of an upstream, as it is dialled.
#[derive(Clone, Debug)]
pub(crate) enum UpstreamEndpoint {
    Tcp(Destination),
    /// A TCP listener of this process.
    Listener(SocketAddr, Hairpins),
    Tls(Destination, Arc<ClientTls>),
    Unix(UnixPath),
    WebSocket(Arc<WebSocketSpec>, Destination),
    Udp(HostPort),
    UnixGram(UnixPath),
    /// A built-in service, in memory.
    Service(ServiceInstance),
}

#[derive(Debug)]
pub(crate) enum Connected {
    /// A stream of bytes, or datagrams.
    Stream(UpstreamStream),
    /// A WebSocket whose opening handshake is complete.
    WebSocket(WebSocketStream),
}

/// The connection to a WebSocket server, after its opening handshake.
#[derive(Debug)]
pub(crate) struct WebSocketStream {
    pub(crate) stream: Stream,
    /// The bytes read after the handshake.
    pub(crate) early: Vec<u8>,
    /// The subprotocol that the server selected.
    pub(crate) protocol: Option<String>,
}

impl Connected {
    /// Whether there are frames of the WebSocket protocol on the connection.
    pub(crate) fn has_frames(&self) -> bool {
        matches!(self, Connected::WebSocket(_))
    }

    /// The subprotocol that a WebSocket server selected.
    pub(crate) fn protocol(&self) -> Option<&str> {
        match self {
            Connected::Stream(_) => None,
            Connected::WebSocket(websocket) => websocket.protocol.as_deref(),
        }
    }

    /// The local address, if this is a TCP connection.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            Connected::Stream(stream) => stream.local_addr(),
            Connected::WebSocket(websocket) => websocket.stream.local_addr().ok(),
        }
    }
}
