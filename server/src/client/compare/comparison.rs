//! The comparison of two recordings.

use echogate_proto::recording::Direction;
use regex::bytes::Regex;
use serde::Serialize;

use super::{
    content::{Content, DirectionEnd},
    difference::{self, Difference},
    latency::{Latency, reply_times, shift_ms},
};
use crate::recording::model::{Action, RecordedConnection, Recording};

/// The comparison of the connections of two recordings, in the order in which they begin.
#[derive(Debug, Serialize)]
pub(in crate::client) struct Comparison {
    same: bool,
    pub(super) connections: Vec<ConnectionComparison>,
}

/// The comparison of the connections at the same position in both recordings.
#[derive(Debug, Serialize)]
pub(in crate::client) struct ConnectionComparison {
    /// The number in the first recording that has the connection, from 1.
    pub(super) number: usize,
    /// The name of the target in the first recording that has the connection.
    pub(super) target: String,
    /// The only recording that has the connection: `a` or `b`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) only_in: Option<&'static str>,
    /// The first difference of each direction, then that of their ends.
    pub(super) differences: Vec<Difference>,
    /// The reasons why a connection of a replay has failed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) failures: Vec<String>,
    /// The median of the differences between the reply times, in milliseconds: positive where those
    /// of `b` are longer.
    pub(super) latency_shift_ms: Option<f64>,
    pub(super) a: Option<Figures>,
    pub(super) b: Option<Figures>,
}

/// The figures of a connection.
#[derive(Debug, Serialize)]
pub(super) struct Figures {
    pub(super) to_server: Counts,
    pub(super) to_client: Counts,
    pub(super) latency: Option<Latency>,
    /// The reasons why something is missing in the recording.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) missing: Vec<String>,
}

/// The figures of a direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub(super) struct Counts {
    pub(super) bytes: u64,
    /// Messages or datagrams; 0 for a byte stream.
    pub(super) messages: u64,
    pub(super) pings: u64,
    pub(super) pongs: u64,
}

impl Comparison {
    /// Compares two recordings, without the parts of payload that match a pattern of `ignored`.
    pub(in crate::client) fn new(recordings: [&Recording; 2], ignored: &[Regex]) -> Comparison {
        let [a, b] = recordings.map(|recording| &recording.connections);
        let connections = (0..a.len().max(b.len()))
            .map(|index| ConnectionComparison::new(a.get(index), b.get(index), ignored))
            .collect();
        let mut comparison = Comparison { same: true, connections };
        comparison.same = comparison.different() == 0;
        comparison
    }

    /// Adds a failure of the replay of the connection at `index`.
    pub(in crate::client) fn add_failure(&mut self, index: usize, text: String) {
        self.connections[index].failures.push(text);
        self.same = false;
    }

    /// The number of connections that differ.
    pub(in crate::client) fn different(&self) -> usize {
        self.connections.iter().filter(|connection| !connection.is_same()).count()
    }
}

impl ConnectionComparison {
    fn new(
        a: Option<&RecordedConnection>,
        b: Option<&RecordedConnection>,
        ignored: &[Regex],
    ) -> ConnectionComparison {
        let known = a.or(b);
        let number = known.map_or(0, |known| known.number);
        let target = known.map_or_else(String::new, |known| known.opened.target.clone());
        let (only_in, differences) = match (a, b) {
            (Some(a), Some(b)) => (None, differences(a, b, ignored)),
            (Some(_), None) => (Some("a"), Vec::new()),
            (None, _) => (Some("b"), Vec::new()),
        };
        let times = [a, b].map(|connection| connection.map(reply_times).unwrap_or_default());
        let latency_shift_ms = shift_ms(&times[0], &times[1]);
        let figures = |connection: Option<&RecordedConnection>, times| {
            connection.map(|connection| Figures::of(connection, times))
        };
        let [a_times, b_times] = times;
        let (a, b) = (figures(a, a_times), figures(b, b_times));
        let failures = Vec::new();
        ConnectionComparison {
            number,
            target,
            only_in,
            differences,
            failures,
            latency_shift_ms,
            a,
            b,
        }
    }

    pub(super) fn is_same(&self) -> bool {
        self.only_in.is_none() && self.differences.is_empty() && self.failures.is_empty()
    }
}

/// The differences of two connections. A WebSocket and a byte stream are compared as bytes.
pub(super) fn differences(
    a: &RecordedConnection,
    b: &RecordedConnection,
    ignored: &[Regex],
) -> Vec<Difference> {
    let directions = [Direction::ToServer, Direction::ToClient];
    let contents = directions.into_iter().filter_map(|direction| {
        let as_bytes = a.traffic != b.traffic;
        let [a, b] = [a, b].map(|of| Content::of(of, direction, as_bytes, ignored));
        difference::find(direction, &a, &b)
    });
    let mut differences: Vec<_> = contents.collect();
    if a.traffic == b.traffic {
        differences.extend(directions.into_iter().filter_map(|direction| {
            let [a, b] = [a, b].map(|of| DirectionEnd::of(of, direction));
            difference::of_ends(direction, a, b)
        }));
    }
    differences
}

impl Figures {
    fn of(connection: &RecordedConnection, reply_times: Vec<u64>) -> Figures {
        let counts = |direction| {
            let mut counts = Counts::default();
            for event in connection.of(direction) {
                match &event.action {
                    Action::Bytes(bytes) => counts.bytes += bytes.len() as u64,
                    Action::Datagram(payload) | Action::Message { payload, .. } => {
                        counts.bytes += payload.len() as u64;
                        counts.messages += 1;
                    }
                    Action::Ping(_) => counts.pings += 1,
                    Action::Pong(_) => counts.pongs += 1,
                    Action::Close { .. } | Action::End | Action::Reset => {}
                }
            }
            counts
        };
        Figures {
            to_server: counts(Direction::ToServer),
            to_client: counts(Direction::ToClient),
            latency: Latency::of(reply_times),
            missing: connection.defects.clone(),
        }
    }
}
