//! The back-off of a client that reconnects.

use std::time::Duration;

/// The longest delay before the first attempt.
const FIRST: Duration = Duration::from_millis(1500);

/// The longest delay before any attempt.
const MAX: Duration = Duration::from_secs(30);

/// The delay before reconnection attempt `attempt`, counted from 1: at most 1.5 s, doubled with
/// each attempt up to 30 s. `jitter`, a random number from 0 to 1, shortens the delay, so that the
/// clients of one server do not reconnect at the same moment: the first delay by up to its whole,
/// which distributes the clients of a failed server evenly over 1.5 s, and later delays by up to a
/// half.
///
/// ```
/// use echogate_proto::backoff;
/// assert_eq!([1, 2, 3].map(|attempt| backoff::delay(attempt, 0.0).as_millis()), [1500, 3000, 6000]);
/// assert_eq!([1, 2, 3].map(|attempt| backoff::delay(attempt, 1.0).as_millis()), [0, 1500, 3000]);
/// ```
pub fn delay(attempt: u32, jitter: f64) -> Duration {
    let doubled = FIRST * (1 << attempt.saturating_sub(1).min(10));
    let part = if attempt <= 1 { 1.0 } else { 0.5 };
    doubled.min(MAX).mul_f64(1.0 - part * jitter.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delay_doubles_up_to_half_a_minute_and_is_never_less_than_the_one_before() {
        let longest = [1500, 3000, 6000, 12_000, 24_000, 30_000, 30_000];
        let shortest = [0, 1500, 3000, 6000, 12_000, 15_000, 15_000];
        for (attempt, expected) in (1..).zip(longest.into_iter().zip(shortest)) {
            let [longest, shortest] = [0.0, 1.0].map(|j| delay(attempt, j).as_millis());
            assert_eq!((longest, shortest), expected, "{attempt}");
        }
        assert_eq!(delay(u32::MAX, 0.0), MAX);
    }
}
