//! `/metrics`: sums since the start, in the text format of Prometheus (version 0.0.4).

use std::{
    fmt::Write,
    sync::{Arc, atomic::Ordering},
};

use axum::{extract::State, http::header, response::IntoResponse};

use crate::{
    connections::{
        counters::{Counters, LOG_LINES_DROPPED},
        registry::Totals,
    },
    context::ServerContext,
};

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
pub(super) async fn metrics(State(context): State<Arc<ServerContext>>) -> impl IntoResponse {
    let totals = context.registry.totals();
    let mut text = format!(
        "# HELP echogate_info The program.\n# TYPE echogate_info gauge\n\
         echogate_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, what, help, figure) in METRICS {
        head(&mut text, name, what, help);
        for (kind, of) in &totals {
            writeln!(text, "echogate_{name}{{kind=\"{kind}\"}} {}", figure(of))
                .expect("it is a String");
        }
    }
    refusals(&mut text, &context.counters);
    let usage = context.limits.usage();
    let dropped = context.counters.datagrams_dropped();
    for (name, what, help, figure) in [
        (
            "connections_limit",
            "gauge",
            "The most connections (--max-connections).",
            usage.max.into(),
        ),
        (
            "connections_per_address_limit",
            "gauge",
            "The most connections of one address (--max-per-address).",
            usage.max_per_address.into(),
        ),
        (
            "waiting_clients",
            "gauge",
            "Clients that wait for a connection to end.",
            usage.waiting as u64,
        ),
        ("http_connections", "gauge", "HTTP connections that are open now.", usage.http as u64),
        ("http_connections_limit", "gauge", "The most HTTP connections.", usage.max_http as u64),
        (
            "http_set_ups",
            "gauge",
            "HTTP connections whose first request has not come.",
            usage.http_set_ups as u64,
        ),
        ("http_set_ups_limit", "gauge", "The most of those.", usage.max_http_set_ups as u64),
        ("datagrams_dropped_total", "counter", "Datagrams that were not answered.", dropped),
        (
            "log_lines_dropped_total",
            "counter",
            "Log lines that were dropped because standard error was not read.",
            LOG_LINES_DROPPED.load(Ordering::Relaxed),
        ),
    ] {
        head(&mut text, name, what, help);
        writeln!(text, "echogate_{name} {figure}").expect("it is a String");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// Clients that were refused, by reason.
fn refusals(text: &mut String, counters: &Counters) {
    let name = "refused_total";
    head(text, name, "counter", "Clients that were refused, by reason.");
    for (why, count) in counters.refusals() {
        let reason = why.label();
        writeln!(text, "echogate_{name}{{reason=\"{reason}\"}} {count}").expect("it is a String");
    }
}

/// The lines above the figures of one metric.
fn head(text: &mut String, name: &str, what: &str, help: &str) {
    write!(text, "# HELP echogate_{name} {help}\n# TYPE echogate_{name} {what}\n")
        .expect("it is a String");
}
