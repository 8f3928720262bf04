//! Spans by OTLP, at a receiver made of the Python package `opentelemetry-proto`. Built with the
//! feature `otlp` only.

use std::{
    fs,
    io::Write,
    net::TcpListener,
    process::Command,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::{self, connect},
    program::{Program, free_port, python},
    server::{Server, wait_for},
    tls::Authority,
    upstream::Upstream,
    ws::{self, RawWs, first, handshake},
};
use serde_json::{Value, json};

use crate::{ECHOGATE, traces};

/// A receiver of spans.
struct Receiver {
    program: Program,
    port: u16,
}

impl Receiver {
    fn start() -> Option<Receiver> {
        let port = free_port();
        let mut command = Command::new(python()?);
        command.args(["-c", include_str!("otlp.py"), &port.to_string()]);
        Some(Receiver { program: Program::serve(command, port), port })
    }

    /// A server that exports its spans there.
    fn server(&self, arguments: &[&str]) -> Server {
        let mut command = Command::new(ECHOGATE);
        command
            .args(["serve", "--http", "127.0.0.1:0"])
            .args(arguments)
            .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("http://localhost:{}", self.port))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20x")
            .env("OTEL_BSP_SCHEDULE_DELAY", "50");
        Server::spawn(command)
    }

    /// The first `count` spans.
    fn spans(&self, count: usize) -> Vec<Value> {
        let spans = || -> Vec<Value> {
            let output = self.program.output();
            let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
            whole.lines().map(|line| serde_json::from_str(line).expect(line)).collect()
        };
        wait_for(spans, |spans| spans.len() >= count)
    }
}

#[test]
fn a_connection_is_a_span_below_that_of_its_client_and_its_dial_one_below_that() {
    let Some(receiver) = Receiver::start() else { return };
    let (url, received) = traces::upstream();
    let server = receiver.server(&["--route", &format!("/x={url}")]);
    let sent = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
    let mut client = RawWs::connect_with(&server, "/x", &[sent, "tracestate: a=1"]);
    client.send_frame(first::TEXT, b"hello");
    client.end(1000, "");
    let spans = receiver.spans(2);
    let [dial, connection] = &spans[..] else { panic!("{spans:?}") };
    for span in [dial, connection] {
        assert_eq!(span["trace"], "4bf92f3577b34da6a3ce929d0e0e4736");
        assert_eq!(span["state"], "a=1");
        assert_eq!(span["service"], "echogate");
        assert_eq!(span["path"], "/v1/traces");
        assert_eq!(span["authorization"], "Bearer x");
        assert_eq!(span["status"], json!([0, ""]));
    }
    assert_eq!((&connection["name"], &connection["kind"]), (&json!("/x"), &json!(2)));
    assert_eq!(connection["parent"], "00f067aa0ba902b7");
    let attributes = &connection["attributes"];
    assert_eq!(attributes["websocket.close.code"], 1000);
    assert_eq!(attributes["echogate.received_bytes"], 5);
    assert_eq!(attributes["echogate.sent_bytes"], 0);
    assert_eq!(attributes["echogate.end"], "the client closed (1000)");
    assert_eq!((&dial["name"], &dial["kind"]), (&json!("dial"), &json!(3)));
    assert_eq!(dial["parent"], connection["span"]);
    assert_eq!(dial["attributes"]["echogate.upstream"], *url);
    assert!(connection["nanoseconds"].as_u64() > dial["nanoseconds"].as_u64());
    // The span of the dial is the parent of the upstream's.
    let id = dial["span"].as_str().unwrap();
    let passed = format!("00-4bf92f3577b34da6a3ce929d0e0e4736-{id}-01");
    assert_eq!(received.join().unwrap(), [Some(passed), Some("a=1".to_owned())]);
}

#[test]
fn a_forward_begins_a_trace_and_a_failed_dial_is_an_error() {
    let Some(receiver) = Receiver::start() else { return };
    let upstream = Upstream::new();
    let url = format!("tcp://{}", upstream.address());
    drop(upstream);
    let arguments = ["--forward", &format!("127.0.0.1:0={url}"), "--route", &format!("/x={url}")];
    let server = receiver.server(&arguments);
    assert_eq!(handshake(&server, "/x", &[]).status, 502);
    let spans = receiver.spans(2);
    for span in &spans {
        assert_eq!(span["status"], json!([2, "the upstream refused the connection"]), "{span}");
    }
    assert_eq!(spans[1]["parent"], "");
    connect(server.address("forward"));
    let spans = receiver.spans(4);
    assert_eq!(spans[3]["name"], *url, "{spans:?}");
    assert_ne!(spans[3]["trace"], spans[1]["trace"]);
}

#[test]
fn spans_that_are_left_at_the_end_of_the_server_are_exported() {
    let Some(receiver) = Receiver::start() else { return };
    let mut server = receiver.server(&["--route", "/x=service:upper"]);
    let mut client = RawWs::connect(&server, "/x");
    server.signal("TERM");
    assert_eq!(client.read().close().0, Some(1001));
    client.send(&ws::close(1001, ""));
    assert_eq!(server.wait().code(), Some(0));
    assert_eq!(receiver.spans(2)[1]["attributes"]["websocket.close.code"], 1001);
}

/// A server that exports its spans to the receiver at `url`.
fn server_for(url: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(ECHOGATE);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--route", "/x=service:upper"])
        .args(arguments)
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", url)
        .env("OTEL_BSP_SCHEDULE_DELAY", "20");
    command
}

/// A connection whose span ends.
fn connect_and_leave(server: &Server) {
    let mut client = RawWs::connect(server, "/x");
    assert_eq!(client.exchange(b"hello"), b"HELLO");
    client.end(1000, "");
}

#[test]
fn a_receiver_that_refuses_connections_is_reported_once() {
    let mut server = Server::spawn(server_for("http://127.0.0.1:1", &[]));
    for _ in 0..3 {
        connect_and_leave(&server);
        server.wait_for_log(&["spans are lost", "127.0.0.1:1", "connection refused"]);
    }
    assert_eq!(server.terminate(), Some(0));
    let lines = server.log();
    assert_eq!(lines.iter().filter(|line| line.contains("spans are lost")).count(), 1);
}

#[test]
fn the_variable_with_an_invalid_url_is_named() {
    for variable in ["OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT"] {
        let mut command = server_for("http://localhost:4318", &[]);
        let output = command.env(variable, "http://[").output().unwrap();
        let line = String::from_utf8(output.stderr).unwrap();
        let expected = format!("echogate: invalid exporter configuration: {variable}: ");
        assert!(line.contains(&expected) && line.lines().count() == 1, "{line}");
        assert_eq!(output.status.code(), Some(1), "{line}");
    }
}

/// The timeout of a request to a receiver. What ends earlier has not waited for the answer.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

#[test]
fn a_receiver_that_does_not_answer_delays_neither_replies_nor_the_end() {
    let receiver = Upstream::new();
    let url = format!("http://{}", receiver.address());
    let mut server = Server::spawn(server_for(&url, &["--drain", "1s"]));
    connect_and_leave(&server);
    let _request = receiver.accept();
    let start = Instant::now();
    for _ in 0..3 {
        connect_and_leave(&server);
    }
    assert_eq!(server.terminate(), Some(0));
    assert!(start.elapsed() < REQUEST_TIMEOUT, "{:?}", start.elapsed());
}

#[test]
fn spans_that_find_the_queue_full_are_counted() {
    let receiver = Upstream::new();
    let mut command = server_for(&format!("http://{}", receiver.address()), &["--drain", "1s"]);
    command.env("OTEL_BSP_MAX_QUEUE_SIZE", "2");
    let mut server = Server::spawn(command);
    // Each connection has two spans. The first ones wait for an answer.
    connect_and_leave(&server);
    let _request = receiver.accept();
    for _ in 0..3 {
        connect_and_leave(&server);
    }
    server.wait_for_log(&["spans are lost: 2 wait for their receiver (OTEL_BSP_MAX_QUEUE_SIZE)"]);
    server.signal("TERM");
    server.wait();
    server.wait_for_log(&["spans were lost because too many waited (OTEL_BSP_MAX_QUEUE_SIZE)"]);
}

#[test]
fn a_receiver_may_have_tls_an_ipv6_address_and_credentials_and_its_ca_may_come_later() {
    let authority = Authority::new();
    let issued = authority.issue(&["::1"]);
    let listener = TcpListener::bind("[::1]:0").unwrap();
    let url = format!("https://user:secret@{}", listener.local_addr().unwrap());
    let ca = authority.file("later.pem");
    let mut command = server_for(&url, &[]);
    command.env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca);
    let server = Server::spawn(command);
    connect_and_leave(&server);
    server.wait_for_log(&["spans are lost: https://***@[::1]", "later.pem"]);
    fs::copy(authority.ca(), &ca).unwrap();
    connect_and_leave(&server);
    let (mut receiver, _) = issued.accept(listener.accept().unwrap().0);
    let head = http::read_head(&mut receiver).unwrap();
    assert!(head.contains("authorization: Basic dXNlcjpzZWNyZXQ="), "{head}");
    receiver.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n").unwrap();
    server.wait_for_log(&["spans are exported to https://***@[::1]"]);
    assert!(!server.log().iter().any(|line| line.contains("secret")), "{:?}", server.log());
}
