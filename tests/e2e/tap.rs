//! Taps: what passes on a live connection, as `/api/connections/ID/tap` reports it.
//!
//! - `access`: access, limits, the log, metrics
//! - `command`: `echogate tap`
//! - `relays`: forwards, WebSocket servers as upstreams, datagrams
//! - `load`: observers that are slow, and many connections
//! - `shutdown`: SIGTERM

mod access;
mod command;
mod load;
mod relays;
mod shutdown;

use std::{
    fmt::Display,
    io::{BufReader, Write},
    net::TcpStream,
    process::{Command, Stdio},
};

use echogate_proto::recording::{Direction, Event, Opened, Payload, Record, Side, TapPoint};
use echogate_tests::{
    http::{Response, connect},
    program::programs,
    server::Server,
    tcp::read_exactly,
    ws::{self, RawWs, first},
};

use crate::{ECHOGATE, events::next_data, server};

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
        Observer::over(connect(address), id, side, &[])
    }

    /// The same on an existing connection, with lines of `head`.
    fn over(mut stream: TcpStream, id: impl Display, side: &str, head: &[&str]) -> Observer {
        let request = format!("GET /api/connections/{id}/tap?side={side} HTTP/1.1");
        let first = [&*request, "Host: localhost", "Connection: close"];
        let head = [&first, head, &["\r\n"]].concat();
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
        let data = next_data(&mut self.stream)?;
        Some(serde_json::from_str::<Record>(&data).unwrap().event)
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
    let at = |point: &TapPoint| {
        let side = if point.side == Side::Client { "client" } else { "upstream" };
        let arrow = if point.direction == Direction::ToServer { '>' } else { '<' };
        format!("{side} {arrow}")
    };
    let shown = |payload: &Payload| String::from_utf8_lossy(payload.as_bytes()).into_owned();
    match event {
        Event::Opened(_) => "opened".to_owned(),
        Event::Data(data) => {
            let kind = format!("{:?}", data.kind).to_lowercase();
            let fin = data.frame.map_or("", |frame| if frame.fin { " FIN" } else { " part" });
            format!("{} {kind}{fin} {}", at(&data.point), shown(&data.payload))
        }
        Event::Ping(ping) => format!("{} Ping {}", at(&ping.point), shown(&ping.payload)),
        Event::Pong(pong) => format!("{} Pong {}", at(&pong.point), shown(&pong.payload)),
        Event::Close(close) => {
            format!(
                "{} Close {} {}",
                at(&close.point),
                close.code.unwrap_or_default(),
                close.reason
            )
        }
        Event::EndOfInput(point) => format!("{} end", at(point)),
        Event::Reset(point) => format!("{} reset", at(point)),
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
    assert_eq!(client.exchange(b"hello"), b"hello");
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
    let sent: Vec<_> = rest.iter().filter(|line| line.starts_with("client >")).collect();
    assert_eq!(
        sent,
        [
            "client > binary part a",
            "client > Ping ping",
            "client > continuation FIN b",
            "client > Close 1000 bye",
        ]
    );
    let others =
        ["client < Pong ping", "client < Close 1000 ", "upstream > bytes ab", "upstream > end"];
    assert!(others.iter().all(|other| rest.iter().any(|line| line == other)), "{rest:?}");
    assert_eq!(rest.last().unwrap(), "closed: the client closed (1000)");
}

#[test]
fn one_side_is_observed_if_that_is_asked_for() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:upper"]);
    let mut client = RawWs::connect(&server, "/x");
    let id = id_of(&server, "/x");
    let mut observers = ["client", "upstream"].map(|side| Observer::new(&server, id, side));
    observers.iter_mut().for_each(|observer| drop(observer.opened()));
    assert_eq!(client.exchange(b"hello"), b"HELLO");
    let [of_client, of_upstream] = &mut observers;
    assert_eq!(of_client.lines(2), ["client > text FIN hello", "client < text FIN HELLO"]);
    assert_eq!(of_upstream.lines(2), ["upstream > bytes hello", "upstream < bytes HELLO"]);
}
