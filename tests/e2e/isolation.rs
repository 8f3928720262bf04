//! Clients that occupy HTTP connections do not exclude other clients.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{Shutdown, TcpStream},
    os::unix::fs::symlink,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::{self, Response, connect},
    server::{Server, wait_for, wait_until},
    tcp::{connect_from, connect_with_small_buffer, read_exactly, read_to_end},
    tls::Authority,
    upstream::Unresponsive,
    ws::{self, BROWSER, RawWs},
};
use tokio_rustls::rustls::{ClientConnection, StreamOwned, pki_types::ServerName};

use crate::{ECHOGATE, raise_own_limit, server};

/// A number of clients above the limit on HTTP connections.
const CROWD: usize = 1_100;

/// A number of clients above the limit on HTTP connections without a request.
const SET_UP_CROWD: usize = 4_500;

/// The name of the metric of clients that were refused for this reason.
fn refused(reason: &str) -> String {
    format!("echogate_refused_total{{reason=\"{reason}\"}}")
}

/// Connects clients that each send `bytes`, and then nothing.
fn crowd(server: &Server, count: usize, bytes: &[u8]) -> Vec<TcpStream> {
    raise_own_limit();
    let clients = (0..count).map(|_| {
        let mut client = connect_with_small_buffer(server.address("http"));
        client.write_all(bytes).unwrap();
        client
    });
    clients.collect()
}

/// Waits until the server has closed one of the connections, and drops it.
fn wait_for_one_end(clients: &mut Vec<TcpStream>) {
    let has_ended = |mut client: &TcpStream| {
        client.set_nonblocking(true).unwrap();
        client.read(&mut [0]).map_or_else(|e| e.kind() != ErrorKind::WouldBlock, |read| read == 0)
    };
    wait_until("none is closed", || clients.iter().any(has_ended));
    let ended = clients.iter().position(has_ended).unwrap();
    clients.remove(ended);
}

/// An opening handshake's request.
fn handshake(path: &str) -> Vec<u8> {
    let head = ["GET ", path, " HTTP/1.1\r\nHost: localhost\r\n", &ws::UPGRADE.join("\r\n")];
    [&head.concat(), "\r\n\r\n"].concat().into()
}

/// Asserts that health checks, the page and WebSocket connections are served.
fn all_is_served(server: &Server) {
    for path in ["/healthz", "/readyz", "/", "/api/connections"] {
        assert_eq!(http::get(server.address("http"), path).status, 200, "{path}");
    }
    let mut client = RawWs::connect(server, "/ws");
    assert_eq!(client.exchange(b"served"), b"SERVED");
}

/// A server with HTTPS and a certificate for `name`, and the authority of the certificate.
fn tls_server(name: &str, more: &[&str]) -> (Server, Authority) {
    let authority = Authority::with_certificate(&[name]);
    (Server::start_with_tls(ECHOGATE, &authority, more), authority)
}

#[test]
fn clients_that_wait_for_an_unresponsive_upstream_exclude_no_other_client() {
    let upstream = Unresponsive::new();
    let dead = format!("/dead=tcp://{}", upstream.address());
    let routes = ["--dial-timeout", "1h", "--route", &dead, "--route", "/ws=service:upper"];
    let server = Server::start(ECHOGATE, &routes);
    let clients = crowd(&server, CROWD, &handshake("/dead"));
    all_is_served(&server);
    // None of them was closed in favour of another, and none counts as an HTTP connection.
    server.wait_for_metric("echogate_http_connections", |count| count == 1);
    assert_eq!(server.metric(&refused("http_full")), 0);
    drop(clients);
}

#[test]
fn silent_clients_exclude_no_other_client() {
    for limit in [&[][..], &["--max-per-address", "5"]] {
        let server = Server::start(ECHOGATE, &[&["--header-timeout", "1h"], limit].concat());
        let clients = crowd(&server, CROWD, b"");
        all_is_served(&server);
        drop(clients);
    }
}

#[test]
fn no_one_waits_for_clients_that_send_nothing_or_little() {
    for bytes in [&b""[..], b"GET /healthz HTTP/1.1\r\n"] {
        let server = Server::start(ECHOGATE, &["--header-timeout", "1h"]);
        let clients = crowd(&server, SET_UP_CROWD, bytes);
        let start = Instant::now();
        assert_eq!(http::get(server.address("http"), "/healthz").status, 200);
        // Silent clients are closed at once, not after a timeout.
        assert!(start.elapsed() < Duration::from_secs(3), "{:?}", start.elapsed());
        drop(clients);
    }
}

#[test]
fn clients_with_a_request_in_progress_are_not_closed_for_silent_ones() {
    let server = Server::start(ECHOGATE, &["--header-timeout", "1h"]);
    let (begin, rest) = (b"GET /healthz HTTP/1.1\r\n", b"Host: localhost\r\n\r\n");
    let mut begun = crowd(&server, 100, begin);
    let silent = crowd(&server, SET_UP_CROWD, b"");
    server.wait_for_metric(&refused("http_full"), |count| count >= 300);
    for client in &mut begun {
        client.write_all(rest).unwrap();
        assert_eq!(Response::read(client).unwrap().status, 200);
    }
    drop(silent);
}

#[test]
fn a_tls_handshake_in_progress_is_not_closed_for_stalled_ones() {
    let limits = ["--header-timeout", "1h", "--max-per-address", "5"];
    let (server, authority) = tls_server("localhost", &limits);
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(authority.trusted(), name).unwrap();
    let mut hello = Vec::new();
    client.write_tls(&mut hello).unwrap();
    let mut others = crowd(&server, 4, &[0x16]);
    let mut slow = connect(server.address("http"));
    let (bytes, rest) = hello.split_at(50);
    for byte in bytes {
        slow.write_all(&[*byte]).unwrap();
        // Now one address has too many connections, and one of the others is closed.
        others.extend(crowd(&server, 1, &[0x16]));
        wait_for_one_end(&mut others);
    }
    slow.write_all(rest).unwrap();
    let host = format!("Host: {}", server.address("http"));
    let mut stream = StreamOwned::new(client, slow);
    assert_eq!(http::exchange(&mut stream, &["GET /healthz HTTP/1.1", &host]).status, 200);
}

#[test]
fn clients_that_do_not_read_their_answers_exclude_no_other_client() {
    let server = Server::start(ECHOGATE, &["--write-timeout", "1h"]);
    let request = b"GET /echogate_bg.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(20);
    let clients = crowd(&server, CROWD, &request);
    all_is_served(&server);
    drop(clients);
}

#[test]
fn incomplete_tls_handshakes_exclude_no_other_client() {
    let (server, authority) = tls_server("127.0.0.1", &["--header-timeout", "1h"]);
    let get = |client: &mut _| {
        let host = format!("Host: {}", server.address("http"));
        http::exchange(client, &["GET /healthz HTTP/1.1", &host]).status
    };
    let mut before = authority.connect(server.address("http"));
    assert_eq!(get(&mut before), 200);
    let clients = crowd(&server, CROWD, &[0x16, 3, 1]);
    assert_eq!(get(&mut authority.connect(server.address("http"))), 200);
    assert_eq!(get(&mut before), 200, "those that are set up are counted apart");
    drop(clients);
}

#[test]
fn refused_pages_count_towards_the_limits() {
    let server = Server::start(ECHOGATE, &["--max-per-address", "5"]);
    let origin = "Origin: http://evil.example";
    let pages: Vec<_> =
        (0..50).map(|_| RawWs::connect_with(&server, "/ws", &[origin, BROWSER])).collect();
    // The limit is five; one of these connections requests the metrics.
    server.wait_for_metric(&refused("address"), |count| count >= 46);
    drop(pages);
    // Each page is counted once.
    let counted = || ["address", "policy"].map(|reason| server.metric(&refused(reason)));
    wait_until("not all are counted", || counted().iter().sum::<u64>() >= 50);
    assert_eq!(counted().iter().sum::<u64>(), 50, "{:?}", counted());
    // The route counts the same reasons.
    let of_route = ["address", "policy"].map(|reason| {
        let labels = format!("route=\"/ws\",reason=\"{reason}\"");
        server.metric(&format!("echogate_target_refused_total{{{labels}}}"))
    });
    assert_eq!(of_route, counted());
}

#[test]
fn a_client_that_does_not_read_its_answer_is_reset() {
    let server = Server::start(ECHOGATE, &["--write-timeout", "300ms"]);
    let request = b"GET /echogate_bg.wasm HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(50);
    let mut clients = crowd(&server, 1, &request);
    read_exactly(&mut clients[0], 1);
    // Only the connection that requests the metrics is left.
    server.wait_for_metric("echogate_http_connections", |count| count == 1);
    let mut rest = Vec::new();
    let ended = clients[0].read_to_end(&mut rest).map_err(|e| e.kind());
    assert_eq!(ended, Err(ErrorKind::ConnectionReset));
}

#[test]
fn a_kept_connection_has_a_time_of_its_own() {
    let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
    let server = Server::start(ECHOGATE, &["--header-timeout", "300ms"]);
    let mut client = connect(server.address("http"));
    for _ in 0..2 {
        client.write_all(request).unwrap();
        assert_eq!(Response::read(&mut client).unwrap().status, 200);
        // Longer than the timeout for a request's header.
        thread::sleep(Duration::from_millis(700));
    }
    client.write_all(&request[..10]).unwrap();
    assert!(read_to_end(&mut client).is_empty(), "a head that is begun is waited for no longer");

    let timeouts = ["--keep-alive-timeout", "200ms", "--header-timeout", "1h"];
    let server = Server::start(ECHOGATE, &timeouts);
    let mut client = connect(server.address("http"));
    client.write_all(request).unwrap();
    assert_eq!(Response::read(&mut client).unwrap().status, 200);
    assert!(read_to_end(&mut client).is_empty(), "it is closed when it is idle");
}

#[test]
fn a_refused_page_cannot_tell_which_routes_there_are() {
    let route = "/there=service:upper?protocol=mqtt";
    let server = Server::start(ECHOGATE, &["--route", route]);
    let lines = ["Origin: http://evil.example", BROWSER, "Sec-WebSocket-Protocol: amqp, mqtt"];
    let paths = ["/there", "/not/there", "/", "/metrics/none"];
    let answers = paths.map(|path| {
        let mut stream = connect(server.address("http"));
        let mut response = ws::handshake_over(&mut stream, &server, path, &lines);
        response.headers.retain(|(name, _)| name != "date");
        (response.status, response.headers, RawWs { stream }.read_close())
    });
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:?}");
    let (code, reason) = &answers[0].2;
    assert!(*code == Some(1008) && reason.contains("--allow-origin"), "{code:?} {reason}");
    // A page of this server gets the reason.
    let own = format!("Origin: http://{}", server.address("http"));
    let (_, reason) = RawWs::connect_with(&server, "/not/there", &[&own, BROWSER]).read_close();
    assert_eq!(reason, "no such route: /not/there");

    let twice = ws::handshake(&server, "/there", &[&own, lines[0]]);
    assert_eq!(twice.status, 403, "{twice:?}");
}

/// The status of a GET request with additional header lines.
fn status(server: &Server, path: &str, more: &[&str]) -> u16 {
    let request = format!("GET {path} HTTP/1.1");
    let host = format!("Host: {}", server.address("http"));
    let head = [&[&*request, &host, "Connection: close"], more].concat();
    http::exchange(&mut connect(server.address("http")), &head).status
}

#[test]
fn the_api_answers_no_pages_of_other_origins() {
    let server = server();
    let own = format!("Origin: http://{}", server.address("http"));
    for path in ["/api/connections", "/api/events", "/api/endpoints", "/version"] {
        for (line, expected) in [
            ("Sec-Fetch-Site: same-origin", 200),
            ("Sec-Fetch-Site: none", 200),
            (&*own, 200),
            ("Sec-Fetch-Site: cross-site", 403),
            ("Sec-Fetch-Site: same-site", 403),
            ("Origin: http://evil.example", 403),
        ] {
            assert_eq!(status(&server, path, &[line]), expected, "{path} {line}");
        }
    }
    assert_eq!(status(&server, "/healthz", &["Sec-Fetch-Site: cross-site"]), 200);
    for path in ["/api/connections", "/version", "/healthz", "/metrics"] {
        let answer = http::get(server.address("http"), path);
        assert_eq!(answer.header("x-content-type-options"), Some("nosniff"), "{path}");
        assert_eq!(answer.header("cross-origin-resource-policy"), Some("same-origin"), "{path}");
        let policy = answer.header("content-security-policy");
        assert!(policy.is_some_and(|policy| policy.contains("default-src 'none'")), "{path}");
    }
}

#[test]
fn the_api_can_be_turned_off() {
    let server = Server::start(ECHOGATE, &["--no-api"]);
    for path in ["/api/connections", "/api/events", "/api/endpoints"] {
        assert_eq!(http::get(server.address("http"), path).status, 404, "{path}");
    }
    for path in ["/healthz", "/metrics", "/version", "/"] {
        assert_eq!(http::get(server.address("http"), path).status, 200, "{path}");
    }
    RawWs::connect(&server, "/ws");
}

#[test]
fn a_web_root_is_served_without_what_is_hidden() {
    let dir = tempfile::tempdir().unwrap();
    let (root, outside) = (dir.path().join("root"), dir.path().join("outside"));
    for folder in [".git", ".well-known", "sub"] {
        fs::create_dir_all(root.join(folder)).unwrap();
    }
    fs::create_dir(&outside).unwrap();
    for file in
        ["root/index.html", "root/.git/config", "root/.env", "root/.well-known/x", "outside/file"]
    {
        fs::write(dir.path().join(file), "text").unwrap();
    }
    symlink("../index.html", root.join("sub/inside")).unwrap();
    symlink(&outside, root.join("linked")).unwrap();
    let server = Server::start(ECHOGATE, &["--web-root", root.to_str().unwrap()]);
    for (path, expected) in [
        ("/", 200),
        ("/index.html", 200),
        ("/sub/inside", 200),
        ("/.well-known/x", 200),
        ("/.git/config", 404),
        ("/%2egit/config", 404),
        ("/.env", 404),
        ("/linked/file", 200),
        ("/not/there", 404),
        ("/sub", 307),
        ("//sub", 404),
        ("/%2fsub", 404),
    ] {
        assert_eq!(status(&server, path, &[]), expected, "{path}");
    }
}

#[test]
fn refused_clients_are_counted_by_reason() {
    let upstream = Unresponsive::new();
    let timed_out = format!("/timed-out=tcp://{}", upstream.address());
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let at = free.local_addr().unwrap();
    drop(free);
    let nobody = format!("/nobody=tcp://{at}");
    let mut command = Command::new(ECHOGATE);
    command.args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"]);
    for route in [
        &*timed_out,
        &nobody,
        "/unknown=tcp://no-such-host.invalid:1",
        "/missing=unix:///no/such/socket",
        "/few=service:upper?max=1",
        "/many=service:upper",
    ] {
        command.args(["--route", route]);
    }
    command.args(["--dial-timeout", "1s", "--max-connections", "3"]);
    command.args(["--proxy-protocol-from", "127.0.0.2"]);
    let server = Server::spawn(command);
    let ask = |path: &str| ws::handshake(&server, path, &[]).status;
    for (reason, path, status) in [
        ("route", "/not/there", 404),
        ("upstream_timeout", "/timed-out", 504),
        ("upstream_refused", "/nobody", 502),
        ("unresolved", "/unknown", 502),
        ("upstream_failed", "/missing", 502),
    ] {
        assert_eq!(server.metric(&refused(reason)), 0, "{reason}");
        assert_eq!(ask(path), status, "{reason}");
        assert_eq!(server.metric(&refused(reason)), 1, "{reason}");
    }
    let _few = RawWs::connect(&server, "/few");
    assert_eq!(ask("/few"), 503);
    assert_eq!(server.metric(&refused("route_full")), 1);
    let _many = [(); 2].map(|()| RawWs::connect(&server, "/many"));
    assert_eq!(ask("/many"), 503);
    assert_eq!(server.metric(&refused("full")), 1);
    // A client of a service is waiting.
    let waiting = connect(server.address("upper"));
    server.wait_for_metric("echogate_waiting_clients", |count| count == 1);
    waiting.shutdown(Shutdown::Both).unwrap();
    let evil = ["Origin: http://evil.example", BROWSER];
    RawWs::connect_with(&server, "/many", &evil).read_close();
    assert_eq!(server.metric(&refused("policy")), 1);
    let mut proxy = connect_from([127, 0, 0, 2], server.address("http"));
    proxy.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
    server.wait_for_metric(&refused("proxy_header"), |count| count == 1);
    assert_eq!(server.metric("echogate_connections_limit"), 3);
    assert_eq!(server.metric("echogate_http_connections_limit"), 1024);
}

#[test]
fn a_tls_handshake_that_fails_is_counted() {
    let (server, authority) = tls_server("127.0.0.1", &["--listen", "echo=tls://127.0.0.1:0"]);
    for what in ["http", "echo"] {
        let mut client = connect(server.address(what));
        client.write_all(b"GET / HTTP/1.1\r\n\r\n").unwrap();
        client.read_to_end(&mut Vec::new()).ok();
    }
    let host = format!("Host: {}", server.address("http"));
    let metrics = || {
        let mut client = authority.connect(server.address("http"));
        http::exchange(&mut client, &["GET /metrics HTTP/1.1", &host]).text()
    };
    // The client may see its connection end before the metric is updated.
    wait_for(metrics, |metrics| metrics.contains(&format!("{} 2\n", refused("tls"))));
}
