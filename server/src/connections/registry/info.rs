//! Information about a connection that is known when it is accepted.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use echogate_proto::api::Kind;

use crate::{connections::target::ConnectionTarget, trace::ConnectionTrace};

/// A client, as far as it is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// A network address.
    Address(SocketAddr),
    /// The identifier of a process on this machine.
    Process(i32),
    /// The path of a Unix socket.
    Path(Arc<str>),
    /// An unnamed Unix socket whose process is not known.
    Unknown,
}

impl Peer {
    /// The IP address, if the client has one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Address(address) => Some(address.ip()),
            Peer::Process(_) | Peer::Path(_) | Peer::Unknown => None,
        }
    }

    /// The description for the API; none if nothing is known.
    pub(super) fn description(&self) -> Option<String> {
        (*self != Peer::Unknown).then(|| self.to_string())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "{address}"),
            Peer::Process(id) => write!(f, "process {id}"),
            Peer::Path(path) => f.write_str(path),
            Peer::Unknown => f.write_str("-"),
        }
    }
}

/// Information about a connection that is known when it is accepted.
#[derive(Debug)]
pub(crate) struct ConnectionInfo {
    /// The transport.
    pub(crate) kind: Kind,
    /// The client.
    pub(crate) peer: Peer,
    /// The service, route or forward.
    pub(crate) target: Arc<ConnectionTarget>,
    /// Further information about a client of the gateway.
    pub(crate) gateway: Option<Box<GatewayInfo>>,
}

/// Further information about a client of the gateway. In a box, so that other connections do not
/// pay for it.
#[derive(Debug, Default)]
pub(crate) struct GatewayInfo {
    /// The name that the client gave itself (`?label=`).
    pub(crate) label: Option<Box<str>>,
    /// The local address of the connection to the upstream.
    pub(crate) upstream_from: Option<SocketAddr>,
    /// The trace that the connection is a part of.
    pub(crate) trace: Option<Box<ConnectionTrace>>,
}

impl GatewayInfo {
    /// The information in a box, if there is any.
    pub(crate) fn if_any(self) -> Option<Box<GatewayInfo>> {
        let has_any = self.label.is_some() || self.upstream_from.is_some() || self.trace.is_some();
        has_any.then(|| self.into())
    }
}
