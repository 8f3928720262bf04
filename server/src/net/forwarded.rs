//! The headers by which HTTP proxies name their clients: `X-Forwarded-*` and `Forwarded`
//! (RFC 7239). Any client can write them, so they are read only from trusted proxies.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use axum::http::HeaderMap;

use super::{authority::Authority, canonical, networks::TrustedProxy};
use crate::connections::registry::Peer;

/// The client of an HTTP request, as the trusted proxies name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client; the port of its address is 0 where no proxy wrote one.
    pub(crate) client: Peer,
    /// The authority that the client addressed.
    pub(crate) host: Option<Authority>,
    /// The scheme that the client used: `http` or `https`.
    pub(crate) scheme: Option<&'static str>,
}

/// Resolves the client of a request that arrived from `peer` by `X-Forwarded-For`,
/// `X-Forwarded-Host` and `X-Forwarded-Proto`; without `X-Forwarded-For`, by `Forwarded`.
///
/// Each proxy appends the address of its own client. The list is therefore walked from its end, as
/// long as the current address is that of a trusted proxy; an element that is not an address ends
/// the walk. Host and scheme are those that the outermost trusted proxy wrote.
pub(crate) fn resolve(headers: &HeaderMap, peer: &Peer, trusted: &[TrustedProxy]) -> Forwarded {
    let is_trusted = |peer: &Peer| trusted.iter().any(|proxy| proxy.includes(peer));
    if !is_trusted(peer) {
        return Forwarded { client: peer.clone(), host: None, scheme: None };
    }
    let is_rfc_7239 = headers.contains_key("forwarded") && !headers.contains_key("x-forwarded-for");
    let (hops, hosts, schemes) = if is_rfc_7239 {
        let elements = elements(headers, "forwarded");
        let all = |name| elements.iter().map(|of| parameter(of, name)).collect::<Vec<_>>();
        (all("for"), all("host"), all("proto"))
    } else {
        let all = |name| elements(headers, name).into_iter().map(Some).collect::<Vec<_>>();
        (all("x-forwarded-for"), all("x-forwarded-host"), all("x-forwarded-proto"))
    };
    let (mut client, mut proxies) = (peer.clone(), 0);
    for hop in hops.into_iter().rev() {
        let (true, Some(address)) = (is_trusted(&client), hop.and_then(parse_hop)) else { break };
        client = Peer::Address(address);
        proxies += 1;
    }
    // A proxy appends to these lists or replaces them.
    let outermost = |list: Vec<Option<&[u8]>>| {
        let from_end = proxies.clamp(1, list.len().max(1));
        let written = list.iter().rev().nth(from_end - 1).copied().flatten();
        written.map(|bytes| String::from_utf8_lossy(bytes).into_owned())
    };
    Forwarded {
        client,
        host: outermost(hosts).and_then(|host| Authority::parse(&host)),
        scheme: outermost(schemes).and_then(|scheme| match scheme.to_ascii_lowercase().as_str() {
            "http" | "ws" => Some("http"),
            "https" | "wss" => Some("https"),
            _ => None,
        }),
    }
}

/// The elements of a list header, of all its field lines in order (RFC 9110 section 5.3). They are
/// bytes, because an element that is not ASCII must not invalidate the others.
fn elements<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).collect()
}

/// The unquoted value of a parameter of a `Forwarded` element. Quoted strings are not parsed:
/// addresses, hosts and schemes contain neither commas nor semicolons.
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(unquoted.unwrap_or(value))
    })
}

/// Parses an IP address with an optional port; an IPv6 address may be in brackets.
fn parse_hop(hop: &[u8]) -> Option<SocketAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let ip = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().map(IpAddr::from),
        None => hop.parse(),
    };
    ip.map(|ip| SocketAddr::new(ip, 0)).or_else(|_| hop.parse()).ok().map(canonical)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The client of a request from `peer` with the header `lines`.
    fn resolved(peer: &str, lines: &[(&'static str, &[u8])]) -> Forwarded {
        let trusted = ["10.0.0.0/8", "192.0.2.1", "unix"].map(|proxy| proxy.parse().unwrap());
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.to_vec().try_into().unwrap());
        }
        let peer = peer.parse().map_or(Peer::Process(1), Peer::Address);
        resolve(&headers, &peer, &trusted)
    }

    #[test]
    fn only_trusted_proxies_are_believed() {
        for (peer, lines, client) in [
            ("10.1.2.3:5", &[&b"203.0.113.9"[..]][..], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"203.0.113.9:77"], "203.0.113.9:77"),
            ("10.1.2.3:5", &[b"[2001:db8::1]"], "[2001:db8::1]:0"),
            ("10.1.2.3:5", &[b"[2001:db8::1]:77"], "[2001:db8::1]:77"),
            ("10.1.2.3:5", &[b"2001:db8::1"], "[2001:db8::1]:0"),
            ("10.1.2.3:5", &[b"::ffff:203.0.113.9"], "203.0.113.9:0"),
            ("[::ffff:10.1.2.3]:5", &[b"203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"198.51.100.66, 203.0.113.9, 192.0.2.1"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"198.51.100.66, 203.0.113.9", b"192.0.2.1"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"10.9.9.9"], "10.9.9.9:0"),
            // Elements that the client wrote, before the one that the proxy appended.
            ("10.1.2.3:5", &[b"\xff, 203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"\xe4\xb8\x96\xe7\x95\x8c,\t203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"unknown, \"x, 203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"\xff", b"203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"203.0.113.9, , "], "203.0.113.9:0"),
            // An element that is not an address ends the walk.
            ("10.1.2.3:5", &[b"203.0.113.9, unknown"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"203.0.113.9, \xff, 192.0.2.1"], "192.0.2.1:0"),
            ("10.1.2.3:5", &[b"203.0.113.9, \xff"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"[203.0.113.9]"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"[[2001:db8::1]]"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b""], "10.1.2.3:5"),
            ("198.51.100.7:5", &[b"203.0.113.9"], "198.51.100.7:5"),
            // A Unix socket.
            ("process", &[b"198.51.100.66, 203.0.113.9, 192.0.2.1"], "203.0.113.9:0"),
        ] {
            let all: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let found = resolved(peer, &all).client;
            let client = Peer::Address(client.parse().unwrap());
            let lines = lines.iter().map(|line| line.escape_ascii().to_string());
            let lines: Vec<_> = lines.collect();
            assert_eq!(found, client, "{peer} {lines:?}");
        }
    }

    #[test]
    fn host_and_scheme_are_those_that_the_outermost_trusted_proxy_wrote() {
        let for_one: (&str, &[u8]) = ("x-forwarded-for", b"203.0.113.9");
        let for_two: (&str, &[u8]) = ("x-forwarded-for", b"203.0.113.9, 192.0.2.1");
        let (host, proto) = ("x-forwarded-host", "x-forwarded-proto");
        for (lines, expected) in [
            (
                &[(host, &b"gate.example"[..]), (proto, b"https")][..],
                (Some("gate.example"), Some("https")),
            ),
            (
                &[for_one, (host, b"gate.example:8443"), (proto, b"WSS")],
                (Some("gate.example:8443"), Some("https")),
            ),
            (&[for_one, (host, b"forged, gate.example")], (Some("gate.example"), None)),
            (
                &[for_two, (host, b"gate.example, inner"), (proto, b"https, http")],
                (Some("gate.example"), Some("https")),
            ),
            (&[for_two, (host, b"gate.example")], (Some("gate.example"), None)),
            (&[for_one, (host, b"gate example"), (proto, b"ftp")], (None, None)),
        ] {
            let Forwarded { host, scheme, .. } = resolved("10.1.2.3:5", lines);
            let host = host.map(|host| host.to_string());
            assert_eq!((host.as_deref(), scheme), expected);
            let stranger = resolved("198.51.100.7:5", lines);
            assert_eq!((stranger.host, stranger.scheme), (None, None));
        }
    }

    #[test]
    fn forwarded_is_believed_where_there_is_no_x_forwarded_for() {
        let line: &[u8] =
            b"for=\"\xff;host=x, For=\"[2001:db8::1]:47\";Host=\"gate.example:8443\" ;proto=https";
        let found = resolved("10.1.2.3:5", &[("forwarded", line)]);
        assert_eq!(found.client, Peer::Address("[2001:db8::1]:47".parse().unwrap()));
        assert_eq!(found.host.unwrap().to_string(), "gate.example:8443");
        assert_eq!(found.scheme, Some("https"));
        let hidden: &[u8] = b"for=203.0.113.9, for=unknown";
        assert_eq!(
            resolved("10.1.2.3:5", &[("forwarded", hidden)]).client,
            Peer::Address("10.1.2.3:5".parse().unwrap())
        );
        let both = [("forwarded", line), ("x-forwarded-for", &b"203.0.113.9"[..])];
        let found = resolved("10.1.2.3:5", &both);
        assert_eq!(found.client, Peer::Address("203.0.113.9:0".parse().unwrap()));
        assert_eq!(found.host, None);
    }
}
