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

/// The reply times of a connection in order, in nanoseconds. A reply time is that from the last
/// payload to the server until the next payload to the client.
pub(super) fn reply_times(connection: &RecordedConnection) -> Vec<u64> {
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
    times
}

/// The median of the differences between the reply times of two recordings, reply by reply, in
/// milliseconds: positive if those of `b` are longer. `None` unless both have replies.
pub(super) fn shift_ms(a: &[u64], b: &[u64]) -> Option<f64> {
    let mut shifts: Vec<f64> = a.iter().zip(b).map(|(a, b)| *b as f64 - *a as f64).collect();
    shifts.sort_unstable_by(f64::total_cmp);
    Some(quantile(&shifts, 50)? / 1e6)
}

impl Latency {
    /// The figures of `times`; `None` without replies.
    pub(super) fn of(mut times: Vec<u64>) -> Option<Latency> {
        times.sort_unstable();
        let milliseconds = |percent| Some(quantile(&times, percent)? as f64 / 1e6);
        let (median_ms, p90_ms) = (milliseconds(50)?, milliseconds(90)?);
        Some(Latency { replies: times.len(), median_ms, p90_ms })
    }
}

/// The element of `sorted` that `percent` of the others do not exceed.
fn quantile<T: Copy>(sorted: &[T], percent: usize) -> Option<T> {
    Some(sorted[sorted.len().checked_sub(1)? * percent / 100])
}
