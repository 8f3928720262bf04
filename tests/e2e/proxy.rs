//! The client's real address: the PROXY protocol, in and out, and `X-Forwarded-For`.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
};

use echogate_tests::{
    http,
    server::{PATIENCE, Server},
    tcp::read_exactly,
    upstream::Upstream,
    ws::{RawWs, first},
};
use socket2::{Domain, Socket, Type};

use crate::ECHOGATE;

/// All of 127.0.0.0/8 is this machine's: the proxy is there, others come from 127.0.0.1.
const PROXY: [u8; 4] = [127, 0, 0, 2];

/// `192.0.2.7:50000`, in version 1 and version 2.
const HEADERS: [&[u8]; 2] = [
    b"PROXY TCP4 192.0.2.7 198.51.100.1 50000 443\r\n",
    b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c\xc0\0\x02\x07\xc6\x33\x64\x01\xc3\x50\x01\xbb",
];

fn server(arguments: &[&str]) -> Server {
    let from = ["--proxy-protocol-from", "127.0.0.2", "--route", "/ws=service:upper"];
    Server::start(ECHOGATE, &[&from[..], arguments].concat())
}

/// A connection from the proxy.
fn from_proxy(address: &str) -> TcpStream {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
    socket.bind(&SocketAddr::from((PROXY, 0)).into()).unwrap();
    socket.connect(&address.parse::<SocketAddr>().unwrap().into()).unwrap();
    let stream = TcpStream::from(socket);
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.set_nodelay(true).unwrap();
    stream
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
        client.send_frame(first::TEXT, b"hello");
        assert_eq!(client.read().payload, b"HELLO");
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
        // What was not read makes the end a reset.
        stream.read_to_end(&mut rest).ok();
        assert_eq!(rest, b"", "{}", bytes.escape_ascii());
    }
    server.wait_for_log(&["no PROXY header", "127.0.0.2"]);
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
fn an_upstream_is_told_of_the_client_before_anything_else() {
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
        client.send_frame(first::TEXT, b"hello");
        assert_eq!(client.read().payload, b"HELLO");
        let live = server.wait_for_connections(|all| all.len() == 1);
        let own = client.stream.local_addr().unwrap().to_string();
        assert_eq!(live[0]["peer"], expected.unwrap_or(&own));
    }
}

#[test]
fn bridges_to_listeners_here_are_no_proxies() {
    let at = TcpListener::bind("127.77.0.2:0").unwrap().local_addr().unwrap();
    let listener = format!("upper=tcp://{at}");
    let route = format!("/ws=tcp://{at}?framing=message&proxy=v2");
    // Bridges come from there, too.
    let everyone = ["--proxy-protocol-from", "127.0.0.0/8"];
    for (route, header) in
        [(&[][..], HEADERS[0]), (&["--listen", &listener, "--route", &route], HEADERS[1])]
    {
        let server = Server::start(ECHOGATE, &[&everyone[..], route].concat());
        let mut stream = from_proxy(server.address("http"));
        stream.write_all(header).unwrap();
        let mut client = RawWs::over(stream, &server, "/ws", &[]);
        client.send_frame(first::TEXT, b"hello");
        assert_eq!(client.read().payload, b"HELLO", "{route:?}");
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
