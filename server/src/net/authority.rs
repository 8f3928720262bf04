//! Hosts and authorities, `HOST[:PORT]` (RFC 3986 section 3.2), in the headers `Host` and `Origin`
//! and in settings.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use echogate_proto::endpoint::HostPort;

use crate::text::escape::escape;

/// A host, normalized so that equal hosts compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Ip(IpAddr),
    /// A registered name in lower case, without the trailing dot of the DNS root.
    Name(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Authority {
    pub(crate) host: Host,
    /// The port; None means the default port of the scheme.
    pub(crate) port: Option<u16>,
}

impl Host {
    /// Whether the host is safe from DNS rebinding: an IP address, or a name that every system
    /// resolves to loopback (RFC 6761 section 6.3).
    pub(crate) fn is_local(&self) -> bool {
        match self {
            Host::Ip(_) => true,
            Host::Name(name) => name == "localhost" || name.ends_with(".localhost"),
        }
    }

    /// Parses a host without a port. The zone of an IPv6 address has a meaning on the sender's
    /// machine only and is dropped.
    fn parse(text: &str) -> Option<Host> {
        if let Some(rest) = text.strip_prefix('[') {
            let literal = rest.strip_suffix(']')?;
            let (ip, zone) = literal.split_once('%').unwrap_or((literal, "zone"));
            let zone_is_valid =
                !zone.is_empty() && zone.bytes().all(|b| is_unreserved(b) || b == b'%');
            return ip
                .parse::<Ipv6Addr>()
                .ok()
                .filter(|_| zone_is_valid)
                .map(|ip| Host::Ip(ip.into()));
        }
        let name = text.strip_suffix('.').unwrap_or(text);
        if name.is_empty() || !is_registered_name(name.as_bytes()) {
            return None;
        }
        let ip = name.parse::<Ipv4Addr>().map(|ip| Host::Ip(ip.into()));
        Some(ip.unwrap_or_else(|_| Host::Name(name.to_ascii_lowercase())))
    }

    /// Parses a host that a browser can send in `Host` or `Origin`.
    ///
    /// # Errors
    ///
    /// The reason why no browser sends such a host.
    pub(crate) fn parse_setting(text: &str) -> Result<Host, &'static str> {
        if let Ok(ip) = text.parse::<Ipv6Addr>() {
            return Ok(Host::Ip(ip.into()));
        }
        if text.is_empty() {
            return Err("it is empty");
        }
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err("it contains white space");
        }
        if text.contains('*') {
            return Err("patterns are not supported: list each host");
        }
        if !text.is_ascii() {
            return Err("browsers send this name in ASCII (xn--…)");
        }
        let host = Host::parse(text).ok_or("it is not a host name or address")?;
        if let Host::Name(name) = &host {
            let is_label_byte = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_');
            let is_label = |label: &str| !label.is_empty() && label.bytes().all(is_label_byte);
            if !name.split('.').all(is_label) {
                return Err("it is not a host name");
            }
            if name.rsplit('.').next().is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()))
            {
                return Err(
                    "a name that ends in a number must be an IPv4 address such as 192.0.2.1",
                );
            }
        }
        Ok(host)
    }
}

impl fmt::Display for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Host::Ip(IpAddr::V4(ip)) => write!(f, "{ip}"),
            Host::Ip(IpAddr::V6(ip)) => write!(f, "[{ip}]"),
            Host::Name(name) => f.write_str(name),
        }
    }
}

impl Authority {
    /// Parses an authority without user information.
    pub(crate) fn parse(text: &str) -> Option<Authority> {
        let (host, port) = Authority::split(text);
        let host = Host::parse(host)?;
        let port = match port {
            "" => None,
            digits if digits.bytes().all(|b| b.is_ascii_digit()) => Some(digits.parse().ok()?),
            _ => return None,
        };
        Some(Authority { host, port })
    }

    /// Splits an authority at the colon before the port, which comes after the bracket of an IPv6
    /// address; without a colon the port is empty.
    pub(crate) fn split(text: &str) -> (&str, &str) {
        let host_end = text.rfind(']').map_or(0, |bracket| bracket + 1);
        match text[host_end..].find(':') {
            Some(colon) => (&text[..host_end + colon], &text[host_end + colon + 1..]),
            None => (text, ""),
        }
    }
}

impl fmt::Display for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.host)?;
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct AllowedHost(pub Host);

impl FromStr for AllowedHost {
    type Err = String;

    fn from_str(text: &str) -> Result<AllowedHost, String> {
        let host = Host::parse_setting(text).map_err(|why| {
            let why = match Authority::parse(text) {
                _ if text.contains("://") => "write the host alone, without a scheme",
                Some(Authority { port: Some(_), .. }) => {
                    "write the host alone, without a port: any port is allowed"
                }
                _ if text.contains(['/', '?', '#']) => "write the host alone, without a path",
                _ => why,
            };
            format!("\"{}\" cannot match any Host header: {why}", escape(text))
        })?;
        Ok(AllowedHost(host))
    }
}

/// The value of `Host` for a URL: without the default port of `http` and `ws`, or of `https` and
/// `wss` if `tls`, as browsers send it, and without an IPv6 zone, which has a meaning on this
/// machine only (RFC 6874 section 4).
pub(crate) fn host_header(at: &HostPort, tls: bool) -> String {
    let all = HostPort { host: at.without_zone().to_owned(), port: at.port }.to_string();
    let default_port = if tls { ":443" } else { ":80" };
    all.strip_suffix(default_port).map_or(all.clone(), str::to_owned)
}

/// Whether a host is a loopback address of this machine, or a name of one.
pub(crate) fn is_loopback(at: &HostPort) -> bool {
    let ip = at.without_zone().parse().ok().map(Host::Ip);
    match ip.or_else(|| Host::parse(&at.host)) {
        Some(Host::Ip(ip)) => ip.to_canonical().is_loopback(),
        name => name.is_some_and(|name| name.is_local()),
    }
}

/// Whether `name` is a `reg-name` (RFC 3986 section 3.2.2).
fn is_registered_name(mut name: &[u8]) -> bool {
    loop {
        name = match name {
            [] => return true,
            [b'%', a, b, rest @ ..] if a.is_ascii_hexdigit() && b.is_ascii_hexdigit() => rest,
            [byte, rest @ ..] if is_unreserved(*byte) || b"!$&'()*+,;=".contains(byte) => rest,
            _ => return false,
        };
    }
}

fn is_unreserved(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"-._~".contains(&byte)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_a_host_and_perhaps_a_port() {
        for (text, host, port) in [
            ("localhost", "localhost", None),
            ("LocalHost:8080", "localhost", Some(8080)),
            ("gate.example.", "gate.example", None),
            ("gate.example.:443", "gate.example", Some(443)),
            ("gate.example:", "gate.example", None),
            ("127.0.0.1:0080", "127.0.0.1", Some(80)),
            ("127.0.0.1.", "127.0.0.1", None),
            ("[::1]", "[::1]", None),
            ("[0:0::1]:8080", "[::1]", Some(8080)),
            ("[fe80::1%25eth0]:80", "[fe80::1]", Some(80)),
            ("under_score.example", "under_score.example", None),
            ("a%20b", "a%20b", None),
        ] {
            let parsed = Authority::parse(text).unwrap_or_else(|| panic!("{text}"));
            assert_eq!((parsed.host.to_string().as_str(), parsed.port), (host, port), "{text}");
        }
        for text in [
            "",
            ".",
            ":80",
            "127.0.0.1:80.evil.example",
            "[::1]evil.example",
            "evil.example[::1]",
            "localhost:80@evil.example",
            "user@localhost",
            "127.0.0.1:x",
            "127.0.0.1:+80",
            "127.0.0.1:65536",
            "127.0.0.1:80:80",
            "::1",
            "[::1",
            "[::1]]",
            "[[::1]]",
            "[::1%]",
            "[127.0.0.1]",
            "[localhost]",
            "a b",
            "localhost/",
            "localhost#",
            "localhost?x",
            "a%2",
            "a\\b",
            "münchen.example",
        ] {
            assert_eq!(Authority::parse(text), None, "{text:?}");
        }
    }

    #[test]
    fn addresses_and_names_below_localhost_are_local() {
        for (text, local) in [
            ("127.0.0.1", true),
            ("192.0.2.1", true),
            ("[2001:db8::1]", true),
            ("localhost", true),
            ("localhost.", true),
            ("a.localhost", true),
            ("notlocalhost", false),
            ("localhost.evil.example", false),
            ("127.0.0.1.evil.example", false),
            ("127.1", false),
        ] {
            assert_eq!(Authority::parse(text).unwrap().host.is_local(), local, "{text}");
        }
    }

    #[test]
    fn an_allowed_host_that_cannot_match_is_rejected_with_the_reason() {
        for right in ["gate.example", "GATE.example.", "gate", "127.0.0.1", "::1", "[::1]", "a_b"] {
            assert!(right.parse::<AllowedHost>().is_ok(), "{right}");
        }
        for (wrong, reason) in [
            ("", "empty"),
            (" gate.example", "white space"),
            ("gate.example:8080", "without a port"),
            ("[::1]:8080", "without a port"),
            ("https://gate.example", "without a scheme"),
            ("gate.example/path", "without a path"),
            ("*.gate.example", "patterns"),
            ("*", "patterns"),
            ("user@gate.example", "not a host"),
            ("münchen.example", "xn--"),
            ("a..b", "not a host name"),
            ("a,b", "not a host name"),
            ("127.1", "IPv4"),
        ] {
            let error = wrong.parse::<AllowedHost>().unwrap_err();
            assert!(error.contains(reason) && error.contains(wrong), "{wrong}: {error}");
        }
    }

    #[test]
    fn the_host_header_has_no_default_port_and_no_zone() {
        let host = |at: &str, tls| host_header(&at.parse().unwrap(), tls);
        assert_eq!(host("localhost:8080", false), "localhost:8080");
        assert_eq!(host("localhost:80", false), "localhost");
        assert_eq!(host("localhost:443", true), "localhost");
        assert_eq!(host("[::1]:80", false), "[::1]");
        assert_eq!(host("[fe80::1%25eth0]:80", false), "[fe80::1]");
    }
}
