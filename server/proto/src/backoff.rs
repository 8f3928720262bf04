//! The back-off of a client that reconnects.

use std::time::Duration;

/// The longest delay before the first attempt.
const FIRST: Duration = Duration::from_millis(500);

/// The longest delay before any attempt.
const MAX: Duration = Duration::from_secs(30);

/// The delay before reconnection attempt `attempt`, counted from 1: at most 500 ms, doubled with
/// each attempt up to 30 s. `jitter`, a random number from 0 to 1, shortens it by up to a quarter,
/// so that the clients of one server do not all reconnect at the same moment.
///
/// ```
/// use echogate_proto::backoff;
/// assert_eq!([1, 2, 3].map(|attempt| backoff::delay(attempt, 0.0).as_millis()), [500, 1000, 2000]);
/// assert_eq!(backoff::delay(1, 1.0).as_millis(), 375);
/// ```
pub fn delay(attempt: u32, jitter: f64) -> Duration {
    let doubled = FIRST * (1 << attempt.saturating_sub(1).min(10));
    doubled.min(MAX).mul_f64(1.0 - 0.25 * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_half_a_minute_and_jitter_takes_at_most_a_quarter() {
        for (attempt, longest) in (1..).zip([500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]) {
            let [longest_delay, shortest] = [0.0, 1.0].map(|j| delay(attempt, j).as_millis());
            assert_eq!((longest_delay, shortest), (longest, longest * 3 / 4));
        }
        assert_eq!(delay(u32::MAX, 0.0), MAX);
    }
}
