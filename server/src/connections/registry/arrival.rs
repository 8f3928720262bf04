//! What is known of a connection when it begins.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use echogate_proto::live::Kind;

/// Who the client is, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    /// One on the network.
    Address(SocketAddr),
    /// A process of this machine, by its number.
    Process(i32),
    /// A socket in the file system.
    Path(Arc<str>),
    /// Nothing is known.
    Unknown,
}

impl Peer {
    /// Its address on the network, if it has one.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Address(address) => Some(address.ip()),
            Peer::Process(_) | Peer::Path(_) | Peer::Unknown => None,
        }
    }

    /// What is known, in words.
    pub(super) fn named(&self) -> Option<String> {
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

/// What is known of a connection when it begins.
#[derive(Clone, Debug)]
pub(crate) struct ConnectionInfo {
    /// The transport.
    pub(crate) kind: Kind,
    /// The client.
    pub(crate) peer: Peer,
    /// The service's name, or the route's path.
    pub(crate) target: Arc<str>,
    /// More about a client of the gateway.
    pub(crate) bridged: Option<Box<GatewayInfo>>,
}

/// What is known of a client of the gateway beside. (In a box: others, of which there
/// are as many, pay nothing for it.)
#[derive(Clone, Debug, Default)]
pub(crate) struct GatewayInfo {
    /// The name that it gave itself.
    pub(crate) label: Option<Box<str>>,
    /// The address from which the gateway called the upstream.
    pub(crate) upstream_from: Option<SocketAddr>,
}

impl GatewayInfo {
    /// Itself, if anything of it is known.
    pub(crate) fn known(self) -> Option<Box<GatewayInfo>> {
        (self.label.is_some() || self.upstream_from.is_some()).then(|| self.into())
    }
}
