//! The target of connections: a service, or a route or forward with its metrics.

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use echogate_proto::close::CloseCode;
use prometheus_client::metrics::{counter::Counter, gauge::Gauge, histogram::Histogram};
use tokio::time::Instant;

use crate::connections::{counters::Refusals, dial_outcome::DialOutcome};

/// Upper bounds of the buckets of dial times and times to the first byte, in seconds.
const DELAYS: [f64; 14] =
    [0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

/// Upper bounds of the buckets of lifetimes, in seconds.
const LIFETIMES: [f64; 10] = [0.1, 1.0, 5.0, 15.0, 60.0, 300.0, 900.0, 3_600.0, 14_400.0, 86_400.0];

/// Upper bounds of the buckets of payload, in bytes: 64 B to 1 GiB.
const BYTES: [f64; 9] = [
    64.0,
    512.0,
    4_096.0,
    32_768.0,
    262_144.0,
    2_097_152.0,
    16_777_216.0,
    134_217_728.0,
    1_073_741_824.0,
];

/// The values of the label `code`, apart from single codes: the ranges of RFC 6455 section 7.4.2,
/// whose codes peers choose freely, and everything else.
const CODE_RANGES: [&str; 3] = ["3xxx", "4xxx", "other"];

/// The codes that have a value of the label `code` of their own.
const CODES: [&str; 14] = [
    "1000", "1001", "1002", "1003", "1005", "1006", "1007", "1008", "1009", "1010", "1011", "1012",
    "1013", "1014",
];

/// The target of connections, as registry entries refer to it.
#[derive(Debug)]
pub(crate) struct ConnectionTarget {
    /// The service's name, the route's path or the URL of the forward's upstream.
    pub(crate) name: Arc<str>,
    /// Whether operators of the chat present their token on these connections.
    pub(crate) leads_to_operators: bool,
    /// The metrics of the route or forward; none for a service.
    pub(crate) metrics: Option<Arc<TargetMetrics>>,
}

impl ConnectionTarget {
    pub(crate) fn of_service(name: &str, leads_to_operators: bool) -> ConnectionTarget {
        ConnectionTarget { name: name.into(), leads_to_operators, metrics: None }
    }
}

/// The setting that a [`TargetMetrics`] belongs to: a label of `/metrics`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum TargetLabel {
    /// A route, by its path.
    Route(String),
    /// A forward, by the URL of its socket.
    Forward(String),
}

impl TargetLabel {
    /// The name and the value of the label.
    pub(crate) fn pair(&self) -> (&'static str, &str) {
        match self {
            TargetLabel::Route(path) => ("route", path),
            TargetLabel::Forward(url) => ("forward", url),
        }
    }
}

/// The metrics of one route or forward. A connection updates them only at its beginning and its
/// end.
#[derive(Debug)]
pub(crate) struct TargetMetrics {
    pub(crate) label: TargetLabel,
    pub(crate) open: Gauge,
    pub(crate) opened: Counter,
    /// Clients refused, by reason.
    pub(crate) refused: Refusals,
    dials: [AtomicU64; DialOutcome::ALL.len()],
    closes: [AtomicU64; CODES.len() + CODE_RANGES.len()],
    /// Payload bytes from and to clients whose connections have ended.
    ended_bytes: [AtomicU64; 2],
    /// Times of successful dials.
    pub(crate) dial_seconds: Histogram,
    pub(crate) first_byte_seconds: Histogram,
    pub(crate) lifetime_seconds: Histogram,
    pub(crate) received_bytes: Histogram,
    pub(crate) sent_bytes: Histogram,
}

impl TargetMetrics {
    /// The metrics of `labels` after a reload: those in `before` continue, and others begin at
    /// zero.
    pub(crate) fn of_labels(
        labels: impl Iterator<Item = TargetLabel>,
        before: &[Arc<TargetMetrics>],
    ) -> Vec<Arc<TargetMetrics>> {
        let before: HashMap<_, _> =
            before.iter().map(|metrics| (&metrics.label, metrics)).collect();
        let mut seen = HashSet::new();
        let new = |label| Arc::new(TargetMetrics::new(label));
        labels
            .filter(|label| seen.insert(label.clone()))
            .map(|label| before.get(&label).map_or_else(|| new(label), |it| Arc::clone(it)))
            .collect()
    }

    /// Metrics at zero.
    fn new(label: TargetLabel) -> TargetMetrics {
        TargetMetrics {
            label,
            open: Gauge::default(),
            opened: Counter::default(),
            refused: Refusals::default(),
            dials: Default::default(),
            closes: Default::default(),
            ended_bytes: Default::default(),
            dial_seconds: Histogram::new(DELAYS),
            first_byte_seconds: Histogram::new(DELAYS),
            lifetime_seconds: Histogram::new(LIFETIMES),
            received_bytes: Histogram::new(BYTES),
            sent_bytes: Histogram::new(BYTES),
        }
    }

    pub(crate) fn dial(&self) -> Dial<'_> {
        Dial { metrics: self, since: Instant::now(), outcome: DialOutcome::Cancelled }
    }

    /// Counts a connection that begins.
    pub(crate) fn connection_opened(&self) {
        self.opened.inc();
        self.open.inc();
    }

    /// Counts the payload of a connection that has ended.
    pub(crate) fn add_ended_bytes(&self, [received, sent]: [u64; 2]) {
        self.ended_bytes[0].fetch_add(received, Ordering::Relaxed);
        self.ended_bytes[1].fetch_add(sent, Ordering::Relaxed);
    }

    /// Records the end of a connection, after `seconds`, with its payload from and to the client.
    pub(crate) fn connection_ended(&self, seconds: f64, [received, sent]: [u64; 2]) {
        self.open.dec();
        self.lifetime_seconds.observe(seconds);
        self.received_bytes.observe(received as f64);
        self.sent_bytes.observe(sent as f64);
    }

    /// Counts the end of a WebSocket by `code`.
    pub(crate) fn closed(&self, code: CloseCode) {
        let single = CODES.iter().position(|known| known.parse() == Ok(code.0));
        let range = || match code.0 {
            3000..=3999 => 0,
            4000..=4999 => 1,
            _ => 2,
        };
        let index = single.unwrap_or_else(|| CODES.len() + range());
        self.closes[index].fetch_add(1, Ordering::Relaxed);
    }

    /// The number of ends of WebSockets so far, by value of the label `code`.
    pub(crate) fn closes(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let labels = CODES.into_iter().chain(CODE_RANGES);
        labels.zip(self.closes.iter().map(|count| count.load(Ordering::Relaxed)))
    }

    /// The number of dials so far, by outcome.
    pub(crate) fn dials(&self) -> impl Iterator<Item = (DialOutcome, u64)> {
        let dials = self.dials.iter().map(|count| count.load(Ordering::Relaxed));
        DialOutcome::ALL.map(|(outcome, _)| outcome).into_iter().zip(dials)
    }

    /// Whether a dial of the upstream has ended.
    pub(crate) fn has_been_dialled(&self) -> bool {
        self.dials().any(|(_, count)| count > 0)
    }

    /// Payload bytes from and to clients whose connections have ended.
    pub(crate) fn ended_bytes(&self) -> [u64; 2] {
        self.ended_bytes.each_ref().map(|bytes| bytes.load(Ordering::Relaxed))
    }
}

/// A dial under way. A dial that is dropped counts as cancelled, since its client has disconnected.
#[derive(Debug)]
pub(crate) struct Dial<'a> {
    metrics: &'a TargetMetrics,
    since: Instant,
    outcome: DialOutcome,
}

impl Dial<'_> {
    /// Counts the dial, and records its duration if it was successful.
    pub(crate) fn ended(mut self, outcome: DialOutcome) {
        self.outcome = outcome;
        if outcome == DialOutcome::Connected {
            self.metrics.dial_seconds.observe(self.since.elapsed().as_secs_f64());
        }
    }
}

impl Drop for Dial<'_> {
    fn drop(&mut self) {
        self.metrics.dials[self.outcome as usize].fetch_add(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics() -> TargetMetrics {
        TargetMetrics::new(TargetLabel::Route("/ws".to_owned()))
    }

    #[test]
    fn codes_that_a_peer_may_choose_share_one_label() {
        let metrics = metrics();
        for code in [1000, 1006, 3000, 3999, 4000, 4321, 4999, 0, 999, 1015, 5000] {
            metrics.closed(CloseCode(code));
        }
        let counted: Vec<_> = metrics.closes().filter(|(_, count)| *count > 0).collect();
        let expected = [("1000", 1), ("1006", 1), ("3xxx", 2), ("4xxx", 3), ("other", 4)];
        assert_eq!(counted, expected);
    }

    #[test]
    fn a_dial_that_is_dropped_counts_as_cancelled() {
        let metrics = metrics();
        drop(metrics.dial());
        metrics.dial().ended(DialOutcome::Connected);
        metrics.dial().ended(DialOutcome::Tls);
        let counted: Vec<_> = metrics.dials().filter(|(_, count)| *count > 0).collect();
        let expected =
            [DialOutcome::Connected, DialOutcome::Tls, DialOutcome::Cancelled].map(|it| (it, 1));
        assert_eq!(counted, expected);
    }
}
