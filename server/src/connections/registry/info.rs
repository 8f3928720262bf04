//! Information about a connection that is known when it is accepted.

use std::{
    fmt,
    net::{IpAddr, SocketAddr},
    sync::Arc,
};

use echogate_proto::api::Kind;

use crate::{connections::target::ConnectionTarget, trace::ConnectionTrace};

/// The identity of a client.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Peer {
    Address(SocketAddr),
    /// The identifier of a process on this machine.
    Process(i32),
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

    /// The description for the API and recordings; none if nothing is known.
    pub(crate) fn description(&self) -> Option<String> {
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
    pub(crate) kind: Kind,
    pub(crate) peer: Peer,
    /// The service, route or forward.
    pub(crate) target: Arc<ConnectionTarget>,
    /// Further information about a client of the gateway.
    pub(crate) gateway: Option<Box<GatewayInfo>>,
}

/// Further information about a client of the gateway, boxed so that other connections do not use
/// memory for it.
#[derive(Debug)]
pub(crate) struct GatewayInfo {
    /// The local address of the connection to the upstream.
    pub(super) upstream_from: Option<SocketAddr>,
    /// The label and the trace, boxed because few connections have them.
    pub(super) tags: Option<Box<Tags>>,
}

/// The label and the trace of a connection.
#[derive(Debug)]
pub(super) struct Tags {
    /// The name that the client gave itself (`?label=`).
    pub(super) label: Option<Box<str>>,
    /// The trace that the connection is a part of.
    pub(super) trace: Option<ConnectionTrace>,
}

impl GatewayInfo {
    /// The information, if there is any.
    pub(crate) fn if_any(
        upstream_from: Option<SocketAddr>,
        label: Option<Box<str>>,
        trace: Option<ConnectionTrace>,
    ) -> Option<Box<GatewayInfo>> {
        let is_tagged = label.is_some() || trace.is_some();
        let tags = is_tagged.then(|| Tags { label, trace }.into());
        let has_any = is_tagged || upstream_from.is_some();
        has_any.then(|| GatewayInfo { upstream_from, tags }.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_information_about_a_client_without_tags_is_small() {
        // The allocator has sizes of 48 and 64 bytes.
        assert!(size_of::<GatewayInfo>() <= 48, "{}", size_of::<GatewayInfo>());
    }
}
