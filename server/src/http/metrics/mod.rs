//! `/metrics`: totals since the start, in the text format of Prometheus (version 0.0.4).

mod encode;
mod process;
mod targets;

use std::{
    fmt,
    sync::{Arc, atomic::Ordering},
    time::SystemTime,
};

use axum::{
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric, prometheus_text},
    metrics::MetricType::{self, Counter, Gauge},
    registry::Registry,
};
use tokio::task::spawn_blocking;

use self::{
    encode::{family, single},
    process::Process,
    targets::TargetsMetrics,
};
use crate::{
    cluster::ClusterState,
    connections::{counters::LOG_LINES_DROPPED, registry::Totals},
    context::ServerContext,
};

/// A metric with a value for each kind of connection.
type ByKind = ((&'static str, MetricType, &'static str), fn(&Totals) -> u64);

const BY_KIND: [ByKind; 6] = [
    (("connections", Gauge, "Open connections"), |of| of.live),
    (("connections", Counter, "Connections accepted since the start"), |of| of.opened),
    (("received_bytes", Counter, "Payload bytes from clients"), |of| of.carried.bytes_received),
    (("sent_bytes", Counter, "Payload bytes to clients"), |of| of.carried.bytes_sent),
    (("received_messages", Counter, "Messages from clients"), |of| of.carried.messages_received),
    (("sent_messages", Counter, "Messages to clients"), |of| of.carried.messages_sent),
];

pub(super) async fn metrics(State(context): State<Arc<ServerContext>>) -> Response {
    let ServerContext { loop_lag, http, shutting_down, started, .. } = &*context;
    loop_lag.keep_measuring(&http.tracker, shutting_down);
    let started = *started;
    // Encoding takes some milliseconds with many open files or routes, so it runs on a blocking thread.
    match spawn_blocking(move || encode(context, started)).await {
        Ok(text) => ([(header::CONTENT_TYPE, prometheus_text::CONTENT_TYPE)], text).into_response(),
        Err(e) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{e}\n")).into_response(),
    }
}

/// Encodes all metrics as text; blocks.
fn encode(context: Arc<ServerContext>, started: SystemTime) -> String {
    let mut registry = Registry::default();
    let process = Process::read(started);
    registry.sub_registry_with_prefix("process").register_collector(Box::new(process));
    let server = registry.sub_registry_with_prefix("echogate");
    server.register_collector(Box::new(ServerMetrics(context.clone())));
    server.register_collector(Box::new(TargetsMetrics(context)));
    let mut text = String::new();
    prometheus_text::encode(&mut text, &registry).expect("a String takes what is written");
    text
}

#[derive(Debug)]
struct ServerMetrics(Arc<ServerContext>);

impl Collector for ServerMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let context = &*self.0;
        let version = [("version", env!("CARGO_PKG_VERSION"))];
        family(encoder, ("info", Gauge, "The program"), [(version, 1)])?;
        let totals = context.registry.totals();
        for (metric, value) in BY_KIND {
            let samples = totals.iter().map(|(kind, of)| ([("kind", kind.to_string())], value(of)));
            family(encoder, metric, samples)?;
        }
        let refusals = context.counters.refused.iter();
        let refusals = refusals.map(|(why, count)| ([("reason", why)], count));
        family(encoder, ("refused", Counter, "Refused clients, by reason"), refusals)?;
        let help = "Time that an event loop takes to answer.";
        let kind = MetricType::Histogram;
        let lag = encoder.encode_descriptor("event_loop_lag_seconds", help, None, kind)?;
        context.loop_lag.seconds.encode(lag)?;
        limits(encoder, context)?;
        losses(encoder, context)?;
        cluster(encoder, context)
    }
}

/// The limits on connections, and their use.
fn limits(encoder: &mut DescriptorEncoder<'_>, context: &ServerContext) -> fmt::Result {
    let usage = context.limits.usage();
    for (name, help, value) in [
        ("connections_limit", "Limit on connections (--max-connections)", usage.max.into()),
        (
            "connections_per_address_limit",
            "Limit on connections of one address (--max-per-address)",
            usage.max_per_address.into(),
        ),
        (
            "waiting_clients",
            "Accepted TCP clients that wait for a connection permit",
            usage.waiting as u64,
        ),
        ("http_connections", "Open HTTP connections after their first request", usage.http as u64),
        (
            "http_connections_limit",
            "Limit on HTTP connections after their first request",
            usage.max_http as u64,
        ),
        (
            "http_set_ups",
            "Open HTTP connections before their first request",
            usage.http_set_ups as u64,
        ),
        (
            "http_set_ups_limit",
            "Limit on HTTP connections before their first request",
            usage.max_http_set_ups as u64,
        ),
    ] {
        single(encoder, (name, Gauge, help), value)?;
    }
    Ok(())
}

/// Observers and recordings, and everything that was lost.
fn losses(encoder: &mut DescriptorEncoder<'_>, context: &ServerContext) -> fmt::Result {
    let recorder = &context.recorder;
    for (name, kind, help, value) in [
        (
            "datagrams_dropped",
            Counter,
            "Datagrams that were received and not answered or not passed on",
            context.counters.datagrams_dropped(),
        ),
        (
            "taps",
            Gauge,
            "Observers of connections (/api/connections/ID/tap)",
            context.taps.in_use() as u64,
        ),
        (
            "tap_lost_events",
            Counter,
            "Events that observers of connections lost because they were too slow",
            context.tap_budget.lost_events(),
        ),
        (
            "recording",
            Gauge,
            "Whether connections are recorded (--record)",
            recorder.is_recording().into(),
        ),
        ("recorded_bytes", Counter, "Bytes of recordings", recorder.recorded_bytes()),
        (
            "record_lost_events",
            Counter,
            "Events that are missing in recordings: the disk was too slow, or writing failed",
            recorder.lost_events(),
        ),
        (
            "log_lines_dropped",
            Counter,
            "Log lines that were dropped because standard error was not read",
            LOG_LINES_DROPPED.load(Ordering::Relaxed),
        ),
    ] {
        single(encoder, (name, kind, help), value)?;
    }
    Ok(())
}

/// The connection to the broker and the messages of the cluster (`--cluster`).
fn cluster(encoder: &mut DescriptorEncoder<'_>, context: &ServerContext) -> fmt::Result {
    let cluster = &context.cluster;
    let state = cluster.state();
    if state == ClusterState::Off {
        return Ok(());
    }
    let connected = u64::from(state.is_connected());
    let help = "Whether there is a connection to the broker (--cluster)";
    single(encoder, ("cluster_connected", Gauge, help), connected)?;
    let members = cluster.members();
    let others = members.len() as u64;
    let help = "Replicas of the cluster that are known, this one included";
    single(encoder, ("cluster_replicas", Gauge, help), others + connected)?;
    let operators = members.iter().map(|member| member.operators as u64);
    let operators = operators.fold(0, u64::saturating_add);
    let help = "Operators of chat at other replicas";
    single(encoder, ("cluster_operators", Gauge, help), operators)?;
    let help = "Messages of chat clients here that operators of other replicas have not confirmed";
    single(encoder, ("cluster_unconfirmed", Gauge, help), cluster.unconfirmed() as u64)?;
    let counters = cluster.counters();
    let by_direction = [("sent", &counters.sent), ("received", &counters.received)];
    let by_direction = by_direction.map(|(name, count)| ([("direction", name)], count.get()));
    let help = "Messages to and from the broker";
    family(encoder, ("cluster_messages", Counter, help), by_direction)?;
    let help = "Messages of the cluster that were lost after they were accepted: a queue was full, \
                or they exceeded the broker's max_payload";
    single(encoder, ("cluster_dropped", Counter, help), counters.dropped.get())?;
    let help = "Messages of the cluster that were ignored: of another version, or invalid";
    single(encoder, ("cluster_invalid", Counter, help), counters.invalid.get())
}
