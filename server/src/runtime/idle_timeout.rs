//! The idle timeout of a connection (`--idle-timeout`).

use std::time::Duration;

use tokio::time::Instant;

/// The time since which a connection has carried no bytes.
#[derive(Debug)]
pub(crate) struct IdleTimeout {
    timeout: Duration,
    since: Instant,
    /// Bytes that had been delivered at `since`.
    delivered: u64,
    /// Bytes that the peers' kernels had acknowledged at the last check.
    acknowledged: u64,
}

impl IdleTimeout {
    /// The idle timeout of a new connection; none without `--idle-timeout`.
    pub(crate) fn new(timeout: Option<Duration>) -> Option<Box<IdleTimeout>> {
        let since = Instant::now();
        timeout
            .map(|timeout| Box::new(IdleTimeout { timeout, since, delivered: 0, acknowledged: 0 }))
    }

    /// Limits the idle timeout of a connection, which may have none, to `limit` from now on.
    pub(crate) fn limit(idle: &mut Option<Box<IdleTimeout>>, limit: Duration) {
        if idle.as_ref().is_none_or(|idle| idle.timeout > limit) {
            let (delivered, acknowledged) =
                idle.as_ref().map_or((0, 0), |idle| (idle.delivered, idle.acknowledged));
            let since = Instant::now();
            *idle = Some(Box::new(IdleTimeout { timeout: limit, since, delivered, acknowledged }));
        }
    }

    /// The time at which the idle timeout passes. `delivered` are the bytes that were read from
    /// the peers and written to them so far, without those that wait to be written: a slow
    /// transfer is not idle.
    #[inline]
    pub(crate) fn deadline(&mut self, now: Instant, delivered: u64) -> Instant {
        if delivered != self.delivered {
            (self.delivered, self.since) = (delivered, now);
        }
        self.since + self.timeout
    }

    /// Whether the connection is idle, once the deadline has passed.
    ///
    /// Time in which the process was suspended is not idle time, and neither is time in which peers
    /// acknowledge bytes. `acknowledged` is the number of bytes that the peers have acknowledged so
    /// far, if any are in flight to them. A peer that acknowledges nothing is given up after twice the
    /// timeout at most.
    pub(crate) fn is_over(
        &mut self,
        now: Instant,
        running_since: Instant,
        acknowledged: Option<u64>,
    ) -> bool {
        self.since = self.since.max(running_since);
        if let Some(acknowledged) = acknowledged.filter(|sum| *sum != self.acknowledged) {
            (self.acknowledged, self.since) = (acknowledged, now);
        }
        self.since + self.timeout <= now
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIMEOUT: Duration = Duration::from_secs(10);

    fn idle() -> (Box<IdleTimeout>, Instant) {
        let idle = IdleTimeout::new(Some(TIMEOUT)).unwrap();
        let start = idle.since;
        (idle, start)
    }

    #[test]
    fn delivered_bytes_and_acknowledged_bytes_are_activity() {
        let (mut idle, start) = idle();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(idle.deadline(at(4), 0), at(10));
        assert_eq!(idle.deadline(at(6), 5), at(16));
        assert!(!idle.is_over(at(16), start, Some(7)), "bytes were in flight and arrived");
        assert!(idle.is_over(at(26), start, Some(7)), "no more of them did");
    }

    #[test]
    fn time_in_which_the_process_was_suspended_does_not_count() {
        let (mut idle, start) = idle();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!idle.is_over(at(100), at(95), None));
        assert_eq!(idle.deadline(at(100), 0), at(105));
        assert!(idle.is_over(at(105), at(95), None));
    }
}
