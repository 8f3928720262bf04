//! Clients behind a proxy: the addresses that the proxy names, and those that an upstream is told.
//!
//! - The PROXY protocol of HAProxy, versions 1 and 2, precedes the bytes of a connection.
//! - `X-Forwarded-*` and `Forwarded` (RFC 7239) are headers of an HTTP request.
//!
//! Anybody can write either, so each is read only from networks that the settings trust.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::IpNet;
use tokio::io::{AsyncRead, AsyncReadExt};

use crate::{net::authority::Authority, text::escape};

/// The length of the longest header of version 1 in bytes, its line end included.
const MAX_V1: usize = 107;

/// The first 12 bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the fixed part of a header of version 2 in bytes.
const V2_FIXED: usize = 16;

/// Addresses that belong together: `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network(IpNet);

impl Network {
    /// Whether `at` is one of them, in whichever notation.
    pub(crate) fn has(&self, at: &SocketAddr) -> bool {
        self.0.contains(&at.ip().to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        let network = text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from));
        let network: IpNet = network.map_err(|_| {
            let text = escape::escape(text);
            format!("\"{text}\" is no network: expected one as 10.0.0.0/8, or an address")
        })?;
        if network.trunc() != network {
            let (whole, one) = (network.trunc(), network.addr());
            return Err(format!("\"{text}\" is no network: expected {whole}, or {one} alone"));
        }
        // An IPv4-mapped client is compared as IPv4.
        let mapped = match network {
            IpNet::V6(v6) => v6.addr().to_ipv4_mapped().zip(v6.prefix_len().checked_sub(96)),
            IpNet::V4(_) => None,
        };
        let unmapped = mapped.and_then(|(ip, len)| IpNet::new(ip.into(), len).ok());
        Ok(Network(unmapped.unwrap_or(network)))
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// A line of text.
    V1,
    /// Binary.
    V2,
}

impl FromStr for Version {
    type Err = String;

    fn from_str(text: &str) -> Result<Version, String> {
        match text {
            "v1" => Ok(Version::V1),
            "v2" => Ok(Version::V2),
            _ => Err(format!("proxy=\"{text}\": expected v1 or v2")),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V1 => "v1",
            Version::V2 => "v2",
        })
    }
}

/// The two ends of a connection, as a PROXY header names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Ends {
    /// The client's address.
    pub(crate) source: SocketAddr,
    /// The address that the client connected to.
    pub(crate) destination: SocketAddr,
}

impl Ends {
    /// Both addresses in one family, as a PROXY header needs them: an IPv4 address beside an
    /// IPv6 address is written as an IPv4-mapped one, as HAProxy does.
    fn in_one_family(self) -> Ends {
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return Ends { source, destination };
        }
        let mapped = |at: SocketAddr| match at.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
            IpAddr::V6(_) => at,
        };
        Ends { source: mapped(source), destination: mapped(destination) }
    }
}

impl Version {
    /// The header for a connection between `ends`; without them, the one that says that nothing
    /// is known (`UNKNOWN` in version 1, the command LOCAL in version 2).
    pub(crate) fn header(self, ends: Option<Ends>) -> Vec<u8> {
        match self {
            Version::V1 => v1_line(ends).into_bytes(),
            Version::V2 => v2_header(ends),
        }
    }
}

fn v1_line(ends: Option<Ends>) -> String {
    let Some(ends) = ends else { return "PROXY UNKNOWN\r\n".to_owned() };
    let Ends { source, destination } = ends.in_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

fn v2_header(ends: Option<Ends>) -> Vec<u8> {
    // Version 2 in the upper half of the byte, the command in the lower one.
    let (local, proxy) = (0x20, 0x21);
    let mut header = SIGNATURE.to_vec();
    let Some(ends) = ends else {
        header.extend([local, 0, 0, 0]);
        return header;
    };
    let Ends { source, destination } = ends.in_one_family();
    // The address family in the upper half, SOCK_STREAM in the lower one; the length behind.
    header.extend(if source.is_ipv4() { [proxy, 0x11, 0, 12] } else { [proxy, 0x21, 0, 36] });
    for at in [source, destination] {
        match at.ip() {
            IpAddr::V4(ip) => header.extend(ip.octets()),
            IpAddr::V6(ip) => header.extend(ip.octets()),
        }
    }
    header.extend(source.port().to_be_bytes());
    header.extend(destination.port().to_be_bytes());
    header
}

/// Reads a header of either version, and nothing behind it: the addresses that the proxy names,
/// or none if the connection is the proxy's own or the proxy does not know them.
///
/// # Errors
///
/// Those of the stream; [`io::ErrorKind::InvalidData`] for bytes that are no header.
pub(crate) async fn read_header(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    match stream.read_u8().await? {
        b'P' => read_v1(stream).await,
        b'\r' => read_v2(stream).await,
        byte => Err(bad(format!("its first byte is {byte:#04x}"))),
    }
}

/// Reads the rest of a header of version 1 behind its first byte.
async fn read_v1(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut line = vec![b'P'];
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1 {
            return Err(bad("the line is longer than 107 bytes"));
        }
        line.push(stream.read_u8().await?);
    }
    let line = &line[..line.len() - 2];
    let parsed = std::str::from_utf8(line).ok().and_then(parse_v1);
    parsed.ok_or_else(|| bad(format!("the line is \"{}\"", escape::bytes(line))))
}

/// The addresses of a line of version 1, without its line end.
fn parse_v1(line: &str) -> Option<Option<Ends>> {
    let mut fields = line.split(' ');
    if fields.next() != Some("PROXY") {
        return None;
    }
    let family = fields.next()?;
    if family == "UNKNOWN" {
        // A receiver ignores whatever follows.
        return Some(None);
    }
    let [from, to, from_port, to_port] =
        [fields.next()?, fields.next()?, fields.next()?, fields.next()?];
    let ip = |text: &str| match family {
        "TCP4" => text.parse::<Ipv4Addr>().map(IpAddr::from).ok(),
        "TCP6" => text.parse::<Ipv6Addr>().map(IpAddr::from).ok(),
        _ => None,
    };
    let port = |text: &str| text.parse::<u16>().ok().filter(|port| port.to_string() == text);
    let source = SocketAddr::new(ip(from)?, port(from_port)?);
    let destination = SocketAddr::new(ip(to)?, port(to_port)?);
    fields.next().is_none().then_some(Some(Ends { source, destination }))
}

/// Reads the rest of a header of version 2 behind its first byte. What follows the addresses
/// (TLVs), up to 65,535 bytes, is passed over in small pieces.
async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<Ends>> {
    let mut fixed = [b'\r'; V2_FIXED];
    stream.read_exact(&mut fixed[1..]).await?;
    let [signature @ .., version_and_command, family, high, low] = &fixed;
    if signature != SIGNATURE {
        return Err(bad("it has not the signature of version 2"));
    }
    let (is_proxied, address_len) = match (version_and_command, family) {
        (0x21, 0x11) => (true, 12),
        (0x21, 0x21) => (true, 36),
        // LOCAL; addresses that are unspecified, of datagrams, or paths of Unix sockets.
        (0x20 | 0x21, family) if family >> 4 <= 3 && family & 0xf <= 2 => (false, 0),
        _ => {
            let bytes = format!("{version_and_command:#04x} {family:#04x}");
            return Err(bad(format!("unknown version, command or address family: {bytes}")));
        }
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(mut rest) = len.checked_sub(address_len) else {
        return Err(bad("it is too short for its addresses"));
    };
    let mut addresses = [0; 36];
    stream.read_exact(&mut addresses[..address_len]).await?;
    let mut skipped = [0; 512];
    while rest > 0 {
        let piece = rest.min(skipped.len());
        rest -= stream.read_exact(&mut skipped[..piece]).await?;
    }
    Ok(is_proxied.then(|| parse_v2_addresses(&addresses[..address_len])))
}

/// The addresses of a header of version 2: two addresses of one family, then two ports.
fn parse_v2_addresses(bytes: &[u8]) -> Ends {
    let (ips, ports) = bytes.split_at(bytes.len() - 4);
    let (from, to) = ips.split_at(ips.len() / 2);
    let ip = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("36 bytes hold 2 of 16")),
    };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    Ends {
        source: SocketAddr::new(ip(from), port(0)),
        destination: SocketAddr::new(ip(to), port(2)),
    }
}

fn bad(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {why}"))
}

/// The client of an HTTP request, as the trusted proxies name it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Forwarded {
    /// The client's address; its port is 0 where no proxy wrote one.
    pub(crate) client: SocketAddr,
    /// The authority that the client addressed.
    pub(crate) host: Option<Authority>,
    /// The scheme that the client used: `http` or `https`.
    pub(crate) scheme: Option<&'static str>,
}

/// Resolves the client of a request that arrived from `peer`, by `X-Forwarded-For`,
/// `X-Forwarded-Host` and `X-Forwarded-Proto`; by `Forwarded` where there is no
/// `X-Forwarded-For`.
///
/// Each proxy appends the address that it saw, so the list is walked from its end for as long as
/// the address before is that of a trusted proxy. An element that is no address ends the walk.
/// Host and scheme are those that the outermost trusted proxy wrote.
pub(crate) fn forwarded(headers: &HeaderMap, peer: SocketAddr, trusted: &[Network]) -> Forwarded {
    let is_trusted = |at: &SocketAddr| trusted.iter().any(|network| network.has(at));
    if !is_trusted(&peer) {
        return Forwarded { client: peer, host: None, scheme: None };
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
    let (mut client, mut proxies) = (peer, 0);
    for hop in hops.into_iter().rev() {
        let (true, Some(address)) = (is_trusted(&client), hop.and_then(parse_hop)) else { break };
        client = address;
        proxies += 1;
    }
    // Each proxy appends to these lists, too, or writes them anew.
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

/// The elements of a list header, of all its lines in order (RFC 9110 section 5.3). They are
/// bytes: one element that is not ASCII says nothing about the others.
fn elements<'a>(headers: &'a HeaderMap, name: &str) -> Vec<&'a [u8]> {
    let lines = headers.get_all(name).into_iter();
    let elements = lines.flat_map(|line| line.as_bytes().split(|&byte| byte == b','));
    elements.map(<[u8]>::trim_ascii).filter(|element| !element.is_empty()).collect()
}

/// The value of a parameter of an element of `Forwarded`, without quotes. (Addresses, hosts and
/// schemes have neither commas nor semicolons in them, so that quoted text need not be parsed.)
fn parameter<'a>(element: &'a [u8], name: &str) -> Option<&'a [u8]> {
    element.split(|&byte| byte == b';').find_map(|pair| {
        let equals = pair.iter().position(|&byte| byte == b'=')?;
        let (key, value) = (pair[..equals].trim_ascii(), pair[equals + 1..].trim_ascii());
        let unquoted = value.strip_prefix(b"\"").and_then(|value| value.strip_suffix(b"\""));
        key.eq_ignore_ascii_case(name.as_bytes()).then_some(unquoted.unwrap_or(value))
    })
}

/// An IP address, an IPv6 address perhaps in brackets, and perhaps a port.
fn parse_hop(hop: &[u8]) -> Option<SocketAddr> {
    let hop = std::str::from_utf8(hop).ok()?;
    let bracketed = hop.strip_prefix('[').and_then(|hop| hop.strip_suffix(']'));
    let ip = match bracketed {
        Some(ip) => ip.parse::<Ipv6Addr>().map(IpAddr::from),
        None => hop.parse(),
    };
    let at = ip.map(|ip| SocketAddr::new(ip, 0)).or_else(|_| hop.parse()).ok()?;
    Some(SocketAddr::new(at.ip().to_canonical(), at.port()))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.7:50000";
    const SERVER: &str = "198.51.100.1:443";

    fn ends(source: &str, destination: &str) -> Ends {
        Ends { source: source.parse().unwrap(), destination: destination.parse().unwrap() }
    }

    async fn read(bytes: &[u8]) -> io::Result<(Option<Ends>, Vec<u8>)> {
        let mut stream = bytes;
        let named = read_header(&mut stream).await?;
        Ok((named, stream.to_vec()))
    }

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let both = Some(ends(CLIENT, SERVER));
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
        assert_eq!(Version::V1.header(both), line);
        let binary =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb";
        assert_eq!(Version::V2.header(both), binary);
        let mapped = Some(ends("[::ffff:192.0.2.7]:50000", SERVER));
        assert_eq!(Version::V1.header(mapped), line);
        assert_eq!(Version::V1.header(None), b"PROXY UNKNOWN\r\n");
        assert_eq!(Version::V2.header(None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn addresses_of_two_families_are_written_as_ipv6() {
        let line = "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 1 443\r\n";
        let to_ipv4 = Some(ends("[2001:db8::7]:1", SERVER));
        assert_eq!(Version::V1.header(to_ipv4), line.as_bytes());
        let line = "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50000 2\r\n";
        let from_ipv4 = Some(ends(CLIENT, "[2001:db8::1]:2"));
        assert_eq!(Version::V1.header(from_ipv4), line.as_bytes());
        let source = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets();
        let destination = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let expected =
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..], &source, &destination, b"\xc3\x50\0\x02"];
        assert_eq!(Version::V2.header(from_ipv4), expected.concat());
    }

    #[tokio::test]
    async fn a_header_is_read_and_nothing_behind_it() {
        for (source, destination) in [(CLIENT, SERVER), ("[2001:db8::7]:1", "[2001:db8::1]:2")] {
            let both = Some(ends(source, destination));
            for version in [Version::V1, Version::V2] {
                let mut bytes = version.header(both);
                bytes.extend(b"hello");
                assert_eq!(read(&bytes).await.unwrap(), (both, b"hello".to_vec()));
            }
        }
        for unknown in [
            &b"PROXY UNKNOWN\r\nhello"[..],
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nhello",
            b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0hello",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x00\0\0hello",
            b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbbhello",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x12\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbbhello",
        ] {
            assert_eq!(read(unknown).await.unwrap(), (None, b"hello".to_vec()));
        }
    }

    #[tokio::test]
    async fn a_header_of_version_2_may_be_as_long_as_its_length_field_allows() {
        for tlvs in [1, 511, 512, 5000, 65_535 - 12] {
            let mut bytes = Version::V2.header(Some(ends(CLIENT, SERVER)));
            let len = u16::try_from(12 + tlvs).unwrap();
            bytes[14..16].copy_from_slice(&len.to_be_bytes());
            bytes.extend(vec![7; tlvs]);
            bytes.extend(b"hello");
            let (named, behind) = read(&bytes).await.unwrap();
            assert_eq!((named, &behind[..]), (Some(ends(CLIENT, SERVER)), &b"hello"[..]));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 +1 443\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 1 443 5\r\n",
            b"PROXY TCP4 192.0.2.7  198.51.100.1 1 443\r\n",
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 443\r\n",
            b"PROXY TCP6 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PROXY UDP4 192.0.2.7 198.51.100.1 1 443\r\n",
            b"PRAXIS\r\n",
            b"PROXY \xff\r\n",
            b"\r\n\r\n\0\r\nQUIT!\x21\x11\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0b...........",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x41\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x22\x11\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
            &long,
        ] {
            let error = read(bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", bytes.escape_ascii());
        }
        for cut in [&b"PROXY"[..], b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff............"] {
            assert_eq!(read(cut).await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
        }
    }

    /// What is believed of `lines` in a request from `peer`.
    fn believed(peer: &str, lines: &[(&'static str, &[u8])]) -> Forwarded {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.to_vec().try_into().unwrap());
        }
        forwarded(&headers, peer.parse().unwrap(), &trusted)
    }

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
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
            // Elements of the client's own, in front of what the proxy appended.
            ("10.1.2.3:5", &[b"\xff, 203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"\xe4\xb8\x96\xe7\x95\x8c,\t203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"unknown, \"x, 203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"\xff", b"203.0.113.9"], "203.0.113.9:0"),
            ("10.1.2.3:5", &[b"203.0.113.9, , "], "203.0.113.9:0"),
            // An element that is no address ends the walk.
            ("10.1.2.3:5", &[b"203.0.113.9, unknown"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"203.0.113.9, \xff, 192.0.2.1"], "192.0.2.1:0"),
            ("10.1.2.3:5", &[b"203.0.113.9, \xff"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"[203.0.113.9]"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b"[[2001:db8::1]]"], "10.1.2.3:5"),
            ("10.1.2.3:5", &[b""], "10.1.2.3:5"),
            ("198.51.100.7:5", &[b"203.0.113.9"], "198.51.100.7:5"),
        ] {
            let all: Vec<_> = lines.iter().map(|line| ("x-forwarded-for", *line)).collect();
            let found = believed(peer, &all).client;
            let lines = lines.iter().map(|line| line.escape_ascii().to_string());
            let lines: Vec<_> = lines.collect();
            assert_eq!(found, client.parse().unwrap(), "{peer} {lines:?}");
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
            let Forwarded { host, scheme, .. } = believed("10.1.2.3:5", lines);
            let host = host.map(|host| host.to_string());
            assert_eq!((host.as_deref(), scheme), expected);
            let stranger = believed("198.51.100.7:5", lines);
            assert_eq!((stranger.host, stranger.scheme), (None, None));
        }
    }

    #[test]
    fn forwarded_is_believed_where_there_is_no_x_forwarded_for() {
        let line: &[u8] =
            b"for=\"\xff;host=x, For=\"[2001:db8::1]:47\";Host=\"gate.example:8443\" ;proto=https";
        let found = believed("10.1.2.3:5", &[("forwarded", line)]);
        assert_eq!(found.client, "[2001:db8::1]:47".parse().unwrap());
        assert_eq!(found.host.unwrap().to_string(), "gate.example:8443");
        assert_eq!(found.scheme, Some("https"));
        let hidden: &[u8] = b"for=203.0.113.9, for=unknown";
        assert_eq!(
            believed("10.1.2.3:5", &[("forwarded", hidden)]).client,
            "10.1.2.3:5".parse().unwrap()
        );
        let both = [("forwarded", line), ("x-forwarded-for", &b"203.0.113.9"[..])];
        let found = believed("10.1.2.3:5", &both);
        assert_eq!((found.client, found.host), ("203.0.113.9:0".parse().unwrap(), None));
    }

    #[test]
    fn a_network_of_mapped_addresses_is_one_of_ipv4() {
        for (mapped, ipv4) in
            [("::ffff:10.0.0.0/104", "10.0.0.0/8"), ("::ffff:10.0.0.1", "10.0.0.1")]
        {
            assert_eq!(mapped.parse::<Network>().unwrap(), ipv4.parse().unwrap());
        }
        let all: Network = "::/0".parse().unwrap();
        assert!(all.has(&"[2001:db8::1]:1".parse().unwrap()));
        assert!(!all.has(&"10.0.0.1:1".parse().unwrap()), "IPv6 alone");
    }

    #[test]
    fn networks_are_said_in_full_or_as_one_address() {
        assert!("10.0.0.0/8".parse::<Network>().is_ok() && "::1".parse::<Network>().is_ok());
        for wrong in ["", "10.0.0.0/33", "10.0.0.1/8", "2001:db8::1/32", "example.com", "10.0.0"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains(wrong));
        }
    }
}
