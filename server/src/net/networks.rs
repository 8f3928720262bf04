//! IP networks and trusted proxies, as `--proxy-protocol-from` and `--forwarded-from` name them.

use std::{
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use ipnet::IpNet;

use crate::{connections::registry::Peer, text::escape::escape};

/// An IP network as `10.0.0.0/8`, or a single address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(IpNet);

impl Network {
    /// Whether the network contains `at`; an IPv4-mapped IPv6 address counts as IPv4.
    pub(crate) fn contains(&self, at: &SocketAddr) -> bool {
        self.0.contains(&at.ip().to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = network.map_err(|_| {
            let text = escape(text);
            format!("\"{text}\" is not a network: expected one as 10.0.0.0/8, or an address")
        })?;
        if network.trunc() != network {
            let (whole, one) = (network.trunc(), network.addr());
            return Err(format!(
                "\"{text}\" is not a network: expected {whole}, or {one} for one address"
            ));
        }
        // Clients are compared in canonical form, where IPv4-mapped addresses are IPv4.
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let unmapped = mapped.and_then(|(ip, len)| IpNet::new(ip.into(), len).ok());
        Ok(Network(unmapped.unwrap_or(network)))
    }
}

/// A value of `--forwarded-from`: HTTP proxies whose headers name their clients.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TrustedProxy {
    /// The proxies in a network.
    Network(Network),
    /// The proxies that connect to a Unix socket; its permissions say which processes may.
    UnixSocket,
}

impl TrustedProxy {
    /// Whether `peer` is such a proxy.
    pub(crate) fn includes(&self, peer: &Peer) -> bool {
        match (self, peer) {
            (TrustedProxy::Network(network), Peer::Address(at)) => network.contains(at),
            (TrustedProxy::UnixSocket, Peer::Process(_) | Peer::Unknown) => true,
            _ => false,
        }
    }
}

impl FromStr for TrustedProxy {
    type Err = String;

    fn from_str(text: &str) -> Result<TrustedProxy, String> {
        match text {
            "unix" => Ok(TrustedProxy::UnixSocket),
            network => network.parse().map(TrustedProxy::Network),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        for (mapped, ipv4) in
            [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(mapped.parse::<Network>().unwrap(), ipv4.parse().unwrap());
        }
        let all: Network = "::/0".parse().unwrap();
        assert!(all.contains(&"[2001:db8::1]:1".parse().unwrap()));
        assert!(!all.contains(&"10.0.0.1:1".parse().unwrap()), "IPv6 alone");
    }

    #[test]
    fn a_network_is_a_prefix_without_host_bits_or_one_address() {
        assert!("10.0.0.0/8".parse::<Network>().is_ok() && "::1".parse::<Network>().is_ok());
        for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::1/32", "example.com", "10.0.0"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains(wrong));
        }
    }
}
