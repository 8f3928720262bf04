//! A byte stream to a WebSocket server, and WebSocket to WebSocket.

use std::{
    io::{ErrorKind, Read, Write},
    time::{Duration, Instant},
};

use echogate_tests::{
    http,
    server::Server,
    tcp::{noise, read_exactly, read_to_end, reset, wait_until_read},
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, first, handshake, read_request},
};

use super::{client, end, forward};
use crate::ECHOGATE;

/// A server with the route `/x` to a WebSocket server, with options of the URL.
fn route(upstream: &Upstream, options: &str, more: &[&str]) -> Server {
    let route = format!("/x=ws://{}/up?a=b{options}", upstream.address());
    Server::start(ECHOGATE, &[&["--route", &*route][..], more].concat())
}

/// A client and its server, after both opening handshakes.
fn connected(options: &str, offered: &[&str], selected: &[&str]) -> (RawWs, RawWsServer, Server) {
    let upstream = Upstream::new();
    let server = route(&upstream, options, &[]);
    let selected: Vec<String> = selected.iter().map(ToString::to_string).collect();
    let accepting = upstream.serve(move |stream| {
        RawWsServer::accept(stream, &selected.iter().map(String::as_str).collect::<Vec<_>>())
    });
    let client = RawWs::connect_with(&server, "/x", offered);
    (client, accepting.join().unwrap(), server)
}

#[test]
fn the_bytes_of_a_forward_are_masked_messages_and_messages_become_bytes() {
    let upstream = Upstream::new();
    let server = forward(&format!("ws://{}/db", upstream.address()), &[]);
    let mut client = client(&server);
    let mut upstream = RawWsServer::accept(upstream.accept(), &[]);
    assert_eq!(upstream.request[0], "GET /db HTTP/1.1");
    client.write_all(b"\x00bytes\xff").unwrap();
    let frame = upstream.read();
    assert_eq!((frame.first, &*frame.payload), (first::BINARY, &b"\x00bytes\xff"[..]));
    upstream.send_frame(first::TEXT, b"text,");
    upstream.send_frame(first::BINARY, b"bytes");
    assert_eq!(read_exactly(&mut client, 10), b"text,bytes");
    upstream.send_frame(first::PING, b"?");
    assert_eq!(upstream.read().payload, b"?", "a Pong");
    end(&client);
    assert_eq!(upstream.read().close().0, Some(1000));
    upstream.close(1000, "");
    assert_eq!(read_to_end(&mut client), b"");
}

#[test]
fn the_way_a_websocket_server_ends_reaches_the_client_of_a_forward() {
    for (code, is_reset) in
        [(Some(1000), false), (Some(1001), false), (Some(1011), true), (None, true)]
    {
        let upstream = Upstream::new();
        let server = forward(&format!("ws://{}/", upstream.address()), &[]);
        let mut client = client(&server);
        let mut upstream = RawWsServer::accept(upstream.accept(), &[]);
        upstream.send_frame(first::BINARY, b"before");
        wait_until_read(&upstream.stream);
        let mut kept = None;
        match code {
            Some(code) => {
                upstream.close(code, "over");
                kept = Some(upstream);
            }
            None => reset(upstream.stream),
        }
        assert_eq!(read_exactly(&mut client, 6), b"before", "{code:?}");
        let start = Instant::now();
        let ended = client.read(&mut [0]);
        // The server has 5 s to end the connection after its Close.
        assert!(start.elapsed() < Duration::from_secs(4), "{code:?}: {:?}", start.elapsed());
        let was_reset = ended.is_err_and(|e| e.kind() == ErrorKind::ConnectionReset);
        assert_eq!(was_reset, is_reset, "{code:?}");
        let part = code.map_or("(1006)".to_owned(), |code| format!("({code})"));
        drop(kept);
        server.wait_for_log(&["id=1", &part]);
    }
}

#[test]
fn a_reset_of_the_client_resets_the_websocket_behind_its_bytes() {
    let upstream = Upstream::new();
    let server = forward(&format!("ws://{}/", upstream.address()), &[]);
    let mut client = client(&server);
    let mut upstream = RawWsServer::accept(upstream.accept(), &[]);
    client.write_all(b"before").unwrap();
    wait_until_read(&client);
    reset(client);
    assert_eq!(upstream.read().payload, b"before");
    let error = upstream.try_read().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset, "no Close: it is not an orderly end");
}

#[test]
fn a_forward_and_a_route_of_two_servers_carry_a_stream_unchanged() {
    let upstream = Upstream::new();
    for framing in ["bytes", "length", "length&prefix=2"] {
        let back = Server::start(ECHOGATE, &["--route", &upstream.route("/db", framing)]);
        let front = forward(&format!("ws://{}/db#framing={framing}", back.address("http")), &[]);
        let mut client = client(&front);
        let mut served = upstream.accept();
        let prefix: &[u8] = if framing.ends_with("=2") { &[] } else { &[0, 0] };
        let data = noise(40_000);
        let records = [prefix, &[0, 3], b"abc", prefix, &[0, 0], prefix, &[0x9c, 0x40], &data];
        let records = records.concat();
        served.write_all(&records).unwrap();
        assert!(read_exactly(&mut client, records.len()) == records, "{framing}");
        client.write_all(&records).unwrap();
        assert!(read_exactly(&mut served, records.len()) == records, "{framing}");
        end(&client);
        assert_eq!(read_to_end(&mut served), b"", "{framing}");
        drop(served);
        assert_eq!(read_to_end(&mut client), b"", "{framing}");
    }
}

#[test]
fn messages_pass_with_their_types_fragments_and_close_both_ways() {
    let (mut client, mut upstream, server) = connected("", &[], &[]);
    assert_eq!(upstream.request[0], "GET /up?a=b HTTP/1.1");
    client.send_frame(first::TEXT, "text é".as_bytes());
    client.send_frame(first::BINARY, b"");
    client.send_frame(first::TEXT_BEGINS, b"in ");
    client.send_frame(first::PING, b"answered here");
    client.send_frame(first::LAST, b"parts");
    let frame = client.read();
    assert_eq!((frame.first, &*frame.payload), (first::PONG, &b"answered here"[..]));
    let frames: Vec<_> = (0..4).map(|_| upstream.read()).map(|f| (f.first, f.payload)).collect();
    let expected: [(u8, &[u8]); 4] = [
        (first::TEXT, "text é".as_bytes()),
        (first::BINARY, b""),
        (first::TEXT_BEGINS, b"in "),
        (first::LAST, b"parts"),
    ];
    assert_eq!(frames, expected.map(|(first, payload)| (first, payload.to_vec())));
    upstream.send_frame(first::BINARY_BEGINS, b"\xff");
    upstream.send_frame(first::LAST, b"");
    let frames = [client.read(), client.read()].map(|f| (f.first, f.payload));
    assert_eq!(frames, [(first::BINARY_BEGINS, vec![0xff]), (first::LAST, vec![])]);
    client.send(&ws::close(4321, "the client's reason"));
    assert_eq!(upstream.read().close(), (Some(4321), "the client's reason"));
    upstream.close(4322, "the server's answer");
    assert_eq!(client.read_close(), (Some(4322), "the server's answer".to_owned()));
    server.wait_for_log(&["id=1", "4321"]);
}

#[test]
fn a_close_of_the_server_reaches_the_client_and_its_answer_the_server() {
    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    upstream.close(1012, "back at noon");
    assert_eq!(client.read().close(), (Some(1012), "back at noon"));
    client.send(&ws::close(1012, "seen"));
    assert_eq!(upstream.read().close(), (Some(1012), "seen"));
    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    upstream.send_frame(first::CLOSE, b"");
    assert_eq!(client.read().close(), (None, ""), "a Close without a code stays one");
}

#[test]
fn an_upstream_that_vanishes_is_1011_and_a_client_that_vanishes_a_reset() {
    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    upstream.send_frame(first::TEXT, b"last words");
    wait_until_read(&upstream.stream);
    reset(upstream.stream);
    assert_eq!(client.read().payload, b"last words");
    let (code, reason) = client.read_close();
    assert_eq!((code, reason.contains("reset")), (Some(1011), true), "{reason}");

    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    let sent = noise(3 << 20);
    let reading = std::thread::spawn(move || {
        let mut read = Vec::new();
        loop {
            match upstream.try_read() {
                Ok(frame) => read.extend(frame.expect("no end in order").payload),
                Err(e) => break (read, e.kind()),
            }
        }
    });
    sent.chunks(1 << 19).for_each(|part| client.send_frame(first::BINARY, part));
    wait_until_read(&client.stream);
    reset(client.stream);
    let (read, end) = reading.join().unwrap();
    assert!(read == sent, "{} bytes", read.len());
    assert_eq!(end, ErrorKind::ConnectionReset);
}

#[test]
fn the_server_of_a_route_selects_the_subprotocol() {
    let offer = ["Sec-WebSocket-Protocol: mqtt, v2.chat", "Sec-WebSocket-Protocol: v1.chat"];
    let upstream = Upstream::new();
    let server = route(&upstream, "", &[]);
    let accepting =
        upstream.serve(|stream| RawWsServer::accept(stream, &["Sec-WebSocket-Protocol: v2.chat"]));
    let response = handshake(&server, "/x", &offer);
    assert_eq!(
        (response.status, response.header("sec-websocket-protocol")),
        (101, Some("v2.chat"))
    );
    let offered = accepting.join().unwrap();
    let offered: Vec<_> =
        offered.request.iter().filter(|line| line.starts_with("Sec-WebSocket-Protocol")).collect();
    assert_eq!(offered, offer.iter().collect::<Vec<_>>());
    let (mut client, _, _server) = connected("", &offer, &[]);
    client.send(&ws::close(1000, ""));
}

#[test]
fn header_fields_are_passed_by_name_and_added_by_the_url() {
    let options = "#pass=cookie,authorization&header=X-Team:blue&header=X-Team:red&max=7";
    let more = ["Cookie: a=b", "Authorization: Bearer x", "X-Secret: not this"];
    let (_client, upstream, _server) = connected(options, &more, &[]);
    assert_eq!(upstream.header("cookie"), Some("a=b"));
    assert_eq!(upstream.header("authorization"), Some("Bearer x"));
    assert_eq!(upstream.header("x-secret"), None);
    assert_eq!(upstream.request.iter().filter(|line| line.starts_with("X-Team: ")).count(), 2);
    assert!(upstream.header("via").is_some_and(|via| via.contains("echogate-")));
    assert_eq!(upstream.header("origin"), None);
}

#[test]
fn credentials_of_the_url_are_sent_and_shown_nowhere() {
    let upstream = Upstream::new();
    let server = forward(&format!("ws://user:secret@{}/", upstream.address()), &[]);
    let client = client(&server);
    let upstream = RawWsServer::accept(upstream.accept(), &[]);
    assert_eq!(upstream.header("authorization"), Some("Basic dXNlcjpzZWNyZXQ="));
    drop(client);
    server.wait_for_log(&["id=1"]);
    let endpoints = http::get(server.address("http"), "/api/endpoints").text();
    let printed = server.printed("forward").unwrap();
    for text in server.log().iter().chain([&endpoints, &printed]) {
        assert!(!text.contains("secret"), "{text}");
    }
}

#[test]
fn a_rejection_by_the_server_reaches_programs_by_its_status_and_pages_by_a_close() {
    for (head, status, code) in [
        ("401 Unauthorized\r\nWWW-Authenticate: Basic realm=\"x\"", 401, 1008),
        ("403 Forbidden", 403, 1008),
        ("503 Service Unavailable\r\nRetry-After: 120", 503, 1013),
        ("302 Found\r\nLocation: /login", 502, 1011),
        ("200 OK", 502, 1011),
    ] {
        let upstream = Upstream::new();
        let server = route(&upstream, "", &[]);
        let serving = std::thread::spawn(move || {
            for _ in 0..2 {
                let mut stream = upstream.accept();
                read_request(&mut stream);
                let response = format!("HTTP/1.1 {head}\r\nContent-Length: 3\r\n\r\nno\n");
                stream.write_all(response.as_bytes()).unwrap();
            }
        });
        let response = handshake(&server, "/x", &[]);
        assert_eq!(response.status, status, "{head}");
        let given = head.split(['\r', '\n']).next().unwrap();
        assert!(response.text().contains(&format!("the upstream responded {given}")), "{head}");
        if head.contains("Retry-After") {
            assert_eq!(response.header("retry-after"), Some("120"));
        }
        if head.contains("WWW") {
            assert_eq!(response.header("www-authenticate"), Some("Basic realm=\"x\""));
        }
        let origin = format!("Origin: http://{}", server.address("http"));
        let mut page = RawWs::connect_with(&server, "/x", &[ws::BROWSER, &origin]);
        let close = page.read();
        assert_eq!(close.close().0, Some(code), "{head}");
        serving.join().unwrap();
    }
}

#[test]
fn many_large_messages_pass_unchanged_in_both_directions() {
    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    let data = noise(1_000_000);
    let sent = data.clone();
    let sending = std::thread::spawn(move || {
        for _ in 0..8 {
            client.send_frame(first::BINARY, &sent);
        }
        client
    });
    let mut read = Vec::new();
    let mut messages = 0;
    while messages < 8 {
        let frame = upstream.read();
        read.extend(frame.payload);
        messages += usize::from(frame.first & 0x80 != 0);
    }
    assert!(read == data.repeat(8));
    let mut client = sending.join().unwrap();
    let back = std::thread::spawn(move || {
        for part in data.chunks(50_000) {
            upstream.send_frame(first::BINARY, part);
        }
        data
    });
    let mut got = Vec::new();
    while got.len() < 1_000_000 {
        got.extend(client.read().payload);
    }
    assert!(got == back.join().unwrap());
}

#[test]
fn the_server_of_a_client_that_violates_the_protocol_and_stays_is_reset_soon() {
    let (mut client, mut upstream, _server) = connected("", &[], &[]);
    client.send_frame(first::TEXT, b"before");
    client.send_frame(0x83, b"reserved");
    let start = Instant::now();
    assert_eq!(upstream.read().payload, b"before");
    assert_eq!(upstream.try_read().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(client.read_close().0, Some(1002));
    // The client has 5 s to end the connection after its Close.
    assert!(start.elapsed() < Duration::from_secs(4), "{:?}", start.elapsed());
}
