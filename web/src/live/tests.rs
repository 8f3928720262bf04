use echogate_proto::api::{Closed, Kind, ListenerInfo, Moved, RouteInfo};

use super::*;
use crate::i18n::Language;

fn connection(id: u64, kind: Kind, peer: &str) -> Connection {
    Connection {
        id,
        replica: None,
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
    Event::Changes { total, opened: connections, moved: vec![], closed: vec![], missing: vec![] }
}

fn moved(id: u64, bytes: u64) -> Event {
    let carried = Carried { bytes_received: bytes, ..Carried::default() };
    Event::Changes {
        total: 1,
        opened: vec![],
        moved: vec![Moved { id, carried }],
        closed: vec![],
        missing: vec![],
    }
}

#[test]
fn a_connection_appears_carries_bytes_and_is_removed_a_while_after_its_end() {
    let mut live = Live::default();
    live.apply(opened(vec![connection(7, Kind::Tcp, "a:1")]), 0.0);
    live.apply(moved(7, 5), 10.0);
    let row = live.rows().next().unwrap();
    assert_eq!((row.last_traffic, row.connection.carried.bytes_received), (10.0, 5));
    assert_eq!(row.age(4000.0), 5.0);
    let end = Closed { id: 7, end: "end of stream".into(), carried: Carried::default() };
    let event = Event::Changes {
        total: 0,
        opened: vec![],
        moved: vec![],
        closed: vec![end],
        missing: vec![],
    };
    live.apply(event, 20.0);
    assert_eq!(live.rows().next().unwrap().age(9999.0), 1.02, "it grows no older");
    let due = 20.0 + Live::ENDED_SHOWN;
    assert_eq!(live.remove_ended(due - 1.0), Some(due));
    assert_eq!(live.remove_ended(due), None);
    assert_eq!(live.rows().count(), 0);
}

#[test]
fn a_full_list_replaces_the_rows() {
    let mut live = Live::default();
    live.apply(opened(vec![connection(1, Kind::Tcp, "a:1")]), 0.0);
    live.disconnected(None, 7.0);
    live.disconnected(None, 8.0);
    assert!(!live.is_connected());
    assert_eq!(live.as_of(9.0), 7.0, "what is shown does not age any further");
    let connections = vec![connection(2, Kind::Udp, "b:1")];
    live.apply(Event::All { total: 5000, connections, missing: vec!["b".into()] }, 1.0);
    assert!(live.is_connected());
    assert_eq!(live.total(), 5000);
    assert_eq!(live.missing(), ["b".into()]);
    assert_eq!(live.rows().map(|row| row.connection.id).collect::<Vec<_>>(), [2]);
}

#[test]
fn a_list_that_does_not_come_has_a_reason() {
    let texts = Language::English.texts();
    let refusal = |status, reason: &str| Some(Refusal { status, reason: reason.into() });
    let mut live = Live::default();
    let trouble = |live: &Live| live.trouble(texts, 6_002.0).unwrap_or_default();
    assert_eq!(trouble(&live), "Waiting for the server’s list…");
    live.disconnected(refusal(429, "too many"), 0.0);
    assert_eq!(trouble(&live), "No list of clients: too many; trying again.");
    live.disconnected(refusal(404, "no such path"), 0.0);
    assert!(trouble(&live).contains("--no-api"), "{}", trouble(&live));
    live.disconnected(refusal(403, "another origin"), 0.0);
    assert_eq!(trouble(&live), "No list of clients: another origin.");
    live.apply(opened(vec![]), 1.0);
    assert_eq!(live.trouble(texts, 2.0), None);
    live.disconnected(None, 2.0);
    assert_eq!(trouble(&live), "Live updates lost 6 s ago; reconnecting.");
    live.disconnected(refusal(0, "Failed to fetch"), 3.0);
    assert_eq!(trouble(&live), "Live updates lost 6 s ago; reconnecting.");
    let temporary = |status| refusal(status, "").unwrap().is_temporary();
    assert_eq!([0, 429, 500, 503].map(temporary), [true; 4]);
    assert_eq!([400, 403, 404].map(temporary), [false; 3]);
}

#[test]
fn the_pages_own_connection_and_its_upstream_are_found() {
    let mut live = Live::default();
    let mut ours = connection(1, Kind::WebSocket, "a:1");
    ours.label = Some("x".into());
    ours.upstream_from = Some("g:9".into());
    live.apply(
        opened(vec![ours, connection(2, Kind::Tcp, "g:9"), connection(3, Kind::Tcp, "c:1")]),
        0.0,
    );
    let ours = live.with_label("x").unwrap();
    assert_eq!(live.upstream_of(ours).unwrap().connection.id, 2);
    assert!(live.with_label("y").is_none());
}

#[test]
fn an_event_about_an_unknown_connection_changes_nothing() {
    let mut live = Live::default();
    live.apply(moved(9, 1), 0.0);
    assert_eq!(live.rows().count(), 0);
}

#[test]
fn the_service_of_a_route_decides_pairing_and_expected_reply() {
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
        forwards: Vec::new(),
    };
    assert_eq!(service_of_path(&endpoints, "/ws"), Some("upper"));
    assert_eq!(service_of_path(&endpoints, "/ws/echo?a=b"), Some("echo"));
    assert_eq!(service_of_path(&endpoints, "/vnc"), None);
    assert_eq!(service_of_path(&endpoints, "/none"), None);
    assert_eq!(hops(&endpoints, "/ws"), Hops::Socket { transport: "TCP", service: "upper" });
    assert_eq!(hops(&endpoints, "/ws/echo?a"), Hops::InMemory { service: "echo" });
    assert_eq!(hops(&endpoints, "/vnc"), Hops::Elsewhere { upstream: "tcp://127.0.0.1:5900" });
    assert_eq!(hops(&endpoints, "/none"), Hops::Unknown);
    assert_eq!(expected_reply(Some("upper")), Expect::Upper);
    assert_eq!(expected_reply(None), Expect::Anything);
    assert_eq!(pairing_of(&endpoints, "/ws"), Pairing::Order);
    assert_eq!(pairing_of(&endpoints, "/ws/echo?a=b"), Pairing::Order);
    assert_eq!(pairing_of(&endpoints, "/vnc"), Pairing::None);
    assert_eq!(pairing_of(&endpoints, "/none"), Pairing::None);
}
