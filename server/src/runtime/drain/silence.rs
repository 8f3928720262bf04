//! The silence of both peers, after which a graceful shutdown assumes that everything is sent where
//! nothing else shows that.

use std::time::Duration;

use tokio::time::Instant;

/// The silence after which a peer counts as having nothing more to send for now: longer than most
/// retransmissions of TCP take.
const QUIET_TIME: Duration = Duration::from_millis(500);

/// The number of bytes that had passed at the last check, and the time at which the silence since
/// then is long enough.
#[derive(Debug, Default)]
pub(crate) struct Silence(Option<(u64, Instant)>);

impl Silence {
    /// Begins the silence, or begins it again.
    pub(crate) fn begin(&mut self, now: Instant, passed: u64) {
        self.0 = Some((passed, now + QUIET_TIME));
    }

    /// Whether the number of bytes that have `passed` has not changed for [`QUIET_TIME`]. The first
    /// check begins the silence.
    pub(crate) fn is_long_enough(&mut self, now: Instant, passed: u64) -> bool {
        match self.0 {
            Some((before, at)) if before == passed => at <= now,
            _ => {
                self.begin(now, passed);
                false
            }
        }
    }

    /// The time at which the silence will be long enough, if it goes on.
    pub(crate) fn deadline(&self, now: Instant) -> Option<Instant> {
        self.0.map(|(_, at)| at).filter(|&at| now < at)
    }
}
