//! The PROXY protocol of HAProxy, versions 1 and 2: a header before the bytes of a connection that
//! names the client's address. Any client can write one, so it is read only from trusted networks.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    str::FromStr,
};

use tokio::io::{AsyncRead, AsyncReadExt};

use super::canonical;
use crate::text::escape;

/// The length of the longest header of version 1 in bytes, its line end included.
const MAX_V1: usize = 107;

/// The first 12 bytes of a header of version 2.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The length of the fixed part of a header of version 2 in bytes.
const V2_FIXED: usize = 16;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Version {
    /// One line of text.
    V1,
    /// A binary header.
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

/// The two addresses of a connection that a PROXY header carries.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ProxiedAddresses {
    /// The client's address.
    pub(crate) source: SocketAddr,
    /// The address that the client connected to.
    pub(crate) destination: SocketAddr,
}

impl ProxiedAddresses {
    /// Both addresses in one family, as a PROXY header requires: beside an IPv6 address, an IPv4
    /// address becomes IPv4-mapped, as HAProxy does.
    fn in_one_family(self) -> ProxiedAddresses {
        let (source, destination) = (canonical(self.source), canonical(self.destination));
        if source.is_ipv4() == destination.is_ipv4() {
            return ProxiedAddresses { source, destination };
        }
        let mapped = |at: SocketAddr| match at.ip() {
            IpAddr::V4(ip) => SocketAddr::new(ip.to_ipv6_mapped().into(), at.port()),
            IpAddr::V6(_) => at,
        };
        ProxiedAddresses { source: mapped(source), destination: mapped(destination) }
    }
}

impl Version {
    /// The header that carries `addresses`; without addresses, `UNKNOWN` in version 1 and the
    /// command LOCAL in version 2.
    pub(crate) fn header(self, addresses: Option<ProxiedAddresses>) -> Vec<u8> {
        match self {
            Version::V1 => v1_line(addresses).into_bytes(),
            Version::V2 => v2_header(addresses),
        }
    }
}

fn v1_line(addresses: Option<ProxiedAddresses>) -> String {
    let Some(addresses) = addresses else { return "PROXY UNKNOWN\r\n".to_owned() };
    let ProxiedAddresses { source, destination } = addresses.in_one_family();
    let family = if source.is_ipv4() { "TCP4" } else { "TCP6" };
    let (from, to) = (source.ip(), destination.ip());
    format!("PROXY {family} {from} {to} {} {}\r\n", source.port(), destination.port())
}

fn v2_header(addresses: Option<ProxiedAddresses>) -> Vec<u8> {
    // The version in the upper four bits, the command in the lower four.
    let (local, proxy) = (0x20, 0x21);
    let mut header = SIGNATURE.to_vec();
    let Some(addresses) = addresses else {
        header.extend([local, 0, 0, 0]);
        return header;
    };
    let ProxiedAddresses { source, destination } = addresses.in_one_family();
    // The address family in the upper four bits, SOCK_STREAM in the lower four; then the length.
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

/// Reads a header of either version and no byte after it. Returns None for a header without
/// addresses: LOCAL, UNKNOWN, or a family other than TCP.
///
/// # Errors
///
/// The stream's errors; [`io::ErrorKind::InvalidData`] for an invalid header.
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<ProxiedAddresses>> {
    match stream.read_u8().await? {
        b'P' => read_v1(stream).await,
        b'\r' => read_v2(stream).await,
        byte => Err(invalid(format!("its first byte is {byte:#04x}"))),
    }
}

/// Reads a header of version 1 after its first byte.
async fn read_v1(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<ProxiedAddresses>> {
    let mut line = vec![b'P'];
    while !line.ends_with(b"\r\n") {
        if line.len() == MAX_V1 {
            return Err(invalid(format!("the line is longer than {MAX_V1} bytes")));
        }
        line.push(stream.read_u8().await?);
    }
    let line = &line[..line.len() - 2];
    let parsed = std::str::from_utf8(line).ok().and_then(parse_v1);
    parsed.ok_or_else(|| invalid(format!("the line is \"{}\"", escape::bytes(line))))
}

/// Parses a line of version 1 without its line end.
fn parse_v1(line: &str) -> Option<Option<ProxiedAddresses>> {
    let mut fields = line.split(' ');
    if fields.next() != Some("PROXY") {
        return None;
    }
    let family = fields.next()?;
    if family == "UNKNOWN" {
        // Section 2.1 of the specification: what follows, up to the line end, is ignored.
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
    fields.next().is_none().then_some(Some(ProxiedAddresses { source, destination }))
}

/// Reads a header of version 2 after its first byte. The TLVs after the addresses, up to 65,535
/// bytes, are read in small pieces and discarded.
async fn read_v2(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Option<ProxiedAddresses>> {
    let mut fixed = [b'\r'; V2_FIXED];
    stream.read_exact(&mut fixed[1..]).await?;
    let [signature @ .., version_and_command, family, high, low] = &fixed;
    if signature != SIGNATURE {
        return Err(invalid("the signature of version 2 is incomplete"));
    }
    let (is_proxied, address_len) = match (version_and_command, family) {
        (0x21, 0x11) => (true, 12),
        (0x21, 0x21) => (true, 36),
        // LOCAL, or the family is unspecified, of datagrams or of Unix sockets.
        (0x20 | 0x21, family) if family >> 4 <= 3 && family & 0xf <= 2 => (false, 0),
        _ => {
            let bytes = format!("{version_and_command:#04x} {family:#04x}");
            return Err(invalid(format!("unknown version, command or address family: {bytes}")));
        }
    };
    let len = usize::from(u16::from_be_bytes([*high, *low]));
    let Some(mut rest) = len.checked_sub(address_len) else {
        return Err(invalid("its length is too small for its addresses"));
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

/// Parses the address block of version 2: two addresses of one family, then two ports.
fn parse_v2_addresses(bytes: &[u8]) -> ProxiedAddresses {
    let (ips, ports) = bytes.split_at(bytes.len() - 4);
    let (from, to) = ips.split_at(ips.len() / 2);
    let ip = |bytes: &[u8]| match <[u8; 4]>::try_from(bytes) {
        Ok(v4) => IpAddr::from(v4),
        Err(_) => IpAddr::from(<[u8; 16]>::try_from(bytes).expect("36 bytes hold 2 of 16")),
    };
    let port = |at: usize| u16::from_be_bytes([ports[at], ports[at + 1]]);
    ProxiedAddresses {
        source: SocketAddr::new(ip(from), port(0)),
        destination: SocketAddr::new(ip(to), port(2)),
    }
}

fn invalid(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("invalid PROXY header: {why}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.7:50000";
    const SERVER: &str = "198.51.100.1:443";

    fn addresses(source: &str, destination: &str) -> ProxiedAddresses {
        ProxiedAddresses {
            source: source.parse().unwrap(),
            destination: destination.parse().unwrap(),
        }
    }

    async fn read(bytes: &[u8]) -> io::Result<(Option<ProxiedAddresses>, Vec<u8>)> {
        let mut stream = bytes;
        let addresses = read_header(&mut stream).await?;
        Ok((addresses, stream.to_vec()))
    }

    #[test]
    fn headers_match_the_specification() {
        let both = Some(addresses(CLIENT, SERVER));
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
        assert_eq!(Version::V1.header(both), line);
        let binary =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb";
        assert_eq!(Version::V2.header(both), binary);
        let mapped = Some(addresses("[::ffff:192.0.2.7]:50000", SERVER));
        assert_eq!(Version::V1.header(mapped), line);
        assert_eq!(Version::V1.header(None), b"PROXY UNKNOWN\r\n");
        assert_eq!(Version::V2.header(None), b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0");
    }

    #[test]
    fn addresses_of_two_families_are_written_as_ipv6() {
        let line = "PROXY TCP6 2001:db8::7 ::ffff:198.51.100.1 1 443\r\n";
        let to_ipv4 = Some(addresses("[2001:db8::7]:1", SERVER));
        assert_eq!(Version::V1.header(to_ipv4), line.as_bytes());
        let line = "PROXY TCP6 ::ffff:192.0.2.7 2001:db8::1 50000 2\r\n";
        let from_ipv4 = Some(addresses(CLIENT, "[2001:db8::1]:2"));
        assert_eq!(Version::V1.header(from_ipv4), line.as_bytes());
        let source = Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets();
        let destination = "2001:db8::1".parse::<Ipv6Addr>().unwrap().octets();
        let expected =
            [&b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24"[..], &source, &destination, b"\xc3\x50\0\x02"];
        assert_eq!(Version::V2.header(from_ipv4), expected.concat());
    }

    #[tokio::test]
    async fn a_header_is_read_and_no_byte_after_it() {
        for (source, destination) in [(CLIENT, SERVER), ("[2001:db8::7]:1", "[2001:db8::1]:2")] {
            let both = Some(addresses(source, destination));
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
            let mut bytes = Version::V2.header(Some(addresses(CLIENT, SERVER)));
            let len = u16::try_from(12 + tlvs).unwrap();
            bytes[14..16].copy_from_slice(&len.to_be_bytes());
            bytes.extend(vec![7; tlvs]);
            bytes.extend(b"hello");
            let (addressed, rest) = read(&bytes).await.unwrap();
            assert_eq!((addressed, &rest[..]), (Some(addresses(CLIENT, SERVER)), &b"hello"[..]));
        }
    }

    #[tokio::test]
    async fn an_invalid_header_is_rejected() {
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
}
