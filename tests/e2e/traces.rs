//! `traceparent` and `tracestate`: the traces that connections are a part of.

use std::thread::JoinHandle;

use echogate_tests::{
    server::Server,
    upstream::Upstream,
    ws::{self, RawWs, RawWsServer, handshake},
};
use serde_json::Value;

use crate::ECHOGATE;

const PARENT: &str = "traceparent: 00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A WebSocket server that closes with 1000, and returns the trace context that it was sent.
pub(crate) fn upstream() -> (String, JoinHandle<[Option<String>; 2]>) {
    let upstream = Upstream::new();
    let url = format!("ws://{}/", upstream.address());
    let received = upstream.serve(|stream| {
        let mut client = RawWsServer::accept(stream, &[]);
        let fields = ["traceparent", "tracestate"];
        let received = fields.map(|name| client.header(name).map(str::to_owned));
        // The client's Close, and what it sent before.
        while !client.read().payload.starts_with(&[3, 232]) {}
        client.close(1000, "");
        received
    });
    (url, received)
}

#[test]
fn a_trace_context_is_listed_logged_and_passed_to_the_upstream_as_it_was() {
    let (url, received) = upstream();
    let server = Server::start(ECHOGATE, &["--route", &format!("/x={url}")]);
    let mut client = RawWs::connect_with(&server, "/x", &[PARENT, "tracestate: a=1,b=2"]);
    server.wait_for_connections(|all| all.len() == 1 && all[0]["trace_id"] == TRACE);
    client.send(&ws::close(1000, ""));
    let parent = PARENT.strip_prefix("traceparent: ").unwrap().to_owned();
    assert_eq!(received.join().unwrap(), [Some(parent), Some("a=1,b=2".to_owned())]);
    server.wait_for_log(&["target=\"/x\"", &format!("trace_id={TRACE}"), "1000"]);
}

#[test]
fn a_trace_context_that_is_not_valid_is_ignored() {
    for invalid in [
        "traceparent: 00-00000000000000000000000000000000-00f067aa0ba902b7-01".to_owned(),
        PARENT.to_uppercase(),
        format!("{PARENT}-00"),
        format!("{PARENT}\r\n{PARENT}"),
    ] {
        let (url, received) = upstream();
        let route = format!("/x={url}#pass=traceparent");
        let server = Server::start(ECHOGATE, &["--route", &route]);
        let mut client = RawWs::connect_with(&server, "/x", &[&invalid, "tracestate: a=1"]);
        let all = server.wait_for_connections(|all| all.len() == 1);
        assert_eq!(all[0]["trace_id"], Value::Null, "{invalid}");
        client.send(&ws::close(1000, ""));
        assert_eq!(received.join().unwrap(), [None, None], "{invalid}");
    }
}

#[test]
fn the_log_names_the_trace_of_a_client_that_is_refused() {
    let server = Server::start(ECHOGATE, &["--route", "/x=tcp://127.0.0.1:1"]);
    assert_eq!(handshake(&server, "/x", &[PARENT]).status, 502);
    server.wait_for_log(&[
        "refused: the upstream refused",
        "upstream=tcp://",
        &format!("trace_id={TRACE}"),
    ]);
}
