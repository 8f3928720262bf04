//! Taps: what passes on a live connection, as `/api/connections/ID/tap` reports it.
//!
//! - `access`: those who may observe, limits, the log, metrics
//! - `command`: `echogate tap`
//! - `load`: observers that are slow, and many connections

mod access;
mod command;
mod load;

use std::{
    io::{BufRead, BufReader, Read, Write},
    net::{Shutdown, TcpStream, UdpSocket},
    process::{Command, Stdio},
    time::Instant,
};

use echogate_proto::recording::{Direction, Event, Opened, Payload, Place, Record, Side};
use echogate_tests::{
    http::{Response, connect},
    program::programs,
    server::{Server, WAIT_TIMEOUT},
    tcp::{self, read_exactly},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first},
};

use crate::{ECHOGATE, server};

/// An observer of a connection.
pub(crate) struct Observer {
    stream: BufReader<TcpStream>,
}

impl Observer {
    /// Observes a side of a connection.
    pub(crate) fn new(server: &Server, id: u64, side: &str) -> Observer {
        Observer::at(server.address("http"), id, side)
    }

    /// The same for the server at an address of plain HTTP.
    pub(crate) fn at(address: &str, id: u64, side: &str) -> Observer {
        Observer::over(connect(address), id, side)
    }

    /// The same on an existing connection.
    fn over(mut stream: TcpStream, id: u64, side: &str) -> Observer {
        let request = format!("GET /api/connections/{id}/tap?side={side} HTTP/1.1");
        let head = [&*request, "Host: localhost", "Connection: close", "\r\n"];
        stream.write_all(head.join("\r\n").as_bytes()).unwrap();
        let head = Response::read(&mut stream).unwrap();
        assert_eq!(head.status, 200, "{}", head.text());
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        Observer { stream: BufReader::new(stream) }
    }

    /// Observes both sides of the only connection to a target.
    pub(crate) fn of(server: &Server, target: &str) -> Observer {
        Observer::new(server, id_of(server, target), "both")
    }

    /// The next event; none at the end of the stream.
    fn next(&mut self) -> Option<Event> {
        let start = Instant::now();
        loop {
            // Comments are sent without events, too.
            assert!(start.elapsed() < WAIT_TIMEOUT, "no event comes");
            let mut line = String::new();
            if self.stream.read_line(&mut line).unwrap() == 0 {
                return None;
            }
            // Lines with the lengths of chunks and empty lines are skipped.
            if let Some(data) = line.strip_prefix("data: ") {
                return Some(serde_json::from_str::<Record>(data).unwrap().event);
            }
        }
    }

    /// The first event.
    pub(crate) fn opened(&mut self) -> Opened {
        match self.next() {
            Some(Event::Opened(opened)) => *opened,
            other => panic!("{other:?}"),
        }
    }

    /// The next events, each as a line.
    pub(crate) fn lines(&mut self, count: usize) -> Vec<String> {
        (0..count).map(|_| line(&self.next().expect("an event"))).collect()
    }

    /// The events up to the end of the connection, each as a line.
    fn rest(&mut self) -> Vec<String> {
        let mut lines = Vec::new();
        while let Some(event) = self.next() {
            lines.push(line(&event));
        }
        lines
    }
}

/// The identifier of the only connection to a target, as soon as there is one.
pub(crate) fn id_of(server: &Server, target: &str) -> u64 {
    let is_target = |connection: &serde_json::Value| connection["target"] == target;
    let all = server.wait_for_connections(|all| all.iter().filter(|c| is_target(c)).count() == 1);
    all.into_iter().find(is_target).unwrap()["id"].as_u64().unwrap()
}

/// An event as a line: `client > text FIN hello`.
fn line(event: &Event) -> String {
    let at = |place: &Place| {
        let side = if place.side == Side::Client { "client" } else { "upstream" };
        let arrow = if place.direction == Direction::ToServer { '>' } else { '<' };
        format!("{side} {arrow}")
    };
    let shown = |payload: &Payload| String::from_utf8_lossy(payload.as_bytes()).into_owned();
    match event {
        Event::Opened(_) => "opened".to_owned(),
        Event::Data(data) => {
            let kind = format!("{:?}", data.kind).to_lowercase();
            let fin = data.frame.map_or("", |frame| if frame.fin { " FIN" } else { " part" });
            format!("{} {kind}{fin} {}", at(&data.place), shown(&data.payload))
        }
        Event::Ping(ping) => format!("{} Ping {}", at(&ping.place), shown(&ping.payload)),
        Event::Pong(pong) => format!("{} Pong {}", at(&pong.place), shown(&pong.payload)),
        Event::Close(close) => {
            format!(
                "{} Close {} {}",
                at(&close.place),
                close.code.unwrap_or_default(),
                close.reason
            )
        }
        Event::EndOfInput(place) => format!("{} end", at(place)),
        Event::Reset(place) => format!("{} reset", at(place)),
        Event::Lost(lost) => format!("lost {}", lost.events),
        Event::Closed { reason } => format!("closed: {reason}"),
    }
}

#[test]
fn what_was_typed_in_nc_before_and_after_is_seen_and_the_end() {
    let Some([nc]) = programs(["nc"]) else { return };
    let server = server();
    let (host, port) = server.address("upper").split_once(':').unwrap();
    let mut command = Command::new(nc);
    command.args(["-N", host, port]).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut nc = command.spawn().unwrap();
    let (mut input, mut output) = (nc.stdin.take().unwrap(), nc.stdout.take().unwrap());
    input.write_all(b"before\n").unwrap();
    assert_eq!(read_exactly(&mut output, 7), b"BEFORE\n");
    let mut observer = Observer::of(&server, "upper");
    let opened = observer.opened();
    assert_eq!((opened.bytes_before, &*opened.target), (0, "upper"));
    assert_eq!(opened.local.as_deref(), Some(server.address("upper")));
    assert_eq!(observer.lines(2), ["client > bytes before\n", "client < bytes BEFORE\n"]);
    input.write_all(b"after\n").unwrap();
    assert_eq!(observer.lines(2), ["client > bytes after\n", "client < bytes AFTER\n"]);
    drop(input);
    assert_eq!(
        observer.rest(),
        ["client > end", "client < end", "closed: the client closed the connection"]
    );
    nc.wait().unwrap();
}

#[test]
fn frames_of_a_websocket_are_seen_with_their_opcodes_and_its_close() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:echo"]);
    let secret = ["Cookie: secret=1", "X-Shown: yes"];
    let mut client = RawWs::connect_with(&server, "/x", &secret);
    let mut observer = Observer::of(&server, "/x");
    let opened = observer.opened();
    let request = opened.request.unwrap();
    assert!(request.starts_with("GET /x HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("x-shown: yes") && request.contains("cookie: ***"), "{request}");
    assert!(!request.contains("secret"), "{request}");
    assert!(opened.response.unwrap().starts_with("HTTP/1.1 101 Switching Protocols\r\n"));
    assert!(opened.client_has_frames && !opened.upstream_has_frames);
    assert_eq!(opened.upstream.as_deref(), Some("service:echo"));
    client.send_frame(first::TEXT, b"hello");
    assert_eq!(client.read().payload, b"hello");
    assert_eq!(
        observer.lines(4),
        [
            "client > text FIN hello",
            "upstream > bytes hello",
            "upstream < bytes hello",
            "client < text FIN hello",
        ]
    );
    let frames = [
        ws::frame(first::BINARY_BEGINS, b"a"),
        ws::frame(first::PING, b"ping"),
        ws::frame(first::LAST, b"b"),
    ];
    client.send(&frames.concat());
    client.send(&ws::close(1000, "bye"));
    let rest = observer.rest();
    assert_eq!(
        rest[..4],
        [
            "client > binary part a",
            "client > Ping ping",
            "client > continuation FIN b",
            "upstream > bytes ab",
        ]
        .map(str::to_owned),
        "{rest:?}"
    );
    for seen in
        ["client < Pong ping", "client > Close 1000 bye", "client < Close 1000 ", "upstream > end"]
    {
        assert!(rest.iter().any(|line| line.starts_with(seen)), "{seen}: {rest:?}");
    }
    assert_eq!(rest.last().unwrap(), "closed: the client closed (1000)");
}

#[test]
fn one_side_is_observed_if_that_is_asked_for() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:upper"]);
    let mut client = RawWs::connect(&server, "/x");
    let id = id_of(&server, "/x");
    let mut observers = ["client", "upstream"].map(|side| Observer::new(&server, id, side));
    observers.iter_mut().for_each(|observer| drop(observer.opened()));
    client.send_frame(first::TEXT, b"hello");
    assert_eq!(client.read().payload, b"HELLO");
    let [of_client, of_upstream] = &mut observers;
    assert_eq!(of_client.lines(2), ["client > text FIN hello", "client < text FIN HELLO"]);
    assert_eq!(of_upstream.lines(2), ["upstream > bytes hello", "upstream < bytes HELLO"]);
}

#[test]
fn resets_and_half_closed_directions_of_a_forward_are_seen() {
    let upstream = Upstream::new();
    let forward = format!("0=tcp://{}", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = connect(server.address("forward"));
    let mut accepted = upstream.accept();
    let target = server.connections()[0]["target"].as_str().unwrap().to_owned();
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
fn a_forward_to_a_websocket_server_shows_bytes_on_one_side_and_frames_on_the_other() {
    let upstream = Upstream::new();
    let forward = format!("0=ws://user:password@{}/chat", upstream.address());
    let server = Server::start(ECHOGATE, &["--forward", &forward]);
    let mut client = connect(server.address("forward"));
    let mut accepted = RawWsServer::accept(upstream.accept(), &[]);
    accepted.send_frame(first::TEXT, b"welcome");
    assert_eq!(read_exactly(&mut client, 7), b"welcome");
    let target = server.connections()[0]["target"].as_str().unwrap().to_owned();
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
