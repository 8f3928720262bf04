//! The services on raw sockets.

use std::{io::Write, net::Shutdown, process::Command};

use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{
        connect_with_small_buffer, enlarge_receive_buffer, noise, read_exactly, read_to_end, reset,
        round_trip, write_until_blocked,
    },
};

use crate::{ECHOGATE, server};

#[test]
fn all_256_byte_values_come_back_and_only_letters_change() {
    let server = server();
    let mut client = connect(server.address("upper"));
    let all: Vec<u8> = (0..=255).collect();
    client.write_all(&all).unwrap();
    // Independent of the library's function: 97 is `a`, 122 is `z`.
    let expected: Vec<u8> =
        all.iter().map(|b| if matches!(b, 97..=122) { b - 32 } else { *b }).collect();
    assert_eq!(read_exactly(&mut client, 256), expected);
}

#[test]
fn each_byte_is_answered_at_once() {
    let server = server();
    let mut client = connect(server.address("upper"));
    // Each reply is awaited before the next byte: the server may not wait for more input, and does
    // not take it for an HTTP request.
    for byte in b"GET / HTTP/1.1\r\nHost: upper\r\n\r\n".repeat(9) {
        client.write_all(&[byte]).unwrap();
        assert_eq!(read_exactly(&mut client, 1), [byte.to_ascii_uppercase()]);
    }
}

#[test]
fn a_client_that_ends_without_a_word_is_answered_with_the_end() {
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    // A connection without data may be a health check, which is logged at the debug level only.
    command.env("ECHOGATE_LOG", "debug");
    let server = Server::spawn(command);
    let mut client = connect(server.address("upper"));
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client).is_empty());
    server.wait_for_log(&["kind=tcp", "received=0", "sent=0", "the client closed the connection"]);
}

#[test]
fn a_client_that_does_not_read_is_not_read_and_then_gets_everything() {
    let server = server();
    let before = server.peak();
    let mut client = connect_with_small_buffer(server.address("upper"));
    let flood = noise(64 << 20);
    let sent = write_until_blocked(&mut client, &flood);
    assert!(sent < flood.len(), "it is held back");
    let grown = server.peak_growth(before);
    assert!(grown < 4 << 10, "{grown} KiB for a client that does not read");

    enlarge_receive_buffer(&client);
    client.shutdown(Shutdown::Write).unwrap();
    assert!(read_to_end(&mut client) == flood[..sent].to_ascii_uppercase());
}

#[test]
fn two_hundred_clients_are_served_at_once() {
    let server = server();
    let mut clients: Vec<_> = (0..200).map(|_| connect(server.address("upper"))).collect();
    for round in 0..3 {
        for (i, client) in clients.iter_mut().enumerate() {
            write!(client, "client {i:03} round {round}").unwrap();
        }
        for (i, client) in clients.iter_mut().enumerate().rev() {
            let reply = read_exactly(client, 18);
            assert_eq!(reply, format!("CLIENT {i:03} ROUND {round}").into_bytes());
        }
    }
}

#[test]
fn upper_is_reached_over_ipv6() {
    if std::net::TcpListener::bind("[::1]:0").is_err() {
        eprintln!("skipped: no IPv6 on this machine");
        return;
    }
    let server = Server::spawn({
        let mut command = Command::new(ECHOGATE);
        command.args(["--http", "[::1]:0", "--listen", "upper=tcp://[::1]:0"]);
        command
    });
    assert!(server.address("upper").starts_with("[::1]:"));
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"six"), b"SIX");
    assert_eq!(echogate_tests::http::get(server.address("http"), "/healthz").status, 200);
}

#[test]
fn a_client_that_resets_its_connection_disturbs_nobody() {
    let server = server();
    let mut other = connect(server.address("upper"));
    assert_eq!(round_trip(&mut other, b"before"), b"BEFORE");

    let mut rude = connect(server.address("upper"));
    rude.write_all(&noise(100_000)).unwrap();
    reset(rude);
    let line = server.wait_for_log(&["kind=tcp", "connection failed: "]);
    assert!(line.contains("reset") || line.contains("pipe"), "{line}");

    assert_eq!(round_trip(&mut other, b"after"), b"AFTER");
    let mut new = connect(server.address("upper"));
    assert_eq!(round_trip(&mut new, b"new"), b"NEW");
}
