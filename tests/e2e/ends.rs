//! `POST /api/connections/ID/close` and `POST /api/drain`.

use std::{
    io::{ErrorKind, Read, Write},
    net::TcpStream,
    time::Duration,
};

use echogate_tests::{
    http::{self, Response, connect},
    server::Server,
    tcp::{connect_from, read_to_end, round_trip},
    upstream::Upstream,
    ws::{self, RawWs},
};

use crate::{ECHOGATE, server};

/// The response to a POST of nothing.
fn post(mut stream: TcpStream, path: &str, head: &[&str]) -> Response {
    let request = format!("POST {path} HTTP/1.1");
    let fixed = [&request, "Host: localhost", "Content-Length: 0", "Connection: close"];
    http::exchange(&mut stream, &[&fixed, head].concat())
}

/// Asks the server to end the connection with this target, which may have just begun.
fn end(server: &Server, target: &str, query: &str) -> Response {
    let listed = |all: &[serde_json::Value]| all.iter().any(|one| one["target"] == target);
    let all = server.wait_for_connections(listed);
    let id = &all.iter().find(|one| one["target"] == target).unwrap()["id"];
    let path = format!("/api/connections/{id}/close{query}");
    post(connect(server.address("http")), &path, &[])
}

#[test]
fn a_websocket_is_closed_with_a_code_and_a_reason_and_others_stay() {
    let server = server();
    let mut other = RawWs::connect(&server, "/ws/time");
    let mut client = RawWs::connect(&server, "/ws/echo");
    let asked = end(&server, "/ws/echo", "?code=4000&reason=for%20a+test%21");
    assert_eq!(asked.status, 202, "{}", asked.text());
    assert!(asked.text().contains("Close 4000 \"for a test!\""), "{}", asked.text());
    assert_eq!(client.read().close(), (Some(4000), "for a test!"));
    client.send(&ws::close(4000, ""));
    assert_eq!(client.try_read().unwrap(), None, "and the end");
    server.wait_for_log(&["end by Close 4000", "requested", "peer=127.0.0.1"]);
    server.wait_for_log(&["target=\"/ws/echo\"", "for a test!"]);
    server.wait_for_connections(|all| all.iter().all(|one| one["target"] != "/ws/echo"));
    let mut again = RawWs::connect(&server, "/ws/echo");
    assert_eq!(end(&server, "/ws/echo", "").status, 202);
    assert_eq!(again.read().close(), (Some(1001), "closed by an operator"));
    assert_eq!(other.exchange(b"0"), b"1970-01-01 00:00:00");
}

#[test]
fn a_relay_of_messages_closes_both_sides() {
    let upstream = server();
    let target = format!("/x=ws://{}/ws", upstream.address("http"));
    let server = Server::start(ECHOGATE, &["--route", &target]);
    let mut client = RawWs::connect(&server, "/x");
    assert_eq!(client.exchange(b"hello"), b"HELLO");
    assert_eq!(end(&server, "/x", "?code=1012&reason=later").status, 202);
    assert_eq!(client.read().close(), (Some(1012), "later"));
    client.send(&ws::close(1012, ""));
    assert_eq!(client.try_read().unwrap(), None);
    upstream.wait_for_log(&["target=\"/ws\"", "client closed", "1012"]);
}

#[test]
fn a_tcp_client_is_ended_by_fin_or_by_a_reset() {
    let server = server();
    let mut client = connect(server.address("upper"));
    assert_eq!(round_trip(&mut client, b"a"), b"A");
    let refused = end(&server, "upper", "?code=1000&code=1001");
    let repeated = "the parameter \"code\" is repeated\n";
    assert_eq!((refused.status, &*refused.text()), (400, repeated));
    let refused = end(&server, "upper", "?code=1000");
    assert_eq!((refused.status, refused.text().contains("not a WebSocket")), (400, true));
    assert_eq!(end(&server, "upper", "").status, 202);
    assert_eq!(read_to_end(&mut client), b"");
    drop(client);
    server.wait_for_log(&["target=\"upper\"", "closed by an operator"]);
    server.wait_for_connections(<[_]>::is_empty);
    let mut client = connect(server.address("upper"));
    assert_eq!(end(&server, "upper", "?reset").status, 202);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_reset_reaches_both_sides_of_a_route_and_of_a_forward() {
    let upstream = Upstream::new();
    let forward = format!("0=tcp://{}", upstream.address());
    let route = upstream.route("/x", "bytes");
    let server = Server::start(ECHOGATE, &["--route", &route, "--forward", &forward]);
    let mut client = RawWs::connect(&server, "/x");
    let mut stream = upstream.accept();
    assert_eq!(end(&server, "/x", "?reset").status, 202);
    assert_eq!(client.try_read().unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);

    let mut client = connect(server.address("forward"));
    let mut stream = upstream.accept();
    let target = format!("tcp://{}", upstream.address());
    assert_eq!(end(&server, &target, "?reset").status, 202);
    assert_eq!(client.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_client_that_does_not_read_is_reset_some_seconds_after_it_was_to_end() {
    let server = server();
    let mut client = connect(server.address("upper"));
    client.set_write_timeout(Some(Duration::from_secs(1))).unwrap();
    while client.write(&[b'a'; 1 << 16]).is_ok() {}
    assert_eq!(end(&server, "upper", "").status, 202);
    server.wait_for_log(&["target=\"upper\"", "closed by an operator", "bytes not delivered"]);
    let mut answers = Vec::new();
    let error = client.read_to_end(&mut answers).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn requests_that_make_no_sense_are_refused_and_end_nothing() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    let long = format!("?reason={}", "x".repeat(124));
    for (query, said) in [
        ("?code=1006", "code=1006: expected 1000 to 1003"),
        ("?code=1e3", "code=1e3"),
        ("?reason=%ff", "percent-encoded UTF-8"),
        (&long, "124 bytes, expected 123 at most"),
        ("?reset&code=1000", "cannot be used with reset"),
        ("?how", "\"how\": expected code=CODE, reason=TEXT or reset"),
    ] {
        let refused = end(&server, "/ws", query);
        assert_eq!(refused.status, 400, "{query}: {}", refused.text());
        assert!(refused.text().contains(said), "{query}: {}", refused.text());
    }
    let http = || connect(server.address("http"));
    for id in ["0", "99999", "x", "-1", "%0a"] {
        let refused = post(http(), &format!("/api/connections/{id}/close"), &[]);
        assert_eq!(refused.status, 404, "{id}: {}", refused.text());
    }
    assert_eq!(http::get(server.address("http"), "/api/connections/1/close").status, 405);
    let got = http::get(server.address("http"), "/api/drain");
    assert_eq!(
        (got.status, got.header("allow"), got.text()),
        (405, Some("POST"), "this path needs POST\n".into())
    );
    assert_eq!(client.exchange(b"still here"), b"STILL HERE");
}

#[test]
fn other_machines_need_the_token_and_pages_of_other_origins_end_nothing() {
    let token = "0123456789abcdef";
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("token");
    std::fs::write(&file, token).unwrap();
    let arguments =
        ["--operator-token-file", file.to_str().unwrap(), "--forwarded-from", "127.0.0.2"];
    let mut server = Server::start(
        ECHOGATE,
        &[&arguments[..], &["--route", "/ws/operator=service:operator"]].concat(),
    );
    let proxy = || connect_from([127, 0, 0, 2], server.address("http"));
    let from = "X-Forwarded-For: 203.0.113.9";
    let wrong = "Authorization: Bearer 0123456789abcdeF";
    let evil = ["Origin: https://evil.example", "Sec-Fetch-Site: cross-site"];
    for path in ["/api/drain", "/api/connections/1/close"] {
        assert_eq!(post(proxy(), path, &[]).status, 403, "the proxy names no client");
        assert_eq!(post(proxy(), path, &[from]).status, 403);
        assert_eq!(post(proxy(), path, &[from, wrong]).status, 403);
        assert_eq!(post(connect(server.address("http")), path, &evil).status, 403);
    }
    assert_eq!(http::get(server.address("http"), "/readyz").status, 200);
    let right = "Authorization: Bearer 0123456789abcdef";
    assert_eq!(post(proxy(), "/api/drain", &[from, right]).status, 202);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn nobody_ends_anything_where_that_is_disabled() {
    let server = Server::start(ECHOGATE, &["--no-control"]);
    let mut client = RawWs::connect(&server, "/ws");
    let refused = end(&server, "/ws", "?reset");
    assert_eq!((refused.status, refused.text().contains("--no-control")), (403, true));
    assert_eq!(post(connect(server.address("http")), "/api/drain", &[]).status, 403);
    assert_eq!(client.exchange(b"on"), b"ON");
}

#[test]
fn an_orderly_end_that_was_requested_becomes_no_reset_at_the_end_of_the_drain() {
    let mut server = Server::start(ECHOGATE, &["--drain", "500ms"]);
    let mut client = RawWs::connect(&server, "/ws/echo");
    assert_eq!(end(&server, "/ws/echo", "?code=4000").status, 202);
    assert_eq!(server.terminate(), Some(0));
    // The client has not answered the Close, and still finds it.
    assert_eq!(client.read().close(), (Some(4000), "closed by an operator"));
}

#[test]
fn a_drain_that_the_api_was_asked_for_is_that_of_sigterm() {
    let mut server = Server::start(ECHOGATE, &["--drain", "1m", "--drain-code", "1012"]);
    let mut client = RawWs::connect(&server, "/ws");
    let asked = post(connect(server.address("http")), "/api/drain", &[]);
    assert_eq!(
        (asked.status, asked.text()),
        (202, "the server ends within 60s (--drain)\n".to_owned())
    );
    let reason = "the server restarts: reconnect in a moment";
    assert_eq!(client.read().close(), (Some(1012), reason));
    client.send(&ws::close(1012, ""));
    assert_eq!(server.wait().code(), Some(0));
    server.wait_for_log(&["shutdown requested (POST /api/drain)"]);
}
