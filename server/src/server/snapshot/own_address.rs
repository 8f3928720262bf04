//! The addresses at which this process reaches its own listeners.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use echogate_proto::endpoint::HostPort;

use crate::{
    server::sockets::{BoundSocket, BoundSockets, Purpose},
    service::Service,
};

/// The address at which this process reaches a service by plain TCP: loopback where its listener
/// is bound to all addresses.
pub(super) fn reachable(sockets: &BoundSockets, service: Service) -> Option<SocketAddr> {
    let at = sockets.iter().find_map(|bound| {
        let role = bound.role;
        let plain = role.purpose == Purpose::Service(service) && !role.tls && !role.once;
        bound.socket.tcp().filter(|_| plain)
    })?;
    let ip = match at.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Some(SocketAddr::new(ip, at.port()))
}

/// The address of `at`, if it leads to a listener of this server by plain TCP: by loopback, or by
/// the address that the listener is bound to.
pub(super) fn own_address(sockets: &BoundSockets, at: &HostPort) -> Option<SocketAddr> {
    let is_service = |bound: &&BoundSocket| matches!(bound.role.purpose, Purpose::Service(_));
    let services = || sockets.iter().filter(is_service);
    let is_own = |to: &SocketAddr| {
        services().filter_map(|bound| bound.socket.tcp()).any(|at| leads(*to, at))
    };
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses = match at.host.parse() {
        Ok(ip) => vec![ip],
        Err(_) if at.host == "localhost" => loopback.to_vec(),
        Err(_) => return None,
    };
    addresses.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, at.port)).find(is_own)
}

/// Whether a connection to `to` reaches a socket that is bound to `at`. A socket bound to all IPv6
/// addresses may be bound to all IPv4 addresses as well.
fn leads(to: SocketAddr, at: SocketAddr) -> bool {
    let is_any = match at.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && to.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    at == to || at.port() == to.port() && is_any && to.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_bound_address_lead_to_a_listener() {
        let leads = |to: &str, at: &str| leads(to.parse().unwrap(), at.parse().unwrap());
        assert!(leads("192.0.2.1:7", "192.0.2.1:7"));
        assert!(leads("127.0.0.1:7", "0.0.0.0:7"));
        assert!(leads("127.0.0.2:7", "[::]:7"));
        assert!(leads("[::1]:7", "[::]:7"));
        assert!(!leads("[::1]:7", "0.0.0.0:7"));
        assert!(!leads("192.0.2.1:7", "0.0.0.0:7"), "it may be another machine");
        assert!(!leads("127.0.0.1:8", "0.0.0.0:7"));
        assert!(!leads("127.0.0.1:7", "127.0.0.2:7"));
    }
}
