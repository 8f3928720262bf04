//! Clients that come by a proxy: who they really are, and how an upstream is told.
//!
//! The PROXY protocol (HAProxy's, versions 1 and 2) says it in front of a connection's
//! own bytes. Anyone could, so it is read only from networks that are trusted.

use std::{
    fmt, io,
    net::{IpAddr, SocketAddr},
    str::FromStr,
};

use axum::http::HeaderMap;
use ipnet::IpNet;
use ppp::{v1, v2};
use tokio::io::{AsyncRead, AsyncReadExt};

/// The longest header of version 1, its line end included.
const MAX_V1: usize = 107;

/// How a header of version 2 begins, before its length.
const SIGNATURE: &[u8; 12] = b"\r\n\r\n\0\r\nQUIT\n";

/// The most that a header of version 2 may have behind its first 16 bytes.
const MAX_V2: usize = 4096;

/// Addresses that belong together: `10.0.0.0/8`, or a single one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network(IpNet);

impl Network {
    /// Whether `at` is one of them, in whichever notation.
    pub fn has(&self, at: &SocketAddr) -> bool {
        self.0.contains(&at.ip().to_canonical())
    }
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Network, String> {
        text.parse().or_else(|_| text.parse::<IpAddr>().map(IpNet::from)).map(Network).map_err(
            |_| format!("\"{text}\" is no network: expected one as 10.0.0.0/8, or an address"),
        )
    }
}

/// A version of the PROXY protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
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

impl Version {
    /// The header that tells an upstream of a connection from `client` to `server`.
    ///
    /// # Panics
    ///
    /// Never: every pair of addresses has its header.
    pub fn header(self, client: SocketAddr, server: SocketAddr) -> Vec<u8> {
        let canonical = |at: SocketAddr| SocketAddr::new(at.ip().to_canonical(), at.port());
        let addresses = (canonical(client), canonical(server));
        match self {
            Version::V1 => v1::Addresses::from(addresses).to_string().into_bytes(),
            Version::V2 => {
                let command = v2::Version::Two | v2::Command::Proxy;
                let header = v2::Builder::with_addresses(command, v2::Protocol::Stream, addresses);
                header.build().expect("two addresses fit a header")
            }
        }
    }
}

/// Reads a header of either version, and nothing behind it: the client's address, or
/// none if the proxy speaks for itself or does not say.
///
/// # Errors
///
/// The stream's, and what is no header: [`io::ErrorKind::InvalidData`].
pub(crate) async fn read_header(
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Result<Option<SocketAddr>> {
    let mut header = vec![0; 1];
    stream.read_exact(&mut header).await?;
    match header[0] {
        b'P' => {
            while !header.ends_with(b"\r\n") {
                if header.len() == MAX_V1 {
                    return Err(bad("a line too long"));
                }
                header.push(stream.read_u8().await?);
            }
            let header = v1::Header::try_from(&*header).map_err(bad)?;
            Ok(match header.addresses {
                v1::Addresses::Tcp4(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Tcp6(a) => Some((a.source_address, a.source_port).into()),
                v1::Addresses::Unknown => None,
            })
        }
        b'\r' => {
            header.resize(16, 0);
            stream.read_exact(&mut header[1..]).await?;
            let behind = usize::from(u16::from_be_bytes([header[14], header[15]]));
            if !header.starts_with(SIGNATURE) || behind > MAX_V2 {
                return Err(bad("no signature of version 2, or too long"));
            }
            header.resize(16 + behind, 0);
            stream.read_exact(&mut header[16..]).await?;
            let header = v2::Header::try_from(&*header).map_err(bad)?;
            Ok(match (header.command, header.addresses) {
                (v2::Command::Proxy, v2::Addresses::IPv4(a)) => {
                    Some((a.source_address, a.source_port).into())
                }
                (v2::Command::Proxy, v2::Addresses::IPv6(a)) => {
                    Some((a.source_address, a.source_port).into())
                }
                _ => None,
            })
        }
        byte => Err(bad(format!("its first byte is {byte:#04x}"))),
    }
}

fn bad(why: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("no PROXY header: {why}"))
}

/// The client of a request that came from `peer`: if that is a proxy that is trusted,
/// the last address in `X-Forwarded-For` that is not one, too. Its port is unknown: 0.
pub(crate) fn forwarded_for(
    headers: &HeaderMap,
    peer: SocketAddr,
    trusted: &[Network],
) -> SocketAddr {
    let is_trusted = |at: &SocketAddr| trusted.iter().any(|network| network.has(at));
    let mut client = peer;
    let hops = headers.get_all("x-forwarded-for").into_iter().filter_map(|hop| hop.to_str().ok());
    let hops: Vec<_> = hops.flat_map(|hops| hops.split(',')).map(str::trim).collect();
    for hop in hops.into_iter().rev() {
        // What a proxy that is not trusted, or does not write addresses, says is not believed.
        let (true, Some(address)) = (is_trusted(&client), parse_hop(hop)) else { break };
        client = address;
    }
    client
}

/// An address, some proxies add the port.
fn parse_hop(hop: &str) -> Option<SocketAddr> {
    let without_brackets = hop.trim_start_matches('[').trim_end_matches(']');
    let ip = without_brackets.parse().map(|ip| SocketAddr::new(ip, 0));
    ip.or_else(|_| hop.parse()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const CLIENT: &str = "192.0.2.7:50000";
    const SERVER: &str = "198.51.100.1:443";

    async fn read(bytes: &[u8]) -> io::Result<(Option<SocketAddr>, Vec<u8>)> {
        let mut stream = bytes;
        let client = read_header(&mut stream).await?;
        Ok((client, stream.to_vec()))
    }

    #[test]
    fn headers_are_as_the_specification_has_them() {
        let (client, server) = (CLIENT.parse().unwrap(), SERVER.parse().unwrap());
        let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n";
        assert_eq!(Version::V1.header(client, server), line);
        let binary =
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb";
        assert_eq!(Version::V2.header(client, server), binary);
        let mapped = "[::ffff:192.0.2.7]:50000".parse().unwrap();
        assert_eq!(Version::V1.header(mapped, server), line);
    }

    #[tokio::test]
    async fn a_header_is_read_and_nothing_behind_it() {
        for (client, server) in [(CLIENT, SERVER), ("[2001:db8::7]:1", "[2001:db8::1]:2")] {
            let (client, server) = (client.parse().unwrap(), server.parse().unwrap());
            for version in [Version::V1, Version::V2] {
                let mut bytes = version.header(client, server);
                bytes.extend(b"hello");
                assert_eq!(read(&bytes).await.unwrap(), (Some(client), b"hello".to_vec()));
            }
        }
        for unknown in [
            &b"PROXY UNKNOWN\r\nhello"[..],
            b"PROXY UNKNOWN ffff::1 ffff::2 1 2\r\nhello",
            b"\r\n\r\n\0\r\nQUIT\n\x20\x00\0\0hello",
            b"\r\n\r\n\0\r\nQUIT\n\x20\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbbhello",
        ] {
            assert_eq!(read(unknown).await.unwrap(), (None, b"hello".to_vec()));
        }
    }

    #[tokio::test]
    async fn what_is_no_header_is_refused() {
        let long = [&b"PROXY UNKNOWN "[..], &[b'x'; 200]].concat();
        for bytes in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"PROXY TCP4 192.0.2.7\r\n",
            b"PROXY TCP4 192.0.2.7 198.51.100.1 99999 443\r\n",
            b"PRAXIS\r\n",
            b"\r\n\r\n\0\r\nQUIT!\x21\x11\0\x0c............",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff",
            b"\r\n\r\n\0\r\nQUIT\n\x31\x11\0\x0c............",
            &long,
        ] {
            let error = read(bytes).await.unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{}", bytes.escape_ascii());
        }
        assert_eq!(read(b"PROXY").await.unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn only_what_trusted_proxies_say_is_believed() {
        let trusted = ["10.0.0.0/8".parse().unwrap(), "192.0.2.1".parse().unwrap()];
        for (peer, header, client) in [
            ("10.1.2.3:5", "203.0.113.9", "203.0.113.9:0"),
            ("10.1.2.3:5", "203.0.113.9:77", "203.0.113.9:77"),
            ("10.1.2.3:5", "[2001:db8::1]", "[2001:db8::1]:0"),
            ("[::ffff:10.1.2.3]:5", "203.0.113.9", "203.0.113.9:0"),
            ("10.1.2.3:5", "198.51.100.66, 203.0.113.9, 192.0.2.1", "203.0.113.9:0"),
            ("10.1.2.3:5", "10.9.9.9", "10.9.9.9:0"),
            ("10.1.2.3:5", "203.0.113.9, unknown", "10.1.2.3:5"),
            ("10.1.2.3:5", "", "10.1.2.3:5"),
            ("198.51.100.7:5", "203.0.113.9", "198.51.100.7:5"),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert("x-forwarded-for", header.parse().unwrap());
            let found = forwarded_for(&headers, peer.parse().unwrap(), &trusted);
            assert_eq!(found, client.parse().unwrap(), "{peer} {header}");
        }
    }

    #[test]
    fn networks_are_said_in_full_or_as_one_address() {
        assert!("10.0.0.0/8".parse::<Network>().is_ok() && "::1".parse::<Network>().is_ok());
        for wrong in ["", "10.0.0.0/33", "example.com", "10.0.0"] {
            assert!(wrong.parse::<Network>().unwrap_err().contains(wrong));
        }
    }
}
