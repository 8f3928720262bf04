//! Aborted connections: an upstream gets the data sent before, and then a reset; a client that is
//! cut off does not see an orderly end.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    thread::{self, JoinHandle},
    time::{Duration, Instant},
};

use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{
        connect_with_small_buffer, noise, read_exactly, read_to_end, reset, round_trip,
        unacknowledged, wait_until_read, write_until_blocked,
    },
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWs, first},
};

use crate::{ECHOGATE, connected, with_upstream};

/// The end of a connection, as an upstream sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Seen {
    /// A FIN: the data is complete.
    Fin,
    /// A reset: data is missing.
    Reset,
}

/// Reads to the end of the stream; returns the data and the kind of end.
fn read_to_end_or_reset(stream: &mut impl Read) -> (Vec<u8>, Seen) {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => (bytes, Seen::Fin),
        Err(e) if e.kind() == ErrorKind::ConnectionReset => (bytes, Seen::Reset),
        Err(e) => panic!("after {} bytes: {e}", bytes.len()),
    }
}

/// The first half of a frame.
fn half_a_frame() -> Vec<u8> {
    let mut bytes = ws::head(first::BINARY, 1000);
    bytes.extend([0; 500]);
    bytes
}

/// A client's action after its message, and the end that the upstream sees.
type Act = (&'static str, Seen, fn(RawWs));

const ACTS: [Act; 10] = [
    ("a Close", Seen::Fin, |mut client| {
        client.end(1000, "");
    }),
    ("a Close that is not waited for", Seen::Fin, |mut client| {
        client.send(&ws::close(1000, ""));
    }),
    ("a reset", Seen::Reset, |client| reset(client.stream)),
    ("a FIN", Seen::Reset, |client| drop(client)),
    ("a FIN of its own side only", Seen::Reset, |mut client| {
        client.shutdown();
        client.stream.read_to_end(&mut Vec::new()).unwrap();
    }),
    ("a FIN inside a frame", Seen::Reset, |mut client| client.send(&half_a_frame())),
    ("a reset inside a frame", Seen::Reset, |mut client| {
        client.send(&half_a_frame());
        reset(client.stream);
    }),
    ("a violation", Seen::Reset, |mut client| {
        client.send(&ws::frame(0x83, b""));
        client.read_close();
    }),
    ("a message that is too large", Seen::Reset, |mut client| {
        client.send(&ws::head(first::BINARY, 1 << 30));
        client.read_close();
    }),
    ("no answer to a Ping", Seen::Reset, |mut client| {
        client.stream.read_to_end(&mut Vec::new()).ok();
    }),
];

#[test]
fn only_a_close_ends_the_upstream_in_order() {
    let times = ["--ping-interval", "500ms", "--ping-timeout", "500ms"];
    let (server, upstream) = with_upstream("bytes", &times);
    for (what, expected, act) in ACTS {
        let mut client = RawWs::connect(&server, "/x");
        let mut stream = upstream.accept();
        let sent = noise(100_000);
        client.send_frame(first::BINARY, &sent);
        // A reset discards data in flight.
        wait_until_read(&client.stream);
        let acting = thread::spawn(move || act(client));
        let (got, seen) = read_to_end_or_reset(&mut stream);
        assert!(got.starts_with(&sent), "{what}: {} bytes", got.len());
        assert_eq!(seen, expected, "{what}");
        acting.join().unwrap();
    }
}

#[test]
fn a_client_that_is_cut_off_within_tls_does_not_look_complete_to_a_tls_upstream() {
    let authority = Authority::with_certificate(&["localhost", "127.0.0.1"]);
    let upstream = Upstream::new();
    let route = format!("/x=tls://{}?ca={}", upstream.address(), authority.ca());
    let server = Server::start_with_tls(ECHOGATE, &authority, &["--route", &route]);
    let issued = authority.issue(&["127.0.0.1"]);
    for is_close in [true, false] {
        let client = thread::scope(|scope| {
            let client = scope.spawn(|| {
                let stream = authority.connect(server.address("http"));
                RawWs::over(stream, &server, "/x", &[])
            });
            let (mut stream, _) = issued.accept(upstream.accept());
            let mut client = client.join().unwrap();
            client.send_frame(first::BINARY, b"all of it?");
            if is_close {
                client.end(1000, "");
            } else {
                drop(client);
            }
            let mut got = Vec::new();
            let end = stream.read_to_end(&mut got);
            assert_eq!(got, b"all of it?");
            end.map_err(|e| e.kind())
        });
        match client {
            Ok(_) => assert!(is_close, "TCP's end without TLS's is taken for everything"),
            Err(e) => assert!(!is_close, "{e:?}"),
        }
    }
}

#[test]
fn what_was_sent_before_a_close_is_delivered_however_late_the_upstream_reads_it() {
    let (mut client, mut stream, _server) = connected("bytes", &[]);
    // Fill all buffers, then send a last message and the Close frame in one write.
    let flood = ws::frame(first::BINARY, &noise(1 << 20)).repeat(64);
    let sent = write_until_blocked(&mut client.stream, &flood);
    let frame = flood.len() / 64;
    let messages = sent.div_ceil(frame);
    let rest = flood[sent..messages * frame].to_vec();
    let closing = thread::spawn(move || {
        client.send(&[rest, ws::close(1000, "")].concat());
        client.read_close()
    });
    // Longer than the timeout for the reply to a Close frame.
    thread::sleep(Duration::from_secs(8));
    let (got, seen) = read_to_end_or_reset(&mut stream);
    assert_eq!((got.len(), seen), (messages << 20, Seen::Fin));
    assert!(got == noise(1 << 20).repeat(messages));
    closing.join().unwrap();
}

#[test]
fn a_write_that_fails_ends_that_direction_only() {
    let (mut client, mut stream, _server) = connected("bytes", &[]);
    // More than the upstream reads: some bytes wait in the kernel for the server.
    let sent = ws::frame(first::BINARY, &noise(1 << 20)).repeat(64);
    let written = write_until_blocked(&mut client.stream, &sent);
    let arrived = written - unacknowledged(&client.stream);
    // Closed: writes to it fail from now on.
    drop(client);
    let mut talk = stream.try_clone().unwrap();
    let talking = thread::spawn(move || {
        loop {
            if let Err(e) = talk.write_all(b"and another thing") {
                return e.kind();
            }
            thread::sleep(Duration::from_millis(10));
        }
    });
    thread::sleep(Duration::from_millis(500));
    let (got, seen) = read_to_end_or_reset(&mut stream);
    let heads = 64 * ws::head(first::BINARY, 1 << 20).len();
    assert!(got.len() + heads >= arrived, "{} of {arrived} bytes", got.len());
    // The first of a read and a write reports the reset.
    let failed = talking.join().unwrap();
    assert!(seen == Seen::Reset || failed == ErrorKind::ConnectionReset, "{failed:?}");
}

#[test]
fn messages_that_nobody_takes_the_replies_to_are_delivered_all_the_same() {
    let (mut client, mut stream, _server) = connected("message", &[]);
    // More than the limit on messages without a reply.
    let messages: Vec<u8> = (0..5000).flat_map(|_| ws::frame(first::BINARY, b"message")).collect();
    client.send(&messages);
    while unacknowledged(&client.stream) > 0 {
        thread::yield_now();
    }
    // Closed with unread replies: writes to it fail from now on.
    drop(client);
    let mut got = 0;
    let mut buf = [0; 700];
    // The first of a read and a write reports the reset.
    let mut failed = None;
    loop {
        match stream.read(&mut buf) {
            Ok(0) => break assert_eq!(failed, Some(ErrorKind::ConnectionReset), "a FIN"),
            Ok(n) => {
                got += n;
                failed = failed.or(stream.write_all(&buf[..n]).err().map(|e| e.kind()));
            }
            Err(_) => break,
        }
    }
    assert_eq!(got, 5000 * 7);
}

#[test]
fn a_client_that_is_gone_is_noticed_while_its_upstream_does_not_read() {
    let arguments = ["--ping-interval", "1s", "--ping-timeout", "1s", "--max-connections", "1"];
    let (server, upstream) = with_upstream("bytes", &arguments);
    let flood = ws::frame(first::BINARY, &noise(1 << 20)).repeat(64);
    for end in [reset as fn(TcpStream), |stream| drop(stream)] {
        let mut client = RawWs::connect(&server, "/x");
        let stream = upstream.accept();
        write_until_blocked(&mut client.stream, &flood);
        end(client.stream);
        server.wait_for_connections(<[_]>::is_empty);
        drop(stream);
    }
    server.wait_for_log(&["bytes not delivered to the upstream: ", "(1006)"]);
}

#[test]
fn a_slow_transfer_is_not_idle_and_a_stalled_one_is_reset() {
    let server = Server::start(ECHOGATE, &["--idle-timeout", "1s"]);
    let mut client = connect_with_small_buffer(server.address("upper"));
    let sent = vec![b'x'; 4 << 20];
    let mut writer = client.try_clone().unwrap();
    let writing = thread::spawn(move || {
        writer.write_all(&sent).ok();
        sent.len()
    });
    // Slowly, but without a pause, for longer than the idle timeout.
    let mut got = 0;
    for _ in 0..40 {
        got += read_exactly(&mut client, 16 * 1024).len();
        thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(got, 40 * 16 * 1024, "it was not cut");
    // Now not at all: the rest is not delivered, and must not look delivered.
    server.wait_for_log(&["kind=tcp", "bytes not delivered"]);
    let (rest, seen) = read_to_end_or_reset(&mut client);
    assert_eq!(seen, Seen::Reset);
    assert!(got + rest.len() < writing.join().unwrap());
}

#[test]
fn the_idle_timeout_of_a_bridge_over_tcp_is_reported_as_such() {
    let server = Server::start(ECHOGATE, &["--idle-timeout", "1s"]);
    let mut clients: Vec<_> = (0..50).map(|_| RawWs::connect(&server, "/ws")).collect();
    for client in &mut clients {
        let close = client.read();
        assert_eq!(close.close().0, Some(1001), "{close:?}");
        client.send(&ws::close(1001, ""));
    }
}

#[test]
fn time_in_which_the_process_was_stopped_is_no_idleness() {
    let arguments = ["--idle-timeout", "3s", "--ping-interval", "2s", "--ping-timeout", "2s"];
    let server = Server::start(ECHOGATE, &arguments);
    let mut client = RawWs::connect(&server, "/ws");
    let mut tcp = connect(server.address("upper"));
    assert_eq!(client.exchange(b"before"), b"BEFORE");
    server.signal("STOP");
    thread::sleep(Duration::from_secs(6));
    server.signal("CONT");
    client.send_frame(first::TEXT, b"after");
    let mut frame = client.read();
    while frame.first == first::PING {
        frame = client.read();
    }
    assert_eq!(frame.payload, b"AFTER");
    assert_eq!(round_trip(&mut tcp, b"after"), b"AFTER");
}

#[test]
fn what_a_client_sends_until_its_close_arrives_during_a_shutdown_with_each_framing() {
    for framing in ["bytes", "text", "line", "length", "message"] {
        let (mut client, mut stream, mut server) = connected(framing, &[]);
        let prefix = if framing == "length" { 4 } else { 0 };
        client.send_frame(first::TEXT, b"first\n");
        let first = read_exactly(&mut stream, prefix + 6);
        server.signal("TERM");
        server.wait_for_log(&["shutting down"]);
        client.send_frame(first::TEXT, b"second\n");
        let second = read_exactly(&mut stream, prefix + 7);
        assert_eq!((&first[prefix..], &second[prefix..]), (&b"first\n"[..], &b"second\n"[..]));
        // The reply that the client waits for precedes the Close.
        if framing == "message" {
            stream.write_all(&[first, second].concat()).unwrap();
            client.read();
        } else {
            stream.write_all(&second).unwrap();
        }
        client.read();
        assert_eq!(client.read().close().0, Some(1001), "{framing}");
        client.send_frame(first::TEXT, b"third\n");
        client.send(&ws::close(1001, ""));
        assert_eq!(read_to_end(&mut stream)[prefix..], *b"third\n", "{framing}");
        assert_eq!(server.wait().code(), Some(0));
    }
}

#[test]
fn what_the_drain_cuts_off_does_not_look_complete() {
    let (mut server, upstream) = with_upstream("bytes", &["--drain", "1s"]);
    // A client in the middle of a message, a client whose upstream does not read, and a client of a
    // service that does not read its replies.
    let mut client = RawWs::connect(&server, "/x");
    let mut half = upstream.accept();
    client.send(&half_a_frame());
    let mut flooding = RawWs::connect(&server, "/x");
    let mut unread = upstream.accept();
    write_until_blocked(
        &mut flooding.stream,
        &ws::frame(first::BINARY, &noise(1 << 20)).repeat(64),
    );
    let mut tcp = connect_with_small_buffer(server.address("upper"));
    write_until_blocked(&mut tcp, &noise(32 << 20));
    assert_eq!(read_exactly(&mut half, 500).len(), 500);
    server.signal("TERM");
    let half: JoinHandle<_> = thread::spawn(move || read_to_end_or_reset(&mut half));
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(half.join().unwrap(), (Vec::new(), Seen::Reset));
    assert_eq!(read_to_end_or_reset(&mut unread).1, Seen::Reset);
    assert_eq!(read_to_end_or_reset(&mut tcp).1, Seen::Reset);
}

#[test]
fn a_reply_that_stalls_or_breaks_off_lets_control_frames_through() {
    let (mut client, mut stream, _server) = connected("message", &[]);
    client.send_frame(first::TEXT, b"0123456789");
    read_exactly(&mut stream, 10);
    stream.write_all(b"01234").unwrap();
    let part = client.read();
    assert_eq!((part.first, &part.payload[..]), (first::TEXT_BEGINS, &b"01234"[..]));
    client.send_frame(first::PING, b"?");
    assert_eq!(client.read().first, first::PONG);
    reset(stream);
    assert_eq!(client.read().close(), (Some(1011), "the upstream reset the connection"));
}

#[test]
fn the_upstream_of_a_client_that_violates_the_protocol_and_stays_is_reset_soon() {
    let (mut client, mut stream, _server) = connected("bytes", &[]);
    client.send(&[ws::frame(first::BINARY, b"before"), ws::frame(0x83, b"reserved")].concat());
    let start = Instant::now();
    assert_eq!(read_to_end_or_reset(&mut stream), (b"before".to_vec(), Seen::Reset));
    assert_eq!(client.read_close().0, Some(1002));
    // The client has 5 s to end the connection after its Close.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
