//! Opening handshakes: accepted requests, and the responses to refused ones.

use std::net::TcpListener;

use echogate_tests::{
    http::{Response, connect, exchange, read_head},
    server::Server,
    ws::{self, BROWSER, RawWs, UPGRADE, first},
};

use crate::{ECHOGATE, server};

/// Sends a request of these lines and a `Host` line, and reads the response.
fn request(server: &Server, lines: &[&str]) -> Response {
    let host = format!("Host: {}", server.address("http"));
    let lines = [&[lines[0], &host], &lines[1..]].concat();
    exchange(&mut connect(server.address("http")), &lines)
}

/// Sends a valid handshake with line `i` of [`UPGRADE`] replaced by `lines`, or with `lines` after
/// it.
fn with(server: &Server, i: usize, lines: &[&str]) -> Response {
    let mut all = vec!["GET /ws HTTP/1.1"];
    all.extend(&UPGRADE[..i]);
    all.extend(lines);
    all.extend(UPGRADE.iter().skip(i + 1));
    request(server, &all)
}

#[test]
fn a_101_says_upgrade_alone_and_its_names_are_written_as_in_rfc_6455() {
    let server = server();
    for connection in ["Upgrade", "Upgrade, close", "close, Upgrade", "keep-alive, Upgrade"] {
        let mut stream = connect(server.address("http"));
        let host = server.address("http");
        // The response to an earlier request may follow.
        let request = format!(
            "GET /healthz HTTP/1.1\r\nHost: {host}\r\n\r\nGET /ws HTTP/1.1\r\nHost: {host}\r\n\
             Connection: {connection}\r\nSec-WebSocket-Protocol: mqtt\r\n{}\r\n\r\n",
            UPGRADE[1..].join("\r\n")
        );
        std::io::Write::write_all(&mut stream, request.as_bytes()).unwrap();
        let health = read_head(&mut stream).unwrap();
        assert!(health.contains("\r\nContent-Length: 3\r\n"), "{health}");
        std::io::Read::read_exact(&mut stream, &mut [0; 3]).unwrap();
        let head = read_head(&mut stream).unwrap();
        let (status, lines) = head.trim_end().split_once("\r\n").unwrap();
        let mut lines: Vec<_> = lines.lines().collect();
        lines.sort_unstable();
        assert_eq!(status, "HTTP/1.1 101 Switching Protocols");
        assert_eq!(
            lines,
            [
                "Connection: Upgrade",
                "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "Sec-WebSocket-Protocol: mqtt",
                "Upgrade: websocket",
            ]
        );
        let mut client = RawWs { stream };
        assert_eq!(client.exchange(b"hello"), b"HELLO");
    }
}

#[test]
fn a_query_belongs_to_no_route_and_disturbs_none() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws?token=abc");
    assert_eq!(client.exchange(b"x"), b"X");
}

#[test]
fn a_plain_request_for_a_route_gets_426() {
    let server = server();
    let response = request(&server, &["GET /ws HTTP/1.1"]);
    assert_eq!(response.status, 426);
    assert_eq!(response.header("upgrade"), Some("websocket"));
    assert_eq!(response.header("sec-websocket-version"), Some("13"));
    assert!(response.text().contains("ws://"), "{response:?}");
}

#[test]
fn a_proxy_that_takes_the_upgrade_away_is_named() {
    let server = server();
    let gateway = Server::start(ECHOGATE, &["--route", "/=service:echo"]);
    for lost in [&UPGRADE[1..], &UPGRADE[2..]] {
        let ws = [&["GET /ws HTTP/1.1"], lost].concat();
        let root = [&["GET / HTTP/1.0"], lost].concat();
        for response in [request(&server, &ws), request(&gateway, &root)] {
            assert_eq!(response.status, 426, "{response:?}");
            let text = response.text();
            assert!(text.contains("proxy") && text.contains("Upgrade"), "{text}");
        }
    }
}

#[test]
fn a_subprotocol_that_is_no_token_is_refused() {
    let server = server();
    for offer in ["a b", "mqtt, a/b"] {
        let response = with(&server, 4, &[&format!("Sec-WebSocket-Protocol: {offer}")]);
        assert_eq!(response.status, 400, "{offer}");
        assert!(response.text().contains("Sec-WebSocket-Protocol"), "{response:?}");
    }
}

#[test]
fn another_version_gets_the_supported_one() {
    let server = server();
    for version in [&["Sec-WebSocket-Version: 8"][..], &["Sec-WebSocket-Version: 0"], &[]] {
        let response = with(&server, 2, version);
        assert_eq!(response.status, 426, "{version:?}");
        assert_eq!(response.header("sec-websocket-version"), Some("13"));
    }
}

#[test]
fn there_is_exactly_one_key_and_it_has_16_bytes() {
    let server = server();
    for keys in [
        &[][..],
        &["Sec-WebSocket-Key: "],
        &["Sec-WebSocket-Key: dGhlIHNhbXBsZQ=="],
        &["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==, dGhlIHNhbXBsZSBub25jZQ=="],
        &[UPGRADE[3], UPGRADE[3]],
    ] {
        let response = with(&server, 3, keys);
        assert_eq!(response.status, 400, "{keys:?}");
        assert!(response.text().contains("Sec-WebSocket-Key"), "{response:?}");
    }
}

#[test]
fn header_values_are_read_as_lists_in_any_case() {
    let server = server();
    let response = with(&server, 0, &["connection: keep-alive", "CONNECTION: foo, UpGrAdE"]);
    assert_eq!(response.status, 101);
    let response = with(&server, 1, &["upgrade: WebSocket"]);
    assert_eq!(response.status, 101);
    let response = with(&server, 0, &["Connection: upgraded"]);
    assert_eq!(response.status, 426);
}

#[test]
fn a_handshake_is_a_get_of_http_1_1() {
    let server = server();
    let post = [&["POST /ws HTTP/1.1", "Content-Length: 0"], &UPGRADE[..]].concat();
    assert_eq!(request(&server, &post).status, 400);
    let old = [&["GET /ws HTTP/1.0"], &UPGRADE[..]].concat();
    assert_eq!(request(&server, &old).status, 400);
    assert_eq!(request(&server, &["POST /ws HTTP/1.1", "Content-Length: 0"]).status, 426);
}

#[test]
fn noise_in_place_of_a_request_is_refused_and_nothing_else_happens() {
    let server = server();
    let mut stream = connect(server.address("http"));
    let response = exchange(&mut stream, &["\u{1}\u{2} what is this"]);
    assert_eq!(response.status, 400);
    assert_eq!(request(&server, &["GET /healthz HTTP/1.1"]).status, 200);
}

#[test]
fn a_head_without_end_is_refused() {
    use std::io::{Read, Write};
    let server = server();
    let mut stream = connect(server.address("http"));
    stream.write_all(b"GET /ws HTTP/1.1\r\n").unwrap();
    // Writing fails once the server has refused the request and closed the connection.
    while stream.write_all(b"X-Filler: 0123456789012345678901234567890123456789\r\n").is_ok() {}
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).ok();
    assert!(answer.is_empty() || answer.starts_with(b"HTTP/1.1 431"), "{}", answer.escape_ascii());
    assert_eq!(request(&server, &["GET /healthz HTTP/1.1"]).status, 200);
}

#[test]
fn a_path_that_is_no_route_is_not_found() {
    let server = server();
    let response = ws::handshake(&server, "/nowhere", &[]);
    assert_eq!(response.status, 404);
    assert!(response.text().contains("/nowhere"), "{response:?}");
    // A page cannot read an HTTP status: its connection is upgraded, and closed with the reason.
    let origin = format!("Origin: http://{}", server.address("http"));
    let mut page = RawWs::connect_with(&server, "/nowhere", &[&origin, BROWSER]);
    assert_eq!(page.read_close(), (Some(1008), "no such route: /nowhere".to_owned()));
}

#[test]
fn a_foreign_page_gets_the_reason_in_a_close() {
    let server = server();
    for origin in ["http://evil.example", "null", "http://127.0.0.1:1"] {
        let line = format!("Origin: {origin}");
        let mut page = RawWs::connect_with(&server, "/ws", &[&line, BROWSER]);
        let (code, reason) = page.read_close();
        assert_eq!(code, Some(1008), "{origin}");
        assert!(reason.contains(origin) && reason.contains("--allow-origin"), "{reason}");
    }
    assert!(!server.log().iter().any(|line| line.contains("kind=tcp")), "nothing was dialled");
}

#[test]
fn a_program_that_sends_an_origin_gets_a_status() {
    let server = server();
    for (path, origin) in [("/ws", "http://evil.example"), ("/nowhere", "http://evil.example")] {
        let line = format!("Origin: {origin}");
        let response = ws::handshake(&server, path, &[&line]);
        assert_eq!(response.status, 403, "{response:?}");
        assert!(response.text().contains("--allow-origin"), "{response:?}");
        let more = [&line, "Sec-Fetch-Site: cross-site"];
        assert_eq!(ws::handshake(&server, path, &more).status, 101);
    }
    let origin = format!("Origin: http://{}", server.address("http"));
    assert_eq!(ws::handshake(&server, "/nowhere", &[&origin]).status, 404);
}

#[test]
fn a_foreign_page_that_keeps_sending_still_gets_its_close() {
    let server = server();
    let host = format!("Host: {}", server.address("http"));
    let page = ["GET /ws HTTP/1.1", &host, "Origin: http://evil.example", BROWSER];
    let head = [&page[..], &UPGRADE].concat();
    let mut stream = connect(server.address("http"));
    // The messages are sent right after the handshake, before its response.
    let messages = ws::frame(first::BINARY, &[7; 60_000]).repeat(10);
    std::io::Write::write_all(
        &mut stream,
        &[format!("{}\r\n\r\n", head.join("\r\n")).as_bytes(), &messages].concat(),
    )
    .unwrap();
    assert_eq!(Response::read(&mut stream).unwrap().status, 101);
    assert_eq!(RawWs { stream }.read_close().0, Some(1008));
}

#[test]
fn an_unknown_host_name_is_not_trusted() {
    let server = server();
    let mut stream = connect(server.address("http"));
    let lines = ["GET /ws HTTP/1.1", "Host: evil.example", "Origin: http://evil.example", BROWSER];
    let response = exchange(&mut stream, &[&lines[..], &UPGRADE].concat());
    assert_eq!(response.status, 101);
    let (code, reason) = RawWs { stream }.read_close();
    assert_eq!(code, Some(1008));
    assert!(reason.contains("--allow-host"), "{reason}");
}

#[test]
fn an_unknown_host_name_serves_nothing_that_a_page_can_read() {
    let server = Server::start(ECHOGATE, &["--allow-host", "gate.example"]);
    for path in ["/", "/api/connections", "/version", "/metrics"] {
        let request = format!("GET {path} HTTP/1.1");
        for (host, status) in [
            ("evil.example", 403),
            ("127.0.0.1.evil.example", 403),
            ("gate.example:8080", 200),
            ("gate.example.", 200),
            ("192.0.2.1:9100", 200),
            ("localhost", 200),
            ("[::1]:8080", 200),
        ] {
            let host = format!("Host: {host}");
            let response = exchange(&mut connect(server.address("http")), &[&request, &host]);
            assert_eq!(response.status, status, "{path} {host}");
            if status == 403 {
                assert!(response.text().contains("--allow-host"), "{response:?}");
                // The header field `Upgrade` makes no difference.
                let lines = [&[&*request, &host], &UPGRADE[..]].concat();
                let response = exchange(&mut connect(server.address("http")), &lines);
                let expected = if path == "/" { 404 } else { 403 };
                assert_eq!(response.status, expected, "{path} {host}: {response:?}");
            }
        }
    }
    // Health checks are answered for any host: the response is not confidential.
    let lines = ["GET /healthz HTTP/1.1", "Host: evil.example"];
    assert_eq!(exchange(&mut connect(server.address("http")), &lines).status, 200);
    // A native client is no page and may use any host name.
    let lines = [&["GET /ws HTTP/1.1", "Host: gate"], &UPGRADE[..]].concat();
    assert_eq!(exchange(&mut connect(server.address("http")), &lines).status, 101);
}

#[test]
fn a_server_for_other_machines_says_under_which_hosts_it_answers() {
    let start = |http: &str, more: &[&str]| {
        let mut command = std::process::Command::new(ECHOGATE);
        command.args(["serve", "--http", http, "--route", "/x=service:upper"]).args(more);
        Server::spawn(command)
    };
    let hosts = start("0.0.0.0:0", &[]).printed("hosts ").unwrap();
    assert!(hosts.contains("--allow-host"), "{hosts}");
    let here = start("127.0.0.1:0", &[]);
    assert_eq!(here.printed("hosts "), None);
    assert!(here.printed("clients ").unwrap().contains("of this machine only"));
    assert_eq!(start("0.0.0.0:0", &["--allow-host", "gate.example"]).printed("hosts "), None);
}

#[test]
fn a_host_that_is_none_is_refused_in_words_on_every_path() {
    let server = server();
    for host in [
        "",
        "127.0.0.1:80.evil.example",
        "[::1]evil.example",
        "localhost:80@evil.example",
        "user@localhost",
        "127.0.0.1:x",
        "127.0.0.1:99999",
        "local host",
        "localhost/",
        "::1",
    ] {
        for path in ["/", "/healthz", "/api/connections", "/ws", "/nowhere"] {
            let lines = [format!("GET {path} HTTP/1.1"), format!("Host: {host}")];
            let head = [&[&*lines[0], &*lines[1]], &UPGRADE[..]].concat();
            let response = exchange(&mut connect(server.address("http")), &head);
            assert_eq!(response.status, 400, "{path} {host:?}: {response:?}");
            assert!(response.text().contains("Host header"), "{response:?}");
        }
    }
    let userinfo = ["GET http://user@localhost/healthz HTTP/1.1", "Host: localhost"];
    assert_eq!(exchange(&mut connect(server.address("http")), &userinfo).status, 400);
}

#[test]
fn bidirectional_control_characters_reach_neither_log_nor_response() {
    let server = server();
    let response = request(&server, &["GET /a\u{202e}b\u{2028}c HTTP/1.1"]);
    assert_eq!(response.text(), "no such path: /a\\u{202e}b\\u{2028}c\n");
    let head = [&["GET /d\u{202e}e HTTP/1.1"], &UPGRADE[..]].concat();
    assert_eq!(request(&server, &head).text(), "no such route: /d\\u{202e}e\n");
    let log = server.wait_for_log(&["no such route: /d\\u{202e}e", "path=\"/d\\u{202e}e\""]);
    assert!(!log.contains('\u{202e}'), "{log}");
}

#[test]
fn a_request_is_for_one_host_and_a_whole_url_says_which() {
    let server = server();
    for (lines, status) in [
        (&["GET /api/connections HTTP/1.1"][..], 400),
        (&["GET /api/connections HTTP/1.0"], 403),
        (&["GET /healthz HTTP/1.0"], 200),
        (&["GET /api/connections HTTP/1.1", "Host: localhost", "Host: evil.example"], 400),
        (&["GET http://evil.example/api/connections HTTP/1.1", "Host: localhost"], 403),
        (&["GET http://localhost/api/connections HTTP/1.1", "Host: evil.example"], 200),
    ] {
        let response = exchange(&mut connect(server.address("http")), lines);
        assert_eq!(response.status, status, "{lines:?}: {response:?}");
    }
}

#[test]
fn an_upstream_that_refuses_is_502_and_for_a_page_a_close() {
    // A port without a listener.
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let server = Server::start(ECHOGATE, &["--route", &format!("/x=tcp://{address}")]);
    let response = ws::handshake(&server, "/x", &[]);
    assert_eq!(response.status, 502);
    assert_eq!(response.text(), "the upstream refused the connection\n");

    let origin = format!("Origin: http://{}", server.address("http"));
    let mut page = RawWs::connect_with(&server, "/x", &[&origin, BROWSER]);
    assert_eq!(page.read_close(), (Some(1011), "the upstream refused the connection".to_owned()));
}

#[test]
fn messages_sent_together_with_the_handshake_are_not_lost() {
    let server = server();
    let host = format!("Host: {}", server.address("http"));
    let head = [&["GET /ws HTTP/1.1", &host], &UPGRADE[..]].concat().join("\r\n");
    for cut in [0, 1, 3, 7] {
        let mut stream = connect(server.address("http"));
        let text = ws::frame(first::TEXT, b"early");
        let (early, late) = text.split_at(text.len() - cut);
        let request = [head.as_bytes(), b"\r\n\r\n", early].concat();
        std::io::Write::write_all(&mut stream, &request).unwrap();
        assert_eq!(Response::read(&mut stream).unwrap().status, 101);
        let mut client = RawWs { stream };
        client.send(late);
        assert_eq!(client.read().payload, b"EARLY");
        assert_eq!(client.end(1000, "").0, Some(1000));
    }
}
