//! `/metrics`: sums since the start, in the text format of Prometheus (version 0.0.4).

use std::{fmt::Write, sync::Arc};

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{registry::Totals, shared::Shared};

/// A figure of each kind of connection: its name, its type, what it is, and where it is
/// found.
type Metric = (&'static str, &'static str, &'static str, fn(&Totals) -> u64);

const METRICS: [Metric; 6] = [
    ("connections", "gauge", "Connections that are open now.", |of| of.live),
    ("connections_total", "counter", "Connections since the start.", |of| of.opened),
    ("received_bytes_total", "counter", "Payload bytes from clients.", |of| {
        of.carried.bytes_received
    }),
    ("sent_bytes_total", "counter", "Payload bytes to clients.", |of| of.carried.bytes_sent),
    ("received_messages_total", "counter", "Messages from clients.", |of| {
        of.carried.messages_received
    }),
    ("sent_messages_total", "counter", "Messages to clients.", |of| of.carried.messages_sent),
];

/// What monitors collect.
pub(super) async fn metrics(State(shared): State<Arc<Shared>>) -> impl IntoResponse {
    let totals = shared.registry.totals();
    let mut text = format!(
        "# HELP echogate_info The program.\n# TYPE echogate_info gauge\n\
         echogate_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, what, help, figure) in METRICS {
        let name = format!("echogate_{name}");
        write!(text, "# HELP {name} {help}\n# TYPE {name} {what}\n").expect("it is a String");
        for (kind, of) in &totals {
            writeln!(text, "{name}{{kind=\"{kind}\"}} {}", figure(of)).expect("it is a String");
        }
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}
