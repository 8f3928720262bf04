use echogate_proto::live::{Closed, ListenerInfo, Moved, RouteInfo};

use super::*;

fn connection(id: u64, kind: Kind, peer: &str) -> Connection {
    Connection {
        id,
        kind,
        peer: Some(peer.to_owned()),
        target: "upper".into(),
        label: None,
        upstream_from: None,
        since: 0.0,
        age: 1.0,
        carried: Carried::default(),
    }
}

fn opened(connections: Vec<Connection>) -> Event {
    let total = connections.len();
    Event::Changes { total, opened: connections, moved: vec![], closed: vec![] }
}

fn moved(id: u64, bytes: u64) -> Event {
    let carried = Carried { bytes_received: bytes, ..Carried::default() };
    Event::Changes { total: 1, opened: vec![], moved: vec![Moved { id, carried }], closed: vec![] }
}

#[test]
fn a_client_appears_moves_and_is_gone_a_while_after_its_end() {
    let mut live = Live::default();
    live.take(opened(vec![connection(7, Kind::Tcp, "a:1")]), 0.0);
    live.take(moved(7, 5), 10.0);
    let guest = live.guests().next().unwrap();
    assert_eq!((guest.moved, guest.connection.carried.bytes_received), (10.0, 5));
    assert_eq!(guest.age(4000.0), 5.0);
    let end = Closed { id: 7, end: "end of stream".into(), carried: Carried::default() };
    let event = Event::Changes { total: 0, opened: vec![], moved: vec![], closed: vec![end] };
    live.take(event, 20.0);
    assert_eq!(live.guests().next().unwrap().age(9999.0), 1.02, "it grows no older");
    assert!(live.tidy(20.0 + Live::LINGER - 1.0));
    assert!(!live.tidy(20.0 + Live::LINGER));
    assert_eq!(live.guests().count(), 0);
}

#[test]
fn everything_anew_forgets_what_was() {
    let mut live = Live::default();
    live.take(opened(vec![connection(1, Kind::Tcp, "a:1")]), 0.0);
    live.lost();
    assert!(!live.is_connected());
    let connections = vec![connection(2, Kind::Udp, "b:1")];
    live.take(Event::All { total: 5000, connections }, 1.0);
    assert!(live.is_connected());
    assert_eq!(live.total(), 5000);
    assert_eq!(live.guests().map(|guest| guest.connection.id).collect::<Vec<_>>(), [2]);
}

#[test]
fn ones_own_connection_and_the_one_behind_it_are_found() {
    let mut live = Live::default();
    let mut ours = connection(1, Kind::WebSocket, "a:1");
    ours.label = Some("x".into());
    ours.upstream_from = Some("g:9".into());
    live.take(
        opened(vec![ours, connection(2, Kind::Tcp, "g:9"), connection(3, Kind::Tcp, "c:1")]),
        0.0,
    );
    let ours = live.labelled("x").unwrap();
    assert_eq!(live.behind(ours).unwrap().connection.id, 2);
    assert!(live.labelled("y").is_none());
}

#[test]
fn the_end_of_one_that_is_not_known_changes_nothing() {
    let mut live = Live::default();
    live.take(moved(9, 1), 0.0);
    assert_eq!(live.guests().count(), 0);
}

#[test]
fn what_a_route_answers_follows_from_where_it_leads() {
    let route = |path: &str, upstream: &str| RouteInfo {
        path: path.into(),
        upstream: upstream.into(),
        framing: "message".into(),
        protocol: None,
    };
    let listener = ListenerInfo { service: "upper".into(), url: "tcp://127.0.0.1:7007".into() };
    let endpoints = Endpoints {
        routes: vec![
            route("/ws", "tcp://127.0.0.1:7007"),
            route("/ws/echo", "service:echo"),
            route("/vnc", "tcp://127.0.0.1:5900"),
        ],
        listeners: vec![listener],
    };
    assert_eq!(service(&endpoints, "/ws"), Some("upper"));
    assert_eq!(service(&endpoints, "/ws/echo?a=b"), Some("echo"));
    assert_eq!(service(&endpoints, "/vnc"), None);
    assert_eq!(service(&endpoints, "/none"), None);
    assert_eq!(expected(Some("upper")), Expect::Upper);
    assert_eq!(expected(None), Expect::Anything);
    assert_eq!(pairing(Some("chat")), Pairing::Never);
    assert_eq!(pairing(None), Pairing::Shape);
}
