//! Limits that are lowered and raised while connections are open.

use std::{
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{read_exactly, read_to_end, round_trip},
    ws::{RawWs, handshake},
};

use super::{Reloaded, http_and, listener, replies_in_upper_case, route};

fn settings(limits: &str, options: &str) -> String {
    let upper = listener("upper", "tcp://127.0.0.1:0");
    http_and(&format!("{limits}\n{upper}{}", route("/ws", &format!("service:upper{options}"))))
}

/// Whether a WebSocket client is admitted; it disconnects.
fn is_admitted(server: &Server) -> bool {
    let live = server.connections().len();
    let status = handshake(server, "/ws", &[]).status;
    server.wait_for_connections(|all| all.len() == live);
    match status {
        101 => true,
        503 => false,
        other => panic!("{other}"),
    }
}

/// A connected client of `upper` that got a reply.
fn served(server: &Server) -> TcpStream {
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"hello"), b"HELLO");
    client
}

#[test]
fn a_lowered_limit_refuses_clients_until_enough_have_ended() {
    let reloaded = Reloaded::new(&settings("max-connections = 5", ""));
    let server = &reloaded.server;
    let mut clients: Vec<_> = (0..4).map(|_| served(server)).collect();
    assert!(is_admitted(server));
    reloaded.accept(&settings("max-connections = 2", ""));
    for left in (2..=4).rev() {
        assert!(!is_admitted(server), "{left} of 2");
        let mut one = clients.pop().unwrap();
        assert_eq!(round_trip(&mut one, b"still here"), b"STILL HERE");
        drop(one);
        server.wait_for_connections(|all| all.len() == left - 1);
    }
    assert!(is_admitted(server), "1 of 2");
    let _second = served(server);
    assert!(!is_admitted(server), "2 of 2");
}

#[test]
fn a_raised_limit_admits_waiting_clients_at_once() {
    let reloaded = Reloaded::new(&settings("max-connections = 1", ""));
    let server = &reloaded.server;
    let first = served(server);
    let mut waiting: Vec<_> = (0..3).map(|_| connect(server.address("upper"))).collect();
    for client in &mut waiting {
        client.write_all(b"waiting").unwrap();
    }
    assert!(!is_admitted(server));
    waiting[0].set_read_timeout(Some(Duration::from_millis(100))).unwrap();
    let early = waiting[0].read(&mut [0]).unwrap_err();
    assert_eq!(early.kind(), ErrorKind::WouldBlock, "it waits with the kernel");
    waiting[0].set_read_timeout(Some(echogate_tests::server::WAIT_TIMEOUT)).unwrap();
    reloaded.accept(&settings("max-connections = 4", ""));
    for client in &mut waiting {
        assert_eq!(read_exactly(client, 7), b"WAITING");
    }
    assert!(!is_admitted(server), "4 of 4");
    drop(first);
    server.wait_for_connections(|all| all.len() == 3);
    assert!(is_admitted(server));
    // The limit goes below the number of open connections and up again: the deficit is made up.
    reloaded.accept(&settings("max-connections = 1", ""));
    assert!(!is_admitted(server));
    reloaded.accept(&settings("max-connections = 4", ""));
    assert!(is_admitted(server));
    let _fourth = served(server);
    assert!(!is_admitted(server));
}

#[test]
fn a_client_that_waits_for_a_permit_is_served_though_its_listener_is_removed() {
    let reloaded = Reloaded::new(&settings("max-connections = 1", ""));
    let server = &reloaded.server;
    let first = served(server);
    let mut waiting: Vec<_> = (0..10).map(|_| connect(server.address("upper"))).collect();
    for client in &mut waiting {
        client.write_all(b"waiting").unwrap();
        // Its end releases the permit for the next client.
        client.shutdown(Shutdown::Write).unwrap();
    }
    reloaded.accept(&http_and(&format!("max-connections = 1\n{}", route("/ws", "service:upper"))));
    assert!(TcpStream::connect(server.address("upper")).is_err());
    assert!(!is_admitted(server));
    drop(first);
    for client in &mut waiting {
        assert_eq!(read_to_end(client), b"WAITING");
    }
    server.wait_for_connections(<[_]>::is_empty);
    assert!(is_admitted(server));
}

#[test]
fn connections_from_before_a_limit_per_address_are_counted() {
    let reloaded = Reloaded::new(&settings("", ""));
    let server = &reloaded.server;
    let mut clients: Vec<_> = (0..3).map(|_| served(server)).collect();
    reloaded.accept(&settings("max-per-address = 3", ""));
    assert!(!is_admitted(server), "loopback has 3 of 3");
    drop(clients.pop());
    server.wait_for_connections(|all| all.len() == 2);
    assert!(is_admitted(server));
    reloaded.accept(&settings("max-per-address = 2", ""));
    assert!(!is_admitted(server));
    reloaded.accept(&settings("", ""));
    assert!(is_admitted(server), "loopback may have any number again");
}

#[test]
fn a_route_counts_its_connections_across_reloads() {
    let reloaded = Reloaded::new(&settings("", ""));
    let server = &reloaded.server;
    let mut first = RawWs::connect(server, "/ws");
    let second = RawWs::connect(server, "/ws");
    reloaded.accept(&settings("", "?max=2"));
    assert!(!is_admitted(server), "2 of 2, who came when there was no limit");
    reloaded.accept(&settings("", "?max=3"));
    assert!(is_admitted(server));
    reloaded.accept(&settings("", "?max=1"));
    assert!(!is_admitted(server));
    drop(second);
    server.wait_for_connections(|all| all.len() == 1);
    assert!(!is_admitted(server), "1 of 1");
    // The route is removed and added again.
    reloaded.accept(&http_and(&route("/other", "service:upper?max=1")));
    assert_eq!(handshake(server, "/other", &[]).status, 101);
    reloaded.accept(&settings("", "?max=1"));
    assert!(!is_admitted(server), "who came before it went is there still");
    assert!(replies_in_upper_case(&mut first));
    drop(first);
    server.wait_for_connections(<[_]>::is_empty);
    assert!(is_admitted(server));
}
