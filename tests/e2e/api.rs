//! The HTTP API, health checks, metrics and the log.

use std::{io::Write, net::Shutdown, process::Command};

use echogate_tests::{
    http::{self, connect},
    server::{Server, wait_until},
    tcp::{connect_from, read_to_end, reset, round_trip},
    tls::Authority,
    ws::{BROWSER, RawWs, first},
};
use serde_json::{Value, json};

use crate::{ECHOGATE, server};

#[test]
fn health_readiness_and_version_are_reported() {
    let server = server();
    let address = server.address("http");
    let health = http::get(address, "/healthz");
    assert_eq!((health.status, health.text().as_str()), (200, "ok\n"));
    let ready = http::get(address, "/readyz");
    assert_eq!((ready.status, ready.text().as_str()), (200, "ready\n"));
    let version = http::get(address, "/version");
    assert_eq!(version.status, 200);
    assert_eq!(version.header("content-type"), Some("application/json"));
    let version: Value = serde_json::from_slice(&version.body).unwrap();
    assert_eq!(version, json!({ "name": "echogate", "version": env!("CARGO_PKG_VERSION") }));
}

/// A stopped thread of the server, under ptrace until it is dropped.
#[cfg(target_os = "linux")]
pub(crate) struct StoppedThread(nix::unistd::Pid);

#[cfg(target_os = "linux")]
impl StoppedThread {
    pub(crate) fn named(server: &Server, name: &str) -> StoppedThread {
        use std::fs::{self, DirEntry};

        use echogate_tests::server::wait_for;
        use nix::sys::{
            ptrace,
            wait::{WaitPidFlag, waitpid},
        };
        let is_it = |thread: &DirEntry| {
            fs::read_to_string(thread.path().join("comm")).unwrap().trim() == name
        };
        let find = || {
            let mut threads = fs::read_dir(format!("/proc/{}/task", server.pid())).unwrap();
            threads.find_map(|thread| thread.ok().filter(is_it))
        };
        // A thread names itself, which may be after the server has said that it listens.
        let thread = wait_for(find, Option::is_some).unwrap();
        let thread =
            nix::unistd::Pid::from_raw(thread.file_name().to_str().unwrap().parse().unwrap());
        ptrace::seize(thread, ptrace::Options::empty()).expect("permission to trace a child");
        ptrace::interrupt(thread).unwrap();
        waitpid(thread, Some(WaitPidFlag::__WALL)).unwrap();
        StoppedThread(thread)
    }
}

#[cfg(target_os = "linux")]
impl Drop for StoppedThread {
    fn drop(&mut self) {
        nix::sys::ptrace::detach(self.0, None).unwrap();
    }
}

#[test]
#[cfg(target_os = "linux")]
fn health_names_an_event_loop_that_does_not_answer() {
    let server = server();
    let stopped = StoppedThread::named(&server, "loop-0");
    let health = http::get(server.address("http"), "/healthz");
    assert_eq!((health.status, health.text().as_str()), (503, "event loop 0 does not answer\n"));
    drop(stopped);
    // Other event loops, too, may be slow on a loaded machine.
    let is_healthy = || http::get(server.address("http"), "/healthz").status == 200;
    wait_until("the loop does not answer again", is_healthy);
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_half_closes_behind_its_request_gets_the_answer() {
    let server = server();
    // The answer takes longer than the client's end.
    let _stopped = StoppedThread::named(&server, "loop-0");
    let mut client = connect(server.address("http"));
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(&mut client);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 503 "), "{answer}");
    assert!(answer.ends_with("event loop 0 does not answer\n"), "{answer}");
}

#[test]
#[cfg(target_os = "linux")]
fn a_client_that_ends_tcp_before_tls_behind_its_request_gets_the_answer() {
    let authority = Authority::with_certificate(&["127.0.0.1"]);
    let server = Server::start_with_tls(ECHOGATE, &authority, &[]);
    let _stopped = StoppedThread::named(&server, "loop-0");
    let mut client = authority.connect(server.address("http"));
    client.write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    // Without close_notify.
    client.sock.shutdown(Shutdown::Write).unwrap();
    assert_eq!(http::Response::read(&mut client).unwrap().status, 503);
}

#[test]
fn an_event_stream_ends_with_its_client_even_if_that_one_half_closes() {
    let server = server();
    let mut client = connect(server.address("http"));
    client.write_all(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    client.shutdown(Shutdown::Write).unwrap();
    let answer = read_to_end(&mut client);
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert!(answer.contains("Content-Type: text/event-stream"), "{answer}");
}

#[test]
fn other_methods_are_not_allowed_and_other_paths_not_found() {
    let server = server();
    let mut stream = connect(server.address("http"));
    let post = ["POST /healthz HTTP/1.1", "Host: x", "Content-Length: 0"];
    let response = http::exchange(&mut stream, &post);
    assert_eq!((response.status, response.text().as_ref()), (405, "this path needs GET\n"));
    assert_eq!(http::get(server.address("http"), "/nothing/here").status, 404);
    let mut stream = connect(server.address("http"));
    let head = ["HEAD /healthz HTTP/1.1", "Host: x", "Connection: close"];
    stream.write_all(format!("{}\r\n\r\n", head.join("\r\n")).as_bytes()).unwrap();
    let answer = String::from_utf8(read_to_end(&mut stream)).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"), "{answer}");
}

fn of_kind<'a>(connections: &'a [Value], kind: &str) -> Vec<&'a Value> {
    connections.iter().filter(|connection| connection["kind"] == kind).collect()
}

#[test]
fn a_tcp_connection_is_listed_with_its_bytes_for_as_long_as_it_lives() {
    let server = server();
    assert_eq!(server.connections(), [] as [Value; 0]);
    let mut client = connect(server.address("upper"));
    round_trip(&mut client, b"twelve bytes");
    let all = server.wait_for_connections(|all| all.len() == 1 && all[0]["bytes_sent"] == 12);
    let connection = &all[0];
    assert_eq!(connection["kind"], "tcp");
    assert_eq!(connection["target"], "upper");
    assert_eq!(connection["peer"], client.local_addr().unwrap().to_string());
    assert_eq!(connection["bytes_received"], 12);
    assert_eq!(
        (&connection["messages_received"], &connection["messages_sent"]),
        (&json!(0), &json!(0))
    );
    assert!(connection["age"].as_f64().unwrap() >= 0.0);
    assert!(connection["since"].as_f64().unwrap() > 1.7e9, "seconds since 1970");
    drop(client);
    server.wait_for_connections(<[_]>::is_empty);
}

#[test]
fn a_websocket_connection_is_listed_with_its_messages_and_its_hop() {
    let server = server();
    let mut client = RawWs::connect(&server, "/ws");
    client.send_frame(first::TEXT, b"hello");
    client.send_frame(first::BINARY, b"");
    client.send_frame(first::BINARY_BEGINS, b"in ");
    client.send_frame(first::PING, b"not counted");
    client.send_frame(first::LAST, b"two");
    let mut replies = 0;
    while replies < 4 {
        replies += usize::from(client.read().first != first::PONG);
    }
    // The counters of either connection may lag behind the bytes that the client has read.
    let all = server.wait_for_connections(|all| {
        of_kind(all, "websocket").first().is_some_and(|c| c["messages_sent"] == 3)
            && of_kind(all, "tcp").first().is_some_and(|c| c["bytes_sent"] == 11)
    });
    let bridge = of_kind(&all, "websocket")[0];
    assert_eq!(bridge["target"], "/ws");
    assert_eq!(bridge["peer"], client.stream.local_addr().unwrap().to_string());
    assert_eq!((&bridge["bytes_received"], &bridge["bytes_sent"]), (&json!(11), &json!(11)));
    assert_eq!(bridge["messages_received"], 3);
    let hop = of_kind(&all, "tcp")[0];
    assert_eq!(hop["target"], "upper");
    assert_eq!((&hop["bytes_received"], &hop["bytes_sent"]), (&json!(11), &json!(11)));
    assert_ne!(hop["id"], bridge["id"]);

    client.end(1000, "");
    server.wait_for_connections(<[_]>::is_empty);
}

#[test]
fn totals_since_the_start_are_exported_to_prometheus() {
    let server = server();
    let metric = |line: &str| {
        let metrics = http::get(server.address("http"), "/metrics");
        assert_eq!(
            metrics.header("content-type"),
            Some("text/plain; version=0.0.4; charset=utf-8")
        );
        metrics.text().lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok())
    };
    assert_eq!(metric("echogate_connections_total{kind=\"tcp\"}"), Some(0));
    for _ in 0..2 {
        let mut client = connect(server.address("upper"));
        client.write_all(b"seven b").unwrap();
        client.shutdown(Shutdown::Write).unwrap();
        read_to_end(&mut client);
    }
    server.wait_for_connections(<[_]>::is_empty);
    let mut page = RawWs::connect(&server, "/ws/echo");
    page.exchange(b"three");
    server.wait_for_connections(|all| all.len() == 1 && all[0]["bytes_sent"] == 5);
    for (line, expected) in [
        ("echogate_connections{kind=\"tcp\"}", 0),
        ("echogate_connections_total{kind=\"tcp\"}", 2),
        ("echogate_received_bytes_total{kind=\"tcp\"}", 14),
        ("echogate_sent_bytes_total{kind=\"tcp\"}", 14),
        ("echogate_connections{kind=\"websocket\"}", 1),
        ("echogate_received_messages_total{kind=\"websocket\"}", 1),
        ("echogate_sent_messages_total{kind=\"websocket\"}", 1),
    ] {
        assert_eq!(metric(line), Some(expected), "{line}");
    }
}

/// The log's lines on ended connections of this kind.
fn ends(server: &Server, kind: &str) -> Vec<String> {
    let kind = format!("kind={kind} ");
    server.log().into_iter().filter(|line| line.contains(&kind)).collect()
}

#[test]
fn each_connection_logs_one_line_at_its_end() {
    let mut server = Server::start(ECHOGATE, &["--listen", "echo=tcp://127.0.0.1:0"]);
    let mut tcp = connect(server.address("echo"));
    let peer = tcp.local_addr().unwrap();
    tcp.write_all(b"abc").unwrap();
    tcp.shutdown(Shutdown::Write).unwrap();
    read_to_end(&mut tcp);
    let line = server.wait_for_log(&["kind=tcp", "target=\"echo\""]);
    for part in
        [&*format!("peer=\"{peer}\""), "received=3", "sent=3", "the client closed the connection"]
    {
        assert!(line.contains(part), "no {part} in {line}");
    }

    let mut client = RawWs::connect(&server, "/ws");
    let peer = client.stream.local_addr().unwrap();
    client.exchange(b"hello");
    client.end(1000, "");
    let line = server.wait_for_log(&["kind=websocket"]);
    for part in [
        &*format!("peer=\"{peer}\""),
        "target=\"/ws\"",
        "received=5",
        "sent=5",
        "the client closed (1000)",
    ] {
        assert!(line.contains(part), "no {part} in {line}");
    }
    server.wait_for_log(&["kind=tcp", "target=\"upper\"", "received=5"]);

    server.signal("TERM");
    server.wait();
    assert_eq!((ends(&server, "tcp").len(), ends(&server, "websocket").len()), (2, 1));
}

#[test]
fn connections_that_a_drain_cuts_off_are_logged_too() {
    let mut server = Server::start(ECHOGATE, &["--drain", "200ms"]);
    let mut silent = RawWs::connect(&server, "/ws");
    silent.exchange(b"a");
    server.wait_for_connections(|all| all.len() == 2);
    assert_eq!(server.terminate(), Some(0));
    server.wait_for_log(&["kind=websocket", "target=\"/ws\""]);
    server.wait_for_log(&["kind=tcp", "target=\"upper\""]);
    drop(silent);
}

#[test]
fn a_handshake_that_is_refused_is_logged_with_its_reason() {
    let server = server();
    let foreign = ["Origin: http://evil.example", BROWSER];
    let mut page = RawWs::connect_with(&server, "/ws", &foreign);
    page.read_close();
    server.wait_for_log(&["refused: ", "http://evil.example", "status=403"]);
}

#[test]
fn connections_of_health_checks_are_logged_for_debugging_only() {
    let mut command = Command::new(ECHOGATE);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--listen", "upper=tcp://127.0.0.1:0"])
        .args(["--proxy-protocol-from", "127.0.0.2", "--header-timeout", "30s"])
        .env("ECHOGATE_LOG", "debug");
    let mut server = Server::spawn(command);
    let from_proxy = |address: &str| connect_from([127, 0, 0, 2], address);
    // Endings by a FIN and by a reset, on each listener, and from an address that must send a PROXY
    // header.
    for what in ["upper", "http"] {
        drop(connect(server.address(what)));
        reset(connect(server.address(what)));
        drop(from_proxy(server.address(what)));
        reset(from_proxy(server.address(what)));
    }
    server.wait_for_nth_log(&["DEBUG", "kind=tcp", "target=\"upper\""], 1);
    server.wait_for_nth_log(&["DEBUG", "the connection ended before its PROXY header"], 3);
    // An incomplete PROXY header is logged as a warning.
    let mut cut = from_proxy(server.address("upper"));
    cut.write_all(b"PROXY TCP4").unwrap();
    drop(cut);
    server.wait_for_log(&["WARN", "the connection ended within its PROXY header"]);
    assert_eq!(server.terminate(), Some(0));
    // The limit of this machine on file descriptors may be worth a line.
    let loud = |line: &&String| {
        let is_loud = line.contains(" INFO ") || line.contains(" WARN ");
        is_loud && !line.contains("file descriptors")
    };
    let loud: Vec<_> = server.log().iter().filter(loud).cloned().collect();
    let [cut, ending] = &loud[..] else { panic!("{loud:#?}") };
    assert!(
        cut.contains("within its PROXY header") && ending.contains("shutting down"),
        "{loud:#?}"
    );
}

#[test]
fn datagrams_that_cannot_be_answered_are_counted() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("echo.sock");
    let listener = format!("echo=unixgram://{}", path.display());
    let server = Server::start(ECHOGATE, &["--listen", &listener]);
    // The sender has no address for a reply.
    let nameless = std::os::unix::net::UnixDatagram::unbound().unwrap();
    nameless.send_to(b"hello", &path).unwrap();
    server.wait_for_metric("echogate_datagrams_dropped_total", |count| count == 1);
}
