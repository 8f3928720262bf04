//! The limit that refuses a connection, and the address by which a connection is counted.

use std::{
    fmt,
    net::{IpAddr, Ipv6Addr},
};

use echogate_proto::reason::{self, fill};

use super::descriptors;
use crate::connections::counters::Refusal;

/// The time after which a client that a limit refuses may try again, in seconds (`Retry-After`).
pub(crate) const RETRY_AFTER: u32 = 5;

/// The limit that refuses a permit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LimitReached {
    /// The maximum number of connections in all.
    Server(u32),
    /// The address or IPv6 network, and its maximum number of connections.
    Address(IpAddr, u32),
    /// The maximum number of connections on the route.
    Route(u32),
    /// The limit on the file descriptors of the process.
    Descriptors,
}

impl fmt::Display for LimitReached {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&match self {
            LimitReached::Server(max) => fill(reason::SERVER_FULL, &[max]),
            LimitReached::Address(ip, max) => {
                let counted = if is_counted_by_network(ip) { "/64" } else { "" };
                let counted = format_args!("{ip}{counted}");
                fill(reason::ADDRESS_FULL, &[&counted as &dyn fmt::Display, max])
            }
            LimitReached::Route(max) => fill(reason::ROUTE_FULL, &[max]),
            LimitReached::Descriptors => fill(reason::NO_DESCRIPTORS, &[&descriptors::max()]),
        })
    }
}

impl LimitReached {
    /// The counter of this refusal in `/metrics`.
    pub(crate) fn refusal(self) -> Refusal {
        match self {
            LimitReached::Server(_) => Refusal::MaxConnections,
            LimitReached::Address(..) => Refusal::MaxPerAddress,
            LimitReached::Route(_) => Refusal::MaxPerRoute,
            LimitReached::Descriptors => Refusal::NoDescriptors,
        }
    }
}

/// The address by which connections from `ip` are counted. An IPv6 address counts as its /64
/// network, since one client may use all addresses of a /64 (RFC 6177). Loopback and link-local
/// addresses count individually, since the link-local network is the same on every link.
pub(crate) fn counted_as(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local() => {
            Ipv6Addr::from_bits(v6.to_bits() >> 64 << 64).into()
        }
        ip => ip,
    }
}

/// Whether `ip`, a result of [`counted_as`], represents a /64 network.
fn is_counted_by_network(ip: &IpAddr) -> bool {
    matches!(ip, IpAddr::V6(v6) if !v6.is_loopback() && !v6.is_unicast_link_local())
}
