//! `/metrics`: totals since the start, in the text format of Prometheus (version 0.0.4).

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

/// A metric with a value for each kind of connection: name, type, help, value.
type Metric = (&'static str, &'static str, &'static str, fn(&Totals) -> u64);

const METRICS: [Metric; 6] = [
    ("connections", "gauge", "Open connections.", |of| of.live),
    ("connections_total", "counter", "Connections accepted since the start.", |of| of.opened),
    ("received_bytes_total", "counter", "Payload bytes from clients.", |of| {
        of.carried.bytes_received
    }),
    ("sent_bytes_total", "counter", "Payload bytes to clients.", |of| of.carried.bytes_sent),
    ("received_messages_total", "counter", "Messages from clients.", |of| {
        of.carried.messages_received
    }),
    ("sent_messages_total", "counter", "Messages to clients.", |of| of.carried.messages_sent),
];

/// Answers with all metrics.
pub(super) async fn metrics(State(context): State<Arc<ServerContext>>) -> impl IntoResponse {
    let totals = context.registry.totals();
    let mut text = format!(
        "# HELP echogate_info The program.\n# TYPE echogate_info gauge\n\
         echogate_info{{version=\"{}\"}} 1\n",
        env!("CARGO_PKG_VERSION")
    );
    for (name, what, help, value) in METRICS {
        head(&mut text, name, what, help);
        for (kind, of) in &totals {
            writeln!(text, "echogate_{name}{{kind=\"{kind}\"}} {}", value(of))
                .expect("it is a String");
        }
    }
    refusals(&mut text, &context.counters);
    let usage = context.limits.usage();
    let dropped = context.counters.datagrams_dropped();
    for (name, what, help, value) in [
        (
            "connections_limit",
            "gauge",
            "Limit on connections (--max-connections).",
            usage.max.into(),
        ),
        (
            "connections_per_address_limit",
            "gauge",
            "Limit on connections of one address (--max-per-address).",
            usage.max_per_address.into(),
        ),
        (
            "waiting_clients",
            "gauge",
            "Accepted TCP clients that wait for a connection permit.",
            usage.waiting as u64,
        ),
        (
            "http_connections",
            "gauge",
            "Open HTTP connections after their first request.",
            usage.http as u64,
        ),
        (
            "http_connections_limit",
            "gauge",
            "Limit on HTTP connections after their first request.",
            usage.max_http as u64,
        ),
        (
            "http_set_ups",
            "gauge",
            "Open HTTP connections before their first request.",
            usage.http_set_ups as u64,
        ),
        (
            "http_set_ups_limit",
            "gauge",
            "Limit on HTTP connections before their first request.",
            usage.max_http_set_ups as u64,
        ),
        (
            "datagrams_dropped_total",
            "counter",
            "Datagrams that were received and not answered or not passed on.",
            dropped,
        ),
        (
            "taps",
            "gauge",
            "Observers of connections (/api/connections/ID/tap).",
            context.taps.in_use() as u64,
        ),
        (
            "tap_lost_events_total",
            "counter",
            "Events that observers of connections lost because they were too slow.",
            context.tap_budget.lost_events(),
        ),
        (
            "recording",
            "gauge",
            "Whether connections are recorded (--record).",
            context.recorder.is_recording().into(),
        ),
        (
            "recorded_bytes_total",
            "counter",
            "Bytes of recordings.",
            context.recorder.recorded_bytes(),
        ),
        (
            "record_lost_events_total",
            "counter",
            "Events that are missing in recordings because their disk was too slow.",
            context.recorder.lost_events(),
        ),
        (
            "log_lines_dropped_total",
            "counter",
            "Log lines that were dropped because standard error was not read.",
            LOG_LINES_DROPPED.load(Ordering::Relaxed),
        ),
    ] {
        head(&mut text, name, what, help);
        writeln!(text, "echogate_{name} {value}").expect("it is a String");
    }
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], text)
}

/// Refused clients, by reason.
fn refusals(text: &mut String, counters: &Counters) {
    let name = "refused_total";
    head(text, name, "counter", "Refused clients, by reason.");
    for (why, count) in counters.refusals() {
        let reason = why.label();
        writeln!(text, "echogate_{name}{{reason=\"{reason}\"}} {count}").expect("it is a String");
    }
}

/// The help and type lines of one metric.
fn head(text: &mut String, name: &str, what: &str, help: &str) {
    write!(text, "# HELP echogate_{name} {help}\n# TYPE echogate_{name} {what}\n")
        .expect("it is a String");
}
