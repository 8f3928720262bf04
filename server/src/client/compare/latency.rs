//! The reply times of a connection.

use echogate_proto::recording::Direction;
use serde::Serialize;

use crate::recording::model::RecordedConnection;

/// The reply times, in milliseconds.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(super) struct Latency {
    /// The number of replies.
    pub(super) replies: usize,
    pub(super) median_ms: f64,
    pub(super) p90_ms: f64,
}

impl Latency {
    /// The times from the last payload to the server to the first one back; none without replies.
    pub(super) fn of(connection: &RecordedConnection) -> Option<Latency> {
        let mut asked = None;
        let mut times = Vec::new();
        for event in &connection.events {
            match event.direction {
                _ if event.action.payload().is_none() => {}
                Direction::ToServer => asked = Some(event.time),
                Direction::ToClient => {
                    let since = asked.take().map(|asked| event.time.saturating_sub(asked));
                    times.extend(since);
                }
            }
        }
        times.sort_unstable();
        let last = times.len().checked_sub(1)?;
        let quantile = |percent: usize| times[last * percent / 100] as f64 / 1e6;
        Some(Latency { replies: times.len(), median_ms: quantile(50), p90_ms: quantile(90) })
    }
}
