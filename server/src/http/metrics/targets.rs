//! The metrics of routes and forwards, with a label for each of them. The labels are those of the
//! configuration, so that their number does not depend on clients. An event that has not occurred has
//! no series, and a target that has not been dialled has no histograms: with all series the metrics of
//! a thousand routes took 9 MB.

use std::{fmt, sync::Arc};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeMetric},
    metrics::{
        MetricType::{self, Counter, Gauge},
        histogram::Histogram,
    },
};

use super::encode::family;
use crate::{
    connections::{dial_outcome::DialOutcome, target::TargetMetrics},
    context::ServerContext,
};

/// A histogram of connections: name, help, value.
type OfConnections = (&'static str, &'static str, fn(&TargetMetrics) -> &Histogram);

const HISTOGRAMS: [OfConnections; 5] = [
    ("target_dial_seconds", "Time of successful dials.", |of| &of.dial_seconds),
    (
        "target_first_byte_seconds",
        "Time from the first write to the upstream, or from the beginning of the connection, to \
         the upstream's first byte.",
        |of| &of.first_byte_seconds,
    ),
    ("target_connection_seconds", "Lifetime of connections that have ended.", |of| {
        &of.lifetime_seconds
    }),
    (
        "target_connection_received_bytes",
        "Payload bytes from the client of a connection that has ended.",
        |of| &of.received_bytes,
    ),
    (
        "target_connection_sent_bytes",
        "Payload bytes to the client of a connection that has ended.",
        |of| &of.sent_bytes,
    ),
];

/// The metrics of the routes and forwards of one configuration.
#[derive(Debug)]
pub(super) struct TargetsMetrics(pub(super) Arc<ServerContext>);

impl Collector for TargetsMetrics {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let encoder = &mut encoder;
        let targets = &self.0.targets;
        if targets.is_empty() {
            return Ok(());
        }
        connections(encoder, &self.0)?;
        for (name, help, of) in HISTOGRAMS {
            let mut family = encoder.encode_descriptor(name, help, None, MetricType::Histogram)?;
            for target in targets.iter().filter(|target| target.has_been_dialled()) {
                of(target).encode(family.encode_family(&[target.label.pair()])?)?;
            }
        }
        Ok(())
    }
}

/// Connections, their payload, and the outcomes of dials, refused clients and closed WebSockets.
fn connections(encoder: &mut DescriptorEncoder<'_>, context: &ServerContext) -> fmt::Result {
    let targets = &context.targets;
    let open = |of: &TargetMetrics| u64::try_from(of.open.get()).unwrap_or(0);
    let open = targets.iter().map(|of| ([of.label.pair()], open(of)));
    let opened = targets.iter().map(|of| ([of.label.pair()], of.opened.get()));
    family(encoder, ("target_connections", Gauge, "Open connections"), open)?;
    family(encoder, ("target_connections", Counter, "Connections since the start"), opened)?;
    let bytes = context.registry.bytes_of(targets);
    for (index, name, help) in [
        (0, "target_received_bytes", "Payload bytes from clients"),
        (1, "target_sent_bytes", "Payload bytes to clients"),
    ] {
        let bytes = bytes.iter().map(|bytes| bytes[index]);
        let samples = targets.iter().map(|of| [of.label.pair()]).zip(bytes);
        family(encoder, (name, Counter, help), samples)?;
    }
    let dials = targets.iter().flat_map(|of| {
        let dials = of.dials().filter(|(outcome, n)| *n > 0 || *outcome == DialOutcome::Connected);
        dials.map(|(outcome, n)| ([of.label.pair(), ("outcome", outcome.label())], n))
    });
    family(encoder, ("target_dials", Counter, "Dials of the upstream, by outcome"), dials)?;
    let refused = targets.iter().flat_map(|of| {
        let refused = of.refused.iter().filter(|(_, n)| *n > 0);
        refused.map(|(why, n)| ([of.label.pair(), ("reason", why)], n))
    });
    family(encoder, ("target_refused", Counter, "Refused clients, by reason"), refused)?;
    let closes = targets
        .iter()
        .flat_map(|of| of.closes().filter(|(_, n)| *n > 0).map(move |it| (of, it)))
        .map(|(of, (code, n))| ([of.label.pair(), ("code", code)], n));
    family(encoder, ("target_closes", Counter, "Ends of WebSockets, by code"), closes)
}
