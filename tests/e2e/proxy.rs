//! The client's real address: the PROXY protocol in both directions, and `X-Forwarded-For`.

use std::{
    io::{Read, Write},
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream},
};

use echogate_tests::{
    http,
    server::Server,
    tcp::{connect_from, read_exactly},
    upstream::Upstream,
    ws::{self, RawWs, UPGRADE, first},
};

use crate::ECHOGATE;

/// The trusted proxy's address; other clients connect from 127.0.0.1.
const PROXY: [u8; 4] = [127, 0, 0, 2];

/// PROXY headers of versions 1 and 2 for the client `192.0.2.7:50000`.
const HEADERS: [&[u8]; 2] = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb",
];

fn server(arguments: &[&str]) -> Server {
    let from = ["--proxy-protocol-from", "127.0.0.2", "--forwarded-from", "127.0.0.0/8"];
    let from =
        [&from[..], &["--forwarded-from", "192.0.2.7"], &["--route", "/ws=service:upper"]].concat();
    Server::start(ECHOGATE, &[&from[..], arguments].concat())
}

/// Connects from the proxy's address.
fn from_proxy(address: &str) -> TcpStream {
    connect_from(PROXY, address)
}

#[test]
fn a_proxy_says_who_the_client_is_whatever_the_pieces() {
    let server = server(&[]);
    for header in HEADERS {
        for piece in [1, 7, 100] {
            let mut stream = from_proxy(server.address("upper"));
            let bytes = [header, b"hello"].concat();
            for piece in bytes.chunks(piece) {
                stream.write_all(piece).unwrap();
            }
            assert_eq!(read_exactly(&mut stream, 5), b"HELLO");
            let live = server.wait_for_connections(|all| all.len() == 1);
            assert_eq!(live[0]["peer"], "192.0.2.7:50000");
            drop(stream);
            server.wait_for_connections(<[_]>::is_empty);
        }
        let mut stream = from_proxy(server.address("http"));
        stream.write_all(header).unwrap();
        let mut client = RawWs::over(stream, &server, "/ws", &[]);
        assert_eq!(client.exchange(b"hello"), b"HELLO");
        let live = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(live[0]["peer"], "192.0.2.7:50000");
        drop(client);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

#[test]
fn a_proxy_that_speaks_for_itself_is_the_client() {
    let server = server(&[]);
    for header in [&b"PROXY UNKNOWN\r\n"[..], b"\r\n\r\n\0\r\nQUIT\n\x20\0\0\0"] {
        let mut stream = from_proxy(server.address("upper"));
        stream.write_all(&[header, b"hello"].concat()).unwrap();
        assert_eq!(read_exactly(&mut stream, 5), b"HELLO");
        let live = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(live[0]["peer"], stream.local_addr().unwrap().to_string());
        drop(stream);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

#[test]
fn what_a_proxy_sends_instead_of_a_header_ends_its_connection_alone() {
    let server = server(&["--header-timeout", "300ms"]);
    for bytes in [&b"GET / HTTP/1.1\r\n\r\n"[..], b"PROXY TCP4 nonsense\r\n", b"PROXY TCP4", b""] {
        let mut stream = from_proxy(server.address("upper"));
        stream.write_all(bytes).unwrap();
        let mut rest = Vec::new();
        // Unread data turns the end into a reset.
        stream.read_to_end(&mut rest).ok();
        assert_eq!(rest, b"", "{}", bytes.escape_ascii());
    }
    server.wait_for_log(&["invalid PROXY header", "127.0.0.2"]);
    server.wait_for_log(&["no PROXY header within 300ms"]);
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
}

#[test]
fn from_elsewhere_a_header_is_data() {
    let server = server(&[]);
    let mut stream = http::connect(server.address("upper"));
    stream.write_all(HEADERS[0]).unwrap();
    let expected = HEADERS[0].to_ascii_uppercase();
    assert_eq!(read_exactly(&mut stream, expected.len()), expected);
    let live = server.wait_for_connections(|all| all.len() == 1);
    assert_eq!(live[0]["peer"], stream.local_addr().unwrap().to_string());
}

#[test]
fn an_upstream_gets_the_proxy_header_before_anything_else() {
    for version in ["v1", "v2"] {
        let upstream = Upstream::new();
        let route = format!("{}&proxy={version}", upstream.route("/x", "bytes"));
        let server = Server::start(ECHOGATE, &["--route", &route]);
        let mut client = RawWs::connect(&server, "/x");
        client.send_frame(first::BINARY, b"data");
        let mut accepted = upstream.accept();
        let peer = client.stream.local_addr().unwrap();
        let local = client.stream.peer_addr().unwrap();
        let expected = if version == "v1" {
            format!("PROXY TCP4 127.0.0.1 127.0.0.1 {} {}\r\n", peer.port(), local.port())
                .into_bytes()
        } else {
            let ports = [peer.port().to_be_bytes(), local.port().to_be_bytes()].concat();
            let addresses = [127, 0, 0, 1, 127, 0, 0, 1];
            [b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c", &addresses[..], &ports].concat()
        };
        let all = read_exactly(&mut accepted, expected.len() + 4);
        assert_eq!(all, [&expected[..], b"data"].concat(), "{version}");
    }
}

#[test]
fn x_forwarded_for_is_believed_of_trusted_proxies_only() {
    const HEADER: &str = "X-Forwarded-For: 198.51.100.66, 203.0.113.9";
    for (trusted, expected) in [("127.0.0.1", Some("203.0.113.9:0")), ("127.0.0.2/32", None)] {
        let arguments = ["--forwarded-from", trusted, "--route", "/ws=service:upper"];
        let server = Server::start(ECHOGATE, &arguments);
        let mut client = RawWs::connect_with(&server, "/ws", &[HEADER]);
        assert_eq!(client.exchange(b"hello"), b"HELLO");
        let live = server.wait_for_connections(|all| all.len() == 1);
        let own = client.stream.local_addr().unwrap().to_string();
        assert_eq!(live[0]["peer"], expected.unwrap_or(&own));
    }
}

/// Sends a handshake with raw bytes in a header line, and reads the response.
fn handshake_with(server: &Server, line: &[u8]) -> RawWs {
    let mut stream = http::connect(server.address("http"));
    let host = format!("Host: {}", server.address("http"));
    let head = [&["GET /x HTTP/1.1", &host], &UPGRADE[..]].concat().join("\r\n");
    stream.write_all(&[head.as_bytes(), b"\r\n", line, b"\r\n\r\n"].concat()).unwrap();
    assert_eq!(http::Response::read(&mut stream).unwrap().status, 101);
    RawWs { stream }
}

#[test]
fn no_byte_in_x_forwarded_for_hides_the_address_that_the_proxy_appended() {
    let upstream = Upstream::new();
    let route = format!("{}&proxy=v1", upstream.route("/x", "bytes"));
    let server = Server::start(ECHOGATE, &["--forwarded-from", "127.0.0.1", "--route", &route]);
    for line in [
        &b"X-Forwarded-For: \xff, 203.0.113.9"[..],
        b"X-Forwarded-For: \xe4\xb8\x96, unknown, 203.0.113.9",
        b"X-Forwarded-For: \xff\r\nX-Forwarded-For: 203.0.113.9",
        b"Forwarded: for=\xff, for=203.0.113.9;proto=https",
    ] {
        let mut client = handshake_with(&server, line);
        let mut accepted = upstream.accept();
        let expected = format!("PROXY TCP4 203.0.113.9 127.0.0.1 0 {}\r\n", port(&server));
        let received = read_exactly(&mut accepted, expected.len());
        assert_eq!(String::from_utf8_lossy(&received), expected, "{}", line.escape_ascii());
        let live = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(live[0]["peer"], "203.0.113.9:0");
        client.send(&ws::close(1000, ""));
        drop(accepted);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

fn port(server: &Server) -> u16 {
    server.address("http").parse::<SocketAddr>().unwrap().port()
}

#[test]
fn an_upstream_gets_both_addresses_of_any_families() {
    let upstream = Upstream::new();
    let routes = ["v1", "v2"].map(|version| {
        format!("{}&proxy={version}", upstream.route(&format!("/{version}"), "bytes"))
    });
    let server = server(&["--route", &routes[0], "--route", &routes[1]]);
    let port = port(&server);
    // The destination that the proxy announced is passed on; without one, the server's own address,
    // mapped to IPv6 beside an IPv6 address.
    for (line, more, expected) in [
        (
            "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n",
            &[][..],
            "PROXY TCP6 2001:db8::7 2001:db8::1 50000 443\r\n".to_owned(),
        ),
        (
            "PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n",
            &["X-Forwarded-For: 2001:db8::9"],
            "PROXY TCP6 2001:db8::9 ::ffff:198.51.100.1 0 443\r\n".to_owned(),
        ),
        (
            "PROXY UNKNOWN\r\n",
            &["X-Forwarded-For: 2001:db8::9"],
            format!("PROXY TCP6 2001:db8::9 ::ffff:127.0.0.1 0 {port}\r\n"),
        ),
    ] {
        for version in ["v1", "v2"] {
            let mut stream = from_proxy(server.address("http"));
            stream.write_all(line.as_bytes()).unwrap();
            let _client = RawWs::over(stream, &server, &format!("/{version}"), more);
            let mut accepted = upstream.accept();
            let received =
                read_exactly(&mut accepted, if version == "v1" { expected.len() } else { 52 });
            if version == "v1" {
                assert_eq!(String::from_utf8_lossy(&received), expected);
                continue;
            }
            let fields: Vec<_> = expected.trim_end().split(' ').collect();
            let ip = |text: &str| text.parse::<Ipv6Addr>().unwrap().octets().to_vec();
            let port = |text: &str| text.parse::<u16>().unwrap().to_be_bytes().to_vec();
            let addresses =
                [ip(fields[2]), ip(fields[3]), port(fields[4]), port(fields[5])].concat();
            assert_eq!(received[..16], *b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24", "{expected}");
            assert_eq!(received[16..], addresses, "{expected}");
        }
    }
}

#[test]
fn a_header_of_version_2_with_a_client_certificate_in_it_is_read() {
    let server = server(&[]);
    for tlvs in [5_000, 65_535 - 12] {
        let mut header = HEADERS[1].to_vec();
        header[14..16].copy_from_slice(&u16::try_from(tlvs + 12).unwrap().to_be_bytes());
        header.extend(vec![b'x'; tlvs]);
        header.extend(b"hello");
        let mut stream = from_proxy(server.address("upper"));
        stream.write_all(&header).unwrap();
        assert_eq!(read_exactly(&mut stream, 5), b"HELLO");
        let live = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(live[0]["peer"], "192.0.2.7:50000");
        drop(stream);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

#[test]
fn x_forwarded_for_counts_on_every_path() {
    let arguments = ["--forwarded-from", "127.0.0.1", "--max-per-address", "1"];
    let server = Server::start(ECHOGATE, &arguments);
    let host = format!("Host: {}", server.address("http"));
    let watch = |client: &str| {
        let mut stream = http::connect(server.address("http"));
        let client = format!("X-Forwarded-For: {client}");
        let head = ["GET /api/events HTTP/1.1", &host, &client];
        (http::exchange(&mut stream, &head).status, stream)
    };
    let (first, _watching) = watch("203.0.113.1");
    assert_eq!(first, 200);
    let (second, _watching) = watch("203.0.113.2");
    assert_eq!(second, 200, "another client of the same proxy");
    assert_eq!(watch("203.0.113.1").0, 503);
    let more = ["X-Forwarded-For: 203.0.113.3"];
    assert_eq!(ws::handshake(&server, "/nowhere", &more).status, 404);
    server.wait_for_log(&["no such route", "203.0.113.3"]);
}

#[test]
fn a_page_behind_a_proxy_is_compared_with_the_host_and_scheme_that_the_proxy_names() {
    let trusting = ["--forwarded-from", "127.0.0.1", "--allow-host", "gate.example"];
    let trusting = Server::start(ECHOGATE, &trusting);
    let wary = Server::start(ECHOGATE, &["--allow-host", "gate.example"]);
    let host = "X-Forwarded-Host: gate.example";
    for (origin, more, expected) in [
        ("https://gate.example", &[host, "X-Forwarded-Proto: https"][..], 101),
        ("https://gate.example", &[host, "X-Forwarded-Proto: wss"], 101),
        ("https://gate.example", &[host], 101),
        ("https://gate.example", &["Forwarded: host=gate.example;proto=https"], 101),
        ("http://gate.example", &[host, "X-Forwarded-Proto: https"], 403),
        ("https://evil.example", &["X-Forwarded-Host: evil.example"], 403),
    ] {
        let origin = format!("Origin: {origin}");
        let lines = [&[&*origin], more].concat();
        let status = |server: &Server| ws::handshake(server, "/ws", &lines).status;
        assert_eq!(status(&trusting), expected, "{lines:?}");
        assert_eq!(status(&wary), 403, "{lines:?} of a foreign page");
    }
    // A page of a host name that resolves to this server could send this header itself.
    let rebinding = ["GET /api/connections HTTP/1.1", "Host: evil.example", host];
    let mut stream = http::connect(trusting.address("http"));
    assert_eq!(http::exchange(&mut stream, &rebinding).status, 403);
}

#[test]
fn bridges_to_listeners_here_are_no_proxies() {
    let at = TcpListener::bind("127.77.0.2:0").unwrap().local_addr().unwrap();
    let listener = format!("upper=tcp://{at}");
    let route = format!("/ws=tcp://{at}?framing=message&proxy=v2");
    // The gateway's own upstream connections come from that address, too.
    let everyone = ["--proxy-protocol-from", "127.0.0.0/8"];
    for (route, header) in
        [(&[][..], HEADERS[0]), (&["--listen", &listener, "--route", &route], HEADERS[1])]
    {
        let server = Server::start(ECHOGATE, &[&everyone[..], route].concat());
        let mut stream = from_proxy(server.address("http"));
        stream.write_all(header).unwrap();
        let mut client = RawWs::over(stream, &server, "/ws", &[]);
        assert_eq!(client.exchange(b"hello"), b"HELLO", "{route:?}");
        drop(client);
        let is_told = !route.is_empty();
        server.wait_for_log(&["kind=tcp", if is_told { "192.0.2.7:50000" } else { "127.0.0.1:" }]);
    }
}

#[test]
fn limits_count_the_client_and_not_its_proxy() {
    let server = server(&["--max-per-address", "1"]);
    let connect = |ip: &str| {
        let mut stream = from_proxy(server.address("upper"));
        write!(stream, "PROXY TCP4 {ip} 198.51.100.1 1 2\r\nx").unwrap();
        let mut byte = [0];
        stream.read_exact(&mut byte).map(|()| (stream, byte))
    };
    let (_first, byte) = connect("192.0.2.1").unwrap();
    assert_eq!(&byte, b"X");
    let (_second, byte) = connect("192.0.2.2").unwrap();
    assert_eq!(&byte, b"X");
    connect("192.0.2.1").unwrap_err();
}
