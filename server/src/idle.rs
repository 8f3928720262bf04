//! The end of connections that carry nothing for long, where that is asked for.

use std::time::Duration;

use tokio::time::Instant;

/// What is known of a connection that may not be idle for ever.
#[derive(Debug)]
pub(crate) struct Idle {
    timeout: Duration,
    since: Instant,
    /// Bytes carried until then.
    carried: u64,
}

impl Idle {
    /// For a new connection; none if it may be idle for ever.
    pub(crate) fn new(timeout: Option<Duration>) -> Option<Box<Idle>> {
        let since = Instant::now();
        timeout.map(|timeout| Box::new(Idle { timeout, since, carried: 0 }))
    }

    /// When the connection, which has carried so many bytes by now, will have been
    /// idle for too long.
    pub(crate) fn deadline(&mut self, now: Instant, carried: u64) -> Instant {
        if carried != self.carried {
            (self.carried, self.since) = (carried, now);
        }
        self.since + self.timeout
    }
}
