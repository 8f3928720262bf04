//! Connections of forwards and to WebSocket servers, and datagrams.

use std::{
    io::{Read, Write},
    net::{Shutdown, UdpSocket},
    os::unix::net::{UnixListener, UnixStream},
};

use echogate_tests::{
    http::connect,
    server::{Server, WAIT_TIMEOUT},
    tcp::{self, read_exactly},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first},
};

use super::Observer;
use crate::ECHOGATE;

#[test]
fn resets_and_half_closed_directions_of_a_forward_are_seen() {
    let upstream = Upstream::new();
    let forward = format!("0=tcp://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = connect(server.address("forward"));
    let mut accepted = upstream.accept();
    // The upstream accepts before the connection is registered.
    let all = server.wait_for_connections(|all| all.len() == 1);
    let target = all[0]["target"].as_str().unwrap().to_owned();
    let mut observer = Observer::of(&server, &target);
    assert_eq!(observer.opened().upstream.unwrap(), format!("tcp://{}", upstream.address()));
    client.write_all(b"request").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(tcp::read_to_end(&mut accepted), b"request");
    assert_eq!(
        observer.lines(4),
        ["client > bytes request", "upstream > bytes request", "client > end", "upstream > end"]
    );
    accepted.write_all(b"reply").unwrap();
    assert_eq!(read_exactly(&mut client, 5), b"reply");
    tcp::reset(accepted);
    let rest = observer.rest();
    assert_eq!(rest[..2], ["upstream < bytes reply", "client < bytes reply"].map(str::to_owned));
    assert!(rest.contains(&"upstream < reset".to_owned()), "{rest:?}");
    assert!(rest.contains(&"client < reset".to_owned()), "{rest:?}");
    client.read(&mut [0]).unwrap_err();
}

#[test]
fn an_end_in_order_of_unix_sockets_is_no_reset() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let upstream = UnixListener::bind(path("upstream")).unwrap();
    let url = |name: &str| format!("unix://{}", path(name).display());
    let forward = format!("{}={}", url("forward"), url("upstream"));
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = UnixStream::connect(path("forward")).unwrap();
    let (mut accepted, _) = upstream.accept().unwrap();
    let mut observer = Observer::of(&server, &url("upstream"));
    observer.opened();
    client.write_all(b"request").unwrap();
    drop(client);
    assert_eq!(tcp::read_to_end(&mut accepted), b"request");
    drop(accepted);
    let rest = observer.rest();
    assert_eq!(rest.iter().filter(|line| line.ends_with(" end")).count(), 4, "{rest:?}");
    assert!(!rest.iter().any(|line| line.ends_with(" reset")), "{rest:?}");
}

#[test]
fn a_forward_to_a_websocket_server_shows_bytes_on_one_side_and_frames_on_the_other() {
    let upstream = Upstream::new();
    let forward = format!("0=ws://user:password@{}/chat", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = connect(server.address("forward"));
    let mut accepted = RawWsServer::accept(upstream.accept(), &[]);
    accepted.send_frame(first::TEXT, b"welcome");
    assert_eq!(read_exactly(&mut client, 7), b"welcome");
    // The upstream accepts before the connection is registered.
    let all = server.wait_for_connections(|all| all.len() == 1);
    let target = all[0]["target"].as_str().unwrap().to_owned();
    let mut observer = Observer::of(&server, &target);
    let opened = observer.opened();
    let url = opened.upstream.unwrap();
    assert!(url.starts_with("ws://") && !url.contains("password"), "{url}");
    assert!(opened.upstream_has_frames && !opened.client_has_frames);
    assert_eq!(observer.lines(2), ["upstream < text FIN welcome", "client < bytes welcome"]);
    client.write_all(b"hi").unwrap();
    assert_eq!(accepted.read().payload, b"hi");
    assert_eq!(observer.lines(2), ["client > bytes hi", "upstream > binary FIN hi"]);
    accepted.close(1001, "later");
    let rest = observer.rest();
    assert_eq!(rest[0], "upstream < Close 1001 later", "{rest:?}");
}

#[test]
fn messages_between_two_websockets_are_seen_on_both_sides() {
    let upstream = Upstream::new();
    let route = format!("/x=ws://{}/", upstream.address());
    let server = Server::start(ECHOGATE, &["--route", &route]);
    let accepting = upstream.serve(|stream| RawWsServer::accept(stream, &[]));
    let mut client = RawWs::connect(&server, "/x");
    let mut accepted = accepting.join().unwrap();
    let mut observer = Observer::of(&server, "/x");
    observer.opened();
    // The header and a part of the payload, then the rest.
    let frame = ws::frame(first::TEXT, b"hello");
    client.send(&frame[..8]);
    assert_eq!(observer.lines(2)[0], "client > text FIN he");
    client.send(&frame[8..]);
    assert_eq!([accepted.read().payload, accepted.read().payload].concat(), b"hello");
    let seen = observer.lines(2);
    assert_eq!(seen, ["client > text FIN llo", "upstream > continuation FIN llo"]);
    accepted.send_frame(first::PING, b"ping");
    assert_eq!(accepted.read().first, first::PONG);
    assert_eq!(observer.lines(2), ["upstream < Ping ping", "upstream > Pong ping"]);
}

#[test]
fn datagrams_of_services_and_forwards_are_seen() {
    let server = Server::start(
        ECHOGATE,
        &[
            "--listen",
            "upper=udp://127.0.0.1:0",
            "--forward",
            "udp://127.0.0.1:0=service:upper?framing=length",
        ],
    );
    let client = UdpSocket::bind("127.0.0.1:0").unwrap();
    client.set_read_timeout(Some(WAIT_TIMEOUT)).unwrap();
    let exchange = |to: &str, text: &[u8]| {
        client.send_to(text, to).unwrap();
        let len = client.recv(&mut [0; 100]).unwrap();
        assert_eq!(len, text.len());
    };
    let to = server.urls("upper").last().unwrap();
    let to = to.strip_prefix("udp://").unwrap();
    exchange(to, b"before");
    let mut observer = Observer::of(&server, "upper");
    observer.opened();
    assert_eq!(observer.lines(2), ["client > datagram before", "client < datagram BEFORE"]);
    exchange(to, b"after");
    assert_eq!(observer.lines(2), ["client > datagram after", "client < datagram AFTER"]);

    exchange(server.address("forward"), b"hello");
    let target = server.connections()[1]["target"].as_str().unwrap().to_owned();
    let mut observer = Observer::of(&server, &target);
    observer.opened();
    let mut seen = observer.lines(1);
    assert_eq!(seen, ["client > datagram hello"]);
    while seen.last().unwrap() != "client < datagram HELLO" {
        seen.extend(observer.lines(1));
    }
    let upstream = seen.iter().filter_map(|line| line.strip_prefix("upstream > bytes "));
    assert_eq!(upstream.collect::<String>(), "\0\0\0\u{5}hello", "with the length in front");
}
