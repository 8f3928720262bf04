//! Whether the client still lives, when it says nothing.

use tokio::time::Instant;

use super::Options;

/// Asks after a silence, and gives up after another.
///
/// A sign of life is any byte from the client, and any byte that it takes after it
/// was slow to: a transfer that moves is never cut.
#[derive(Debug)]
pub(super) struct Heartbeat {
    heard: Instant,
    /// Since when an answer is waited for.
    asked: Option<Instant>,
    /// A Ping is to go out.
    ping_due: bool,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Heartbeat {
        Heartbeat { heard: now, asked: None, ping_due: false }
    }

    /// Notes a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// When silence will have lasted as long as it may after the last sign of life.
    pub(super) fn patience_ends(&self, options: &Options) -> Instant {
        self.heard + options.ping_timeout
    }

    /// When [`Heartbeat::on_timer`] has something to do.
    pub(super) fn deadline(&self, options: &Options) -> Instant {
        match self.asked {
            Some(asked) if self.heard < asked => asked + options.ping_timeout,
            _ => self.heard + options.ping_interval,
        }
    }

    /// Asks if it is time to; false when the client is to be given up.
    pub(super) fn on_timer(&mut self, now: Instant, options: &Options) -> bool {
        match self.asked {
            Some(asked) if self.heard < asked => return now < asked + options.ping_timeout,
            _ => self.asked = None,
        }
        if now >= self.heard + options.ping_interval {
            // If the Ping cannot go out, because the client takes nothing, that is
            // silence too.
            self.asked = Some(now);
            self.ping_due = true;
        }
        true
    }

    /// Whether a Ping is to go out now; it is not asked for twice.
    pub(super) fn take_ping(&mut self) -> bool {
        std::mem::take(&mut self.ping_due)
    }
}
