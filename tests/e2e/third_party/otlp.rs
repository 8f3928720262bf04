//! Spans by OTLP, at a receiver made of the Python package `opentelemetry-proto`. Built with the
//! feature `otlp` only.

use std::{
    process::Command,
    thread,
    time::{Duration, Instant},
};

use echogate_tests::{
    http::connect,
    program::{Program, free_port, python},
    server::{Server, WAIT_TIMEOUT},
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
        let start = Instant::now();
        loop {
            let output = self.program.output();
            let whole = output.rsplit_once('\n').map_or("", |(whole, _)| whole);
            let parsed = whole.lines().map(|line| serde_json::from_str(line).expect(line));
            let spans: Vec<Value> = parsed.collect();
            if spans.len() >= count {
                return spans;
            }
            assert!(start.elapsed() < WAIT_TIMEOUT, "{count} spans: {output}");
            thread::sleep(Duration::from_millis(5));
        }
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
    client.send(&ws::close(1000, ""));
    client.read_close();
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
    assert_eq!(handshake(&mut connect(server.address("http")), &server, "/x", &[]).status, 502);
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

#[test]
fn a_receiver_that_does_not_answer_is_reported_once_and_delays_nothing() {
    let mut command = Command::new(ECHOGATE);
    command
        .args(["serve", "--http", "127.0.0.1:0", "--route", "/x=service:upper"])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:1")
        .env("OTEL_BSP_SCHEDULE_DELAY", "20");
    let mut server = Server::spawn(command);
    for _ in 0..3 {
        let mut client = RawWs::connect(&server, "/x");
        client.send_frame(first::TEXT, b"hello");
        assert_eq!(client.read().payload, b"HELLO");
        server.wait_for_log(&["spans are lost", "127.0.0.1:1", "connection refused"]);
    }
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0));
    let lines = server.log();
    assert_eq!(lines.iter().filter(|line| line.contains("spans are lost")).count(), 1);
}
