//! Connections that end, vanish or violate the protocol, seen from the other side.

use std::{
    io::{Read, Write},
    net::Shutdown,
    sync::mpsc,
    thread,
};

use echogate_tests::{
    http::connect,
    server::Server,
    tcp::{noise, read_exactly, read_to_end, reset, round_trip},
    ws::{self, Frame, RawWs, first},
};

use crate::{ECHOGATE, connected, server, with_upstream};

/// A server with a small limit on messages, so that tests can exceed it.
fn strict_server() -> Server {
    Server::start(ECHOGATE, &["--max-message", "100000"])
}

/// A violation of each kind, and the status code of the Close frame for it. The module
/// `conformance` has all of them.
fn violations() -> [(&'static str, Vec<u8>, u16); 7] {
    use ws::frame;
    [
        ("a reserved bit", frame(0xc1, b"a"), 1002),
        ("no mask", vec![0x81, 0x01, b'a'], 1002),
        ("half a close code", frame(0x88, &[3]), 1002),
        ("a byte that is never UTF-8", frame(0x81, b"\xff"), 1007),
        ("a close reason that is not UTF-8", frame(0x88, &[3, 0xe8, 0xff]), 1007),
        ("a message that is too big", ws::head(0x82, 100_001), 1009),
        (
            "a message that is too big in fragments",
            [frame(0x02, &[0; 60_000]), frame(0x80, &[0; 60_000])].concat(),
            1009,
        ),
    ]
}

/// Reads frames up to the Close frame and an orderly end of the stream; returns the status code.
fn close_code(client: &mut RawWs) -> Option<u16> {
    loop {
        let frame = client.read();
        if frame.first == first::CLOSE {
            let code = frame.close().0;
            assert_eq!(client.try_read().expect("an orderly end"), None);
            return code;
        }
    }
}

#[test]
fn the_close_arrives_even_with_unread_data_behind_the_breach() {
    let server = strict_server();
    for (what, bytes, code) in violations() {
        let mut client = RawWs::connect(&server, "/ws");
        // More than all buffers hold: a reset would abort the sending.
        client.send(&[bytes, noise(8 << 20)].concat());
        assert_eq!(close_code(&mut client), Some(code), "{what}");
    }
}

#[test]
fn text_that_turns_out_wrong_within_a_frame_that_is_being_answered_ends_the_connection() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    // The reply to the first half is sent, as a fragment, before the second half violates the
    // protocol: nothing may complete the message.
    let frame = ws::frame(first::TEXT, b"first half,\xff");
    client.send(&frame[..frame.len() - 1]);
    assert_eq!(read_exactly(&mut client.stream, 13), b"\x01\x0bFIRST HALF,");
    client.send(&frame[frame.len() - 1..]);
    assert_eq!(client.read_close().0, Some(1007));
    server.wait_for_log(&["kind=websocket", "a text message is not valid UTF-8 (1007)"]);
}

#[test]
fn bytes_behind_a_close_do_not_destroy_the_answer() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send(&[ws::close(1000, "bye"), noise(2 << 20)].concat());
    assert_eq!(client.read_close().0, Some(1000));
}

/// A client's way to end.
type Ending = fn(RawWs);

#[test]
fn an_upstream_sees_the_end_of_its_client() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let endings: [(&str, Ending); 4] = [
        ("the client closed (1000)", |mut client| client.send(&ws::close(1000, ""))),
        ("the client went away without a Close (1006)", |client| client.shutdown()),
        ("the client went away without a Close (1006)", |client| drop(client)),
        ("the client's connection failed (1006)", |client| reset(client.stream)),
    ];
    for (i, (how, end)) in endings.into_iter().enumerate() {
        let mut client = RawWs::connect(&server, "/x");
        client.send_frame(first::BINARY, b"hello");
        let mut stream = upstream.accept();
        assert_eq!(read_exactly(&mut stream, 5), b"hello");
        end(client);
        // Orderly or by a reset: the module `aborts` tests which.
        assert!(matches!(stream.read(&mut [0]), Ok(0) | Err(_)), "{how}");
        drop(stream);
        server.wait_for_log(&["kind=websocket", &format!("id={}", i + 1), how]);
    }
}

#[test]
fn a_client_that_vanishes_does_not_leave_its_connections_behind() {
    let server = server();
    let mut clients: Vec<_> = (0..20).map(|_| RawWs::connect(&server, "/ws")).collect();
    for client in &mut clients {
        client.send_frame(first::BINARY, b"x");
        client.read();
    }
    assert_eq!(server.connections().len(), 40, "each has its hop");
    for (i, client) in clients.into_iter().enumerate() {
        if i % 2 == 0 {
            reset(client.stream);
        }
    }
    server.wait_for_connections(<[_]>::is_empty);
}

#[test]
fn an_upstream_that_never_ends_does_not_keep_a_client_that_closed() {
    let (server, upstream) = with_upstream("bytes", &[]);
    let (done, wait) = mpsc::channel::<()>();
    let serving = upstream.serve(move |mut stream| {
        assert!(read_to_end(&mut stream).is_empty(), "the end of input comes");
        // The upstream does not end its side.
        wait.recv().ok();
        stream.write_all(b"too late").ok();
    });
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(client.end(3333, "").0, Some(3333));
    done.send(()).unwrap();
    serving.join().unwrap();
}

#[test]
fn what_an_upstream_still_says_after_the_clients_close_is_delivered_before_the_answer() {
    let (server, upstream) = with_upstream("line", &[]);
    let serving = upstream.serve(|mut stream| {
        assert_eq!(read_to_end(&mut stream), b"question\n");
        stream.write_all(b"answer\nunfinished").unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
    });
    let mut client = RawWs::connect(&server, "/x");
    client.send(&[ws::frame(first::TEXT, b"question"), ws::close(1000, "")].concat());
    assert_eq!(client.read(), Frame { first: first::TEXT, payload: b"answer".to_vec() });
    let mut last = client.read();
    if last.first == first::TEXT_BEGINS {
        last.payload.extend(client.read().payload);
    }
    assert_eq!(last.payload, b"unfinished");
    assert_eq!(client.read_close().0, Some(1000));
    serving.join().unwrap();
}

#[test]
fn one_clients_violation_disturbs_nobody() {
    let server = strict_server();
    let mut other = RawWs::connect(&server, "/ws");
    let mut tcp = connect(server.address("upper"));
    for (_, bytes, _) in violations() {
        let mut client = RawWs::connect(&server, "/ws");
        client.send(&bytes);
        reset(client.stream);
    }
    assert_eq!(other.exchange(b"still here"), b"STILL HERE");
    assert_eq!(round_trip(&mut tcp, b"me too"), b"ME TOO");
}

#[test]
fn noise_behind_a_handshake_ends_in_a_close_and_never_in_a_panic() {
    let server = server();
    let noise = noise(400_000);
    let clients: Vec<_> = (0..50)
        .map(|i| {
            let mut client = RawWs::connect(&server, "/ws");
            let noise = noise[i * 7..i * 7 + 20_000].to_vec();
            thread::spawn(move || {
                // The server may have closed the connection in the middle of the write.
                client.stream.write_all(&noise).ok();
                client.shutdown();
                let mut all = Vec::new();
                client.stream.read_to_end(&mut all).ok();
            })
        })
        .collect();
    for client in clients {
        client.join().unwrap();
    }
    server.wait_for_connections(<[_]>::is_empty);
    assert!(!server.log().iter().any(|line| line.contains("panicked")), "{:#?}", server.log());
}

#[test]
fn an_upstream_that_ends_without_reading_lets_the_client_end() {
    let (mut client, stream, _server) = connected("bytes", &[]);
    let flood = ws::frame(first::BINARY, &noise(1 << 20)).repeat(48);
    let sent = echogate_tests::tcp::write_until_blocked(&mut client.stream, &flood);
    assert!(sent < flood.len(), "the upstream does not read");
    // The upstream ends its side and still does not read. The client finishes its frame.
    stream.shutdown(Shutdown::Write).unwrap();
    let close = client.read();
    assert_eq!(close.close(), (Some(1000), "the upstream ended the stream"));
    client.send(&flood[sent..sent + (flood.len() - sent) % (flood.len() / 48)]);
    client.send(&ws::close(1000, ""));
    assert_eq!(client.try_read().unwrap(), None, "the connection ends");
}
