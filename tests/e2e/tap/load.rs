//! Observers that are slow, connections that carry much, and many connections.

use std::{
    io::{Read, Write},
    net::TcpStream,
    thread,
};

use echogate_proto::recording::{DataKind, Event};
use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{connect_with_small_buffer, noise, read_exactly, round_trip},
    ws::{self, RawWs, first},
};

use super::{Observer, id_of};
use crate::{ECHOGATE, raise_own_limit, server};

const MIB: usize = 1 << 20;

/// Sends `len` bytes to an echo, and checks that all of them come back.
fn echo(stream: &TcpStream, len: usize) {
    let bytes = noise(len);
    thread::scope(|scope| {
        scope.spawn(|| { stream }.write_all(&bytes).unwrap());
        let mut received = vec![0; len];
        { stream }.read_exact(&mut received).unwrap();
        assert!(received == bytes.to_ascii_uppercase(), "all bytes arrive unchanged");
    });
}

#[test]
fn an_observer_that_reads_nothing_slows_nobody_and_is_told_what_it_lost() {
    let server = server();
    let mut client = connect(server.address("upper"));
    round_trip(&mut client, b"begin");
    let id = id_of(&server, "upper");
    let stream = connect_with_small_buffer(server.address("http"));
    let mut observer = Observer::over(stream, id, "both", &[]);
    observer.opened();
    echo(&client, 50 * MIB);
    assert!(server.metric("echogate_tap_lost_events_total") > 0);
    round_trip(&mut client, b"the last");
    drop(client);
    let (mut seen, mut lost, mut last) = (0, 0, String::new());
    while let Some(event) = observer.next() {
        match &event {
            Event::Data(data) => seen += data.payload.as_bytes().len() as u64,
            Event::Lost(events) => {
                assert!(events.events > 0);
                lost += events.bytes;
            }
            _ => {}
        }
        last = super::line(&event);
    }
    assert_eq!(seen + lost, 2 * (5 + 50 * MIB as u64 + 8), "nothing is missing silently");
    assert!(lost > 40 * MIB as u64);
    assert_eq!(last, "closed: the client closed the connection");
    server.wait_for_log(&["tap ends", "lost="]);
}

#[test]
fn frames_are_in_step_again_behind_lost_events() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:upper"]);
    let mut client = RawWs::connect(&server, "/x");
    let id = id_of(&server, "/x");
    let stream = connect_with_small_buffer(server.address("http"));
    let mut observer = Observer::over(stream, id, "client", &[]);
    observer.opened();
    let frames = ws::frame(first::BINARY, &[b'x'; 1000]).repeat(20_000);
    thread::scope(|scope| {
        let mut writing = client.stream.try_clone().unwrap();
        scope.spawn(move || writing.write_all(&frames).unwrap());
        (0..20_000).for_each(|_| assert_eq!(client.read().payload.len(), 1000));
    });
    let (mut has_lost, mut is_in_step) = (false, false);
    while !is_in_step {
        client.exchange(b"mark");
        // The mark has come, or it is among the lost events.
        loop {
            match observer.next().unwrap() {
                Event::Lost(_) => {
                    has_lost = true;
                    break;
                }
                Event::Data(data) if data.kind == DataKind::Text => {
                    is_in_step = true;
                    break;
                }
                Event::Data(data) => {
                    let is_x = |byte: &u8| byte.eq_ignore_ascii_case(&b'x');
                    assert!(data.payload.as_bytes().iter().all(is_x), "{data:?}");
                }
                other => panic!("{other:?}"),
            }
        }
    }
    assert!(has_lost);
    client.end(1000, "bye");
    let rest = observer.rest();
    assert!(rest.contains(&"client > Close 1000 bye".to_owned()), "{rest:?}");
}

#[test]
fn an_observer_within_a_long_frame_sees_the_rest_and_what_was_before_by_its_number() {
    let server = Server::start(ECHOGATE, &["--route", "/x=service:upper?framing=bytes"]);
    let mut client = RawWs::connect(&server, "/x");
    let len = 600_000;
    let frame = ws::frame(first::BINARY, &vec![b'x'; len]);
    let end = frame.len() - 10;
    client.send(&frame[..end]);
    let mut received = 0;
    while received < len - 10 {
        received += client.read().payload.len();
    }
    let mut observer = Observer::new(&server, id_of(&server, "/x"), "client");
    assert_eq!(observer.opened().bytes_before, 2 * (len as u64 - 10));
    client.send(&frame[end..]);
    client.send_frame(first::TEXT, b"next");
    let mut seen = observer.lines(3);
    seen.retain(|line| line.starts_with("client >"));
    assert_eq!(seen[0], "client > binary xxxxxxxxxx", "a part without its header");
    if seen.len() == 1 {
        seen.extend(observer.lines(1));
    }
    assert_eq!(seen[1], "client > text FIN next");
}

#[test]
fn one_of_5000_connections_is_observed() {
    raise_own_limit();
    let server = server();
    let clients: Vec<_> = (0..5000)
        .map(|_| {
            let mut client = connect(server.address("upper"));
            client.write_all(b"a").unwrap();
            client
        })
        .collect();
    server.wait_for_connections(|all| all.len() == 5000);
    let mut client = connect(server.address("upper"));
    round_trip(&mut client, b"the last");
    let id = server.connections().last().unwrap()["id"].as_u64().unwrap();
    let mut observer = Observer::new(&server, id, "both");
    assert_eq!(observer.opened().bytes_before, 0);
    assert_eq!(observer.lines(2), ["client > bytes the last", "client < bytes THE LAST"]);
    let first = server.connections()[0]["id"].as_u64().unwrap();
    let before = Observer::new(&server, first, "client").opened().bytes_before;
    assert_eq!(before, 2, "the first one has given up its history for the others");
    for mut other in &clients {
        other.write_all(b"others").unwrap();
    }
    client.write_all(b"now").unwrap();
    assert_eq!(observer.lines(2), ["client > bytes now", "client < bytes NOW"]);
    read_exactly(&mut client, 3);
    drop(client);
    assert_eq!(observer.rest().len(), 3);
}
