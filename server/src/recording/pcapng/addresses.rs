//! The addresses of a connection in packets.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use echogate_proto::recording::{Opened, Side};

/// The port of a server whose port is not known: HTTP in front of frames.
const HTTP: u16 = 80;
/// The port of any other server whose port is not known.
const OTHER: u16 = 40_000;

/// The port of plain HTTP instead of that of HTTPS: dissectors would take the payload, which is in
/// the clear, for TLS.
const HTTPS: u16 = 443;

/// The addresses of client and server on a side. Unknown ones are replaced by distinct addresses
/// of 127.0.0.0/8 or fd00::/8.
pub(super) fn ends(connection: u64, opened: &Opened, side: Side) -> [SocketAddr; 2] {
    let parse = |text: &Option<String>| text.as_ref().and_then(|text| text.parse().ok());
    let (client, server): (Option<SocketAddr>, Option<SocketAddr>) = match side {
        Side::Client => (parse(&opened.peer), parse(&opened.local)),
        Side::Upstream => {
            let server = opened.upstream.as_deref().and_then(authority);
            let server = server.and_then(|text| text.parse().ok());
            (parse(&opened.upstream_from), server)
        }
    };
    let unmapped =
        |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let (client, server) = (client.map(unmapped), server.map(unmapped));
    let is_v6 = client.or(server).is_some_and(|address| address.is_ipv6());
    let number = connection << 1 | side as u64;
    let client = client.unwrap_or_else(|| SocketAddr::new(synthetic_ip(number >> 14, is_v6), 0));
    let server = server.unwrap_or_else(|| {
        let port = opened.upstream.as_deref().filter(|_| side == Side::Upstream).and_then(port);
        let port = port.unwrap_or(if opened.has_frames(side) { HTTP } else { OTHER });
        let ip = if is_v6 { Ipv6Addr::LOCALHOST.into() } else { Ipv4Addr::LOCALHOST.into() };
        SocketAddr::new(ip, port)
    });
    // The port of a client behind a proxy is not known.
    let client_port = match client.port() {
        0 => 0xc000 | (number & 0x3fff) as u16,
        port => port,
    };
    let server_port = if server.port() == HTTPS { HTTP } else { server.port() };
    [SocketAddr::new(client.ip(), client_port), SocketAddr::new(server.ip(), server_port)]
}

/// The address with this number.
fn synthetic_ip(number: u64, is_v6: bool) -> IpAddr {
    if is_v6 {
        return Ipv6Addr::from((0xfd00 << 112) | (u128::from(number) + 1)).into();
    }
    let [.., b, c, d] = number.to_be_bytes();
    Ipv4Addr::new(127, 64 | b & 0x3f, c, d).into()
}

/// The host and port of a URL.
fn authority(url: &str) -> Option<&str> {
    url.split_once("://")?.1.split('/').next()
}

fn port(url: &str) -> Option<u16> {
    authority(url)?.rsplit_once(':')?.1.parse().ok()
}
