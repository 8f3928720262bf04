//! Datagrams on one side or both.

use std::{io::Write, net::UdpSocket, os::unix::net::UnixDatagram};

use echogate_tests::{
    server::{Server, WAIT_TIMEOUT},
    tcp::{noise, read_exactly, read_to_end},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first},
};
use tempfile::TempDir;

use crate::ECHOGATE;

fn udp() -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    socket.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    socket
}

/// A server with a forward of a free UDP port to `url`.
fn forward(url: &str) -> Server {
    Server::start(ECHOGATE, &["--forward", &format!("udp://127.0.0.1:0={url}")])
}

fn client(server: &Server) -> UdpSocket {
    let client = udp();
    client.connect(server.address("forward")).unwrap();
    client
}

fn received(socket: &UdpSocket) -> Vec<u8> {
    let mut buffer = vec![0; 70_000];
    let len = socket.recv(&mut buffer).unwrap();
    buffer[..len].to_vec()
}

#[test]
fn datagrams_pass_one_for_one_in_a_session_for_each_client() {
    let upstream = udp();
    let server = forward(&format!("udp://{}", upstream.local_addr().unwrap()));
    let clients = [client(&server), client(&server)];
    let mut sessions = Vec::new();
    for (i, client) in clients.iter().enumerate() {
        let large = vec![b'a' + u8::try_from(i).unwrap(); 60_000];
        client.send(&large).unwrap();
        client.send(b"").unwrap();
        let mut buffer = vec![0; 70_000];
        let (len, from) = upstream.recv_from(&mut buffer).unwrap();
        assert!(buffer[..len] == large);
        assert_eq!(upstream.recv_from(&mut buffer).unwrap(), (0, from));
        sessions.push(from);
    }
    assert_ne!(sessions[0], sessions[1]);
    for (i, session) in sessions.iter().enumerate() {
        for datagram in [format!("first to {i}"), String::new(), format!("second to {i}")] {
            upstream.send_to(datagram.as_bytes(), session).unwrap();
        }
    }
    for (i, client) in clients.iter().enumerate() {
        assert_eq!(received(client), format!("first to {i}").as_bytes());
        assert_eq!(received(client), b"");
        assert_eq!(received(client), format!("second to {i}").as_bytes());
    }
    let listed = server.wait_for_connections(|all| all.len() == 2);
    assert_eq!(listed[0]["kind"], "udp");
    super::wait_until_carried(&server, (60_000, 21), (2, 3));
}

#[test]
fn datagrams_are_records_of_a_byte_stream_with_their_lengths() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}?framing=length&prefix=2", upstream.address()));
    let client = client(&server);
    client.send(b"query").unwrap();
    let mut upstream = upstream.accept();
    assert_eq!(read_exactly(&mut upstream, 7), b"\0\x05query");
    upstream.write_all(b"\0\x03one\0").unwrap();
    upstream.write_all(b"\x03two").unwrap();
    assert_eq!(received(&client), b"one");
    assert_eq!(received(&client), b"two");
    super::wait_until_carried(&server, (5, 6), (1, 2));
    upstream.write_all(b"\0\x05three").unwrap();
    drop(upstream);
    assert_eq!(received(&client), b"three", "the record in front of the end");
    server.wait_for_log(&["the upstream ended the stream", "id=1"]);
}

#[test]
fn records_of_a_byte_stream_are_datagrams_of_the_upstream() {
    let upstream = udp();
    let at = upstream.local_addr().unwrap();
    let forward = format!("127.0.0.1:0=udp://{at}?framing=length&prefix=2");
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = super::client(&server);
    client.write_all(b"\0\x03one\0\x05three").unwrap();
    super::end(&client);
    let mut buffer = [0; 100];
    let (len, session) = upstream.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"one");
    assert_eq!(received(&upstream), b"three");
    upstream.send_to(b"answer", session).unwrap();
    assert_eq!(read_to_end(&mut client), b"\0\x06answer");
    server.wait_for_log(&["the client ended the stream", "id=1"]);
}

#[test]
fn datagrams_are_messages_of_a_websocket_server() {
    let upstream = Upstream::new();
    let server = forward(&format!("ws://{}/", upstream.address()));
    let client = client(&server);
    client.send(b"one").unwrap();
    let mut upstream = RawWsServer::accept(upstream.accept(), &[]);
    client.send(b"two").unwrap();
    for expected in [b"one", b"two"] {
        let frame = upstream.read();
        assert_eq!((frame.first, &*frame.payload), (first::BINARY, &expected[..]));
    }
    upstream.send_frame(first::TEXT, b"text");
    upstream.send_frame(first::BINARY_BEGINS, b"in ");
    upstream.send_frame(first::LAST, b"parts");
    assert_eq!(received(&client), b"text");
    assert_eq!(received(&client), b"in parts");
}

#[test]
fn messages_of_a_route_are_datagrams_of_its_upstream_and_back() {
    let upstream = udp();
    let route = format!("/dns=udp://{}", upstream.local_addr().unwrap());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let mut client = RawWs::connect(&server, "/dns");
    client.send(&[ws::frame(first::TEXT, b"one"), ws::frame(first::BINARY, b"two")].concat());
    let mut buffer = [0; 100];
    let (len, session) = upstream.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"one");
    assert_eq!(received(&upstream), b"two");
    for datagram in [&b"answer"[..], b"more"] {
        upstream.send_to(datagram, session).unwrap();
    }
    for expected in [&b"answer"[..], b"more"] {
        let frame = client.read();
        assert_eq!((frame.first, &*frame.payload), (first::BINARY, expected));
    }
    client.send_frame(first::BINARY, &noise(65_508));
    let (code, reason) = client.read_close();
    assert_eq!(code, Some(1009), "{reason}");
}

#[test]
fn unix_datagram_sockets_are_sides_of_forwards() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name).to_str().unwrap().to_owned();
    let upstream = UnixDatagram::bind(path("upstream")).unwrap();
    upstream.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let forward = format!("unixgram://{}=unixgram://{}", path("front"), path("upstream"));
    let _server = Server::start(ECHOGATE, &["--forward", &forward]);
    let client = UnixDatagram::bind(path("client")).unwrap();
    client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    client.send_to(b"ping", path("front")).unwrap();
    let mut buffer = [0; 100];
    let (len, session) = upstream.recv_from(&mut buffer).unwrap();
    assert_eq!(&buffer[..len], b"ping");
    upstream.send_to_addr(b"pong", &session).unwrap();
    assert_eq!(client.recv(&mut buffer).unwrap(), 4);
}

#[test]
fn a_session_whose_upstream_ends_begins_anew_with_the_next_datagram() {
    let upstream = Upstream::new();
    let server = forward(&format!("tcp://{}?framing=length&prefix=2", upstream.address()));
    let client = client(&server);
    for round in [b"a", b"b"] {
        client.send(round).unwrap();
        let mut stream = upstream.accept();
        assert_eq!(read_exactly(&mut stream, 3), [0, 1, round[0]]);
        drop(stream);
        server.wait_for_connections(<[_]>::is_empty);
    }
}
