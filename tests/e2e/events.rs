//! The live list of connections: `/api/events`, and its data on a connection.

use std::{
    collections::BTreeMap,
    io::{BufRead, BufReader, Write},
    net::{Shutdown, TcpStream},
    time::Instant,
};

use echogate_proto::api::{Closed, Connection, Endpoints, Event, Kind, Legs, Moved};
use echogate_tests::{
    http::{self, Response, connect},
    server::{Server, WAIT_TIMEOUT},
    tcp::{read_to_end, round_trip},
    ws::RawWs,
};

use crate::{ECHOGATE, raise_own_limit, server};

/// The data of the next event on a stream; `None` at its end.
pub(crate) fn next_data(stream: &mut impl BufRead) -> Option<String> {
    let start = Instant::now();
    loop {
        // Comments are sent without events, too.
        assert!(start.elapsed() < WAIT_TIMEOUT, "no event comes");
        let mut line = String::new();
        if stream.read_line(&mut line).unwrap() == 0 {
            return None;
        }
        // Lines with the lengths of chunks and empty lines are skipped.
        if let Some(data) = line.strip_prefix("data: ") {
            return Some(data.to_owned());
        }
    }
}

/// A client of `/api/events`.
pub(crate) struct Subscriber {
    stream: BufReader<TcpStream>,
}

impl Subscriber {
    fn new(server: &Server) -> Subscriber {
        Subscriber::at(server, "/api/events")
    }

    /// A client of a path with events.
    pub(crate) fn at(server: &Server, path: &str) -> Subscriber {
        let mut stream = connect(server.address("http"));
        let request =
            [&format!("GET {path} HTTP/1.1"), "Host: localhost", "Accept: text/event-stream"];
        stream.write_all(format!("{}\r\n\r\n", request.join("\r\n")).as_bytes()).unwrap();
        let head = Response::read(&mut stream).unwrap();
        assert_eq!(head.status, 200);
        assert_eq!(head.header("content-type"), Some("text/event-stream"));
        assert_eq!(head.header("cache-control"), Some("no-cache"));
        Subscriber { stream: BufReader::new(stream) }
    }

    /// The next event; `None` at the end of the stream.
    pub(crate) fn next(&mut self) -> Option<Event> {
        next_data(&mut self.stream).map(|data| serde_json::from_str(&data).unwrap())
    }

    /// The first event: all connections.
    fn all(&mut self) -> (usize, Vec<Connection>) {
        match self.next() {
            Some(Event::All { total, connections, .. }) => (total, connections),
            other => panic!("{other:?}"),
        }
    }

    /// Waits for changes for which `wanted` returns a value.
    fn wait<T>(
        &mut self,
        mut wanted: impl FnMut(&[Connection], &[Moved], &[Closed]) -> Option<T>,
    ) -> T {
        loop {
            match self.next() {
                Some(Event::Changes { opened, moved, closed, .. }) => {
                    if let Some(found) = wanted(&opened, &moved, &closed) {
                        return found;
                    }
                }
                other => panic!("{other:?}"),
            }
        }
    }

    fn opened(&mut self, kind: Kind) -> Connection {
        self.wait(|opened, _, _| opened.iter().find(|c| c.kind == kind).cloned())
    }
}

#[test]
fn a_connection_is_reported_when_it_opens_transfers_and_closes() {
    let server = server();
    let mut early = connect(server.address("upper"));
    round_trip(&mut early, b"early");
    let mut subscriber = Subscriber::new(&server);
    let (total, connections) = subscriber.all();
    assert_eq!((total, connections.len()), (1, 1));
    assert_eq!(connections[0].carried.bytes_sent, 5);
    assert_eq!(connections[0].carried.legs, None, "nobody watched");

    let mut client = connect(server.address("upper"));
    let came = subscriber.opened(Kind::Tcp);
    assert_eq!(came.peer, Some(client.local_addr().unwrap().to_string()));
    assert_eq!(&*came.target, "upper");
    client.write_all(b"moved").unwrap();
    let carried = subscriber.wait(|_, moved, _| {
        moved.iter().find(|moved| moved.id == came.id).map(|moved| moved.carried)
    });
    assert_eq!((carried.bytes_received, carried.bytes_sent), (5, 5));
    let legs = carried.legs;
    assert!(matches!(legs, Some(Legs::Service { service, received: 5 }) if service > 0.0));
    client.shutdown(Shutdown::Write).unwrap();
    let gone = subscriber.wait(|_, _, closed| closed.iter().find(|c| c.id == came.id).cloned());
    assert_eq!(gone.end, "the client closed the connection");
    assert_eq!(gone.carried.bytes_sent, 5);
}

#[test]
fn a_connection_that_closes_at_once_is_reported() {
    let server = server();
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    let mut client = connect(server.address("upper"));
    client.write_all(b"quick").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut client);
    let came = subscriber.opened(Kind::Tcp);
    // The connection's end may be in the same event as its beginning.
    assert_eq!(came.peer, Some(client.local_addr().unwrap().to_string()));
}

#[test]
fn a_page_finds_its_connection_by_its_label_and_the_hop_behind_it() {
    let server = server();
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    let mut client = RawWs::connect(&server, "/ws?label=me-1&other=x");
    let (bridge, hop) = {
        let (mut bridge, mut hop) = (None, None);
        while bridge.is_none() || hop.is_none() {
            subscriber.wait(|opened, _, _| {
                for connection in opened {
                    let place = if connection.kind == Kind::Tcp { &mut hop } else { &mut bridge };
                    *place = Some(connection.clone());
                }
                (!opened.is_empty()).then_some(())
            });
        }
        (bridge.unwrap(), hop.unwrap())
    };
    assert_eq!(bridge.label.as_deref(), Some("me-1"));
    assert!(bridge.upstream_from.is_some());
    assert_eq!(bridge.upstream_from, hop.peer);
    assert_eq!((&*bridge.target, &*hop.target), ("/ws", "upper"));

    client.exchange(b"timed");
    let legs = subscriber.wait(|_, moved, _| {
        moved.iter().find(|moved| moved.id == bridge.id).and_then(|moved| moved.carried.legs)
    });
    let Legs::Bridge { up, upstream, down, received: 5 } = legs else { panic!("{legs:?}") };
    assert!(up > 0.0 && upstream > 0.0 && down > 0.0, "{legs:?}");
}

#[test]
fn the_leg_of_the_upstream_contains_that_of_the_service() {
    const CLIENTS: usize = 30;
    const ROUNDS: u64 = 10;
    let server = server();
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    let mut clients: Vec<RawWs> = (0..CLIENTS).map(|_| RawWs::connect(&server, "/ws")).collect();
    let mut connections: Vec<Connection> = Vec::new();
    while connections.len() < 2 * CLIENTS {
        connections.extend(subscriber.wait(|opened, _, _| Some(opened.to_vec())));
    }
    let bridges = connections.iter().filter(|it| it.kind == Kind::WebSocket);
    let hops: Vec<(u64, u64)> = bridges
        .map(|bridge| {
            let hop = connections.iter().find(|it| it.peer == bridge.upstream_from);
            (bridge.id, hop.expect("each route leads to a listener of this server").id)
        })
        .collect();
    let mut legs = BTreeMap::new();
    for round in 1..=ROUNDS {
        for client in &mut clients {
            client.exchange(b"x");
        }
        // Whether the exchange of this round was reported of both connections.
        let is_reported = |legs: &BTreeMap<u64, Legs>, id: u64| {
            legs.get(&id).is_some_and(|legs| legs.received() == round)
        };
        while !hops
            .iter()
            .all(|&(bridge, hop)| is_reported(&legs, bridge) && is_reported(&legs, hop))
        {
            subscriber.wait(|_, moved, _| {
                legs.extend(moved.iter().filter_map(|it| Some((it.id, it.carried.legs?))));
                Some(())
            });
        }
        for (bridge, hop) in &hops {
            match (legs[bridge], legs[hop]) {
                (Legs::Bridge { upstream, .. }, Legs::Service { service, .. }) => {
                    assert!(service > 0.0 && upstream >= service, "{upstream} µs < {service} µs");
                }
                other => panic!("{other:?}"),
            }
        }
    }
}

#[test]
fn a_service_in_memory_is_the_leg_of_the_upstream() {
    let server = Server::start(ECHOGATE, &["--route", "/memory=service:upper"]);
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    let mut client = RawWs::connect(&server, "/memory");
    subscriber.opened(Kind::WebSocket);
    client.exchange(b"timed");
    let legs = subscriber.wait(|_, moved, _| moved.iter().find_map(|moved| moved.carried.legs));
    assert!(matches!(legs, Legs::Bridge { upstream, .. } if upstream > 0.0), "{legs:?}");
}

#[test]
fn a_label_that_is_too_long_or_not_visible_ascii_is_none() {
    let server = server();
    let long = format!("/ws/echo?label={}", "x".repeat(65));
    for path in
        ["/ws/echo", "/ws/echo?label=", "/ws/echo?label=a%20b", "/ws/echo?label=%C3%A4", &long]
    {
        let client = RawWs::connect(&server, path);
        let all = server.wait_for_connections(|all| all.len() == 1);
        assert!(all[0]["label"].is_null(), "{path}");
        drop(client);
        server.wait_for_connections(<[_]>::is_empty);
    }
}

#[test]
fn of_many_connections_the_first_thousand_are_listed() {
    raise_own_limit();
    let server = server();
    let clients: Vec<_> = (0..1100).map(|_| connect(server.address("upper"))).collect();
    server.wait_for_connections(|all| all.len() == 1100);
    let (total, connections) = Subscriber::new(&server).all();
    assert_eq!((total, connections.len()), (1100, 1000));
    drop(clients);
}

#[test]
fn a_connection_beyond_the_list_is_reported_once_another_closes() {
    raise_own_limit();
    let server = server();
    let mut clients: Vec<_> = (0..1001).map(|_| connect(server.address("upper"))).collect();
    server.wait_for_connections(|all| all.len() == 1001);
    let mut subscriber = Subscriber::new(&server);
    assert_eq!(subscriber.all().1.len(), 1000);
    clients.drain(..10);
    loop {
        if let Event::All { total, connections, .. } = subscriber.next().unwrap() {
            assert_eq!(total, connections.len());
            break;
        }
    }
}

#[test]
fn a_subscriber_that_does_not_read_costs_nothing_and_gets_a_new_list() {
    raise_own_limit();
    let server = server();
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    for _ in 0..20 {
        let clients: Vec<_> = (0..200).map(|_| connect(server.address("upper"))).collect();
        drop(clients);
    }
    let last = connect(server.address("upper"));
    let peer = Some(last.local_addr().unwrap().to_string());
    // Whatever events were missed, the reported changes lead to the current list.
    let mut known = BTreeMap::new();
    while known.values().collect::<Vec<_>>() != [&peer] {
        match subscriber.next().unwrap() {
            Event::All { connections, .. } => {
                known = connections.into_iter().map(|c| (c.id, c.peer)).collect();
            }
            Event::Changes { opened, closed, .. } => {
                known.extend(opened.into_iter().map(|c| (c.id, c.peer)));
                for gone in closed {
                    known.remove(&gone.id);
                }
            }
        }
    }
}

#[test]
fn the_number_of_subscribers_is_limited() {
    let server = Server::start(ECHOGATE, &["--max-per-address", "3"]);
    let subscribers: Vec<_> = (0..3).map(|_| Subscriber::new(&server)).collect();
    let refused = http::get(server.address("http"), "/api/events");
    assert_eq!((refused.status, refused.header("retry-after")), (503, Some("5")));
    drop(subscribers);

    let server = self::server();
    let subscribers: Vec<_> = (0..64).map(|_| Subscriber::new(&server)).collect();
    assert_eq!(http::get(server.address("http"), "/api/events").status, 503);
    assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
    drop(subscribers);
}

#[test]
fn subscribers_do_not_delay_the_servers_exit() {
    let mut server = server();
    let mut subscriber = Subscriber::new(&server);
    subscriber.all();
    server.signal("TERM");
    while subscriber.next().is_some() {}
    assert_eq!(server.wait().code(), Some(0));
    assert!(!server.log().iter().any(|line| line.contains("cut off")), "{:?}", server.log());
}

#[test]
fn the_endpoints_are_those_that_are_bound() {
    let server = Server::start(ECHOGATE, &["--route", "/raw=tcp://127.0.0.1:9?protocol=mqtt"]);
    let endpoints = http::get(server.address("http"), "/api/endpoints");
    let Endpoints { routes, listeners, .. } = serde_json::from_slice(&endpoints.body).unwrap();
    assert_eq!((routes.len(), listeners.len()), (1, 1), "the harness gives it a listener");
    assert_eq!(routes[0].path, "/raw");
    assert_eq!(routes[0].upstream, "tcp://127.0.0.1:9");
    assert_eq!((&*routes[0].framing, routes[0].protocol.as_deref()), ("bytes", Some("mqtt")));

    let server = self::server();
    let endpoints = http::get(server.address("http"), "/api/endpoints");
    let Endpoints { listeners, .. } = serde_json::from_slice(&endpoints.body).unwrap();
    let upper = format!("tcp://{}", server.address("upper"));
    assert!(listeners.iter().any(|listener| listener.url == upper), "{listeners:?}");
}
