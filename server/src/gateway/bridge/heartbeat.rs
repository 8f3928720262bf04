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
}

/// What is to be done when a deadline has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// Nothing.
    Wait,
    /// A Ping is to go out.
    Ask,
    /// The client is to be given up.
    GiveUp,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Heartbeat {
        Heartbeat { heard: now, asked: None }
    }

    /// Notes a sign of life.
    pub(super) fn heard(&mut self, now: Instant) {
        self.heard = now;
    }

    /// Notes since when the process has been running without a break: what a client sent in
    /// the meantime has not been read.
    pub(super) fn running_since(&mut self, at: Instant) {
        self.heard = self.heard.max(at);
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

    /// What the time asks for; that a Ping is asked for is noted, so that it is not twice.
    pub(super) fn on_timer(&mut self, now: Instant, options: &Options) -> Beat {
        match self.asked {
            Some(asked) if self.heard < asked => {
                let over = now >= asked + options.ping_timeout;
                return if over { Beat::GiveUp } else { Beat::Wait };
            }
            _ => self.asked = None,
        }
        if now < self.heard + options.ping_interval {
            return Beat::Wait;
        }
        // If the Ping cannot go out, because the client takes nothing, that is
        // silence too.
        self.asked = Some(now);
        Beat::Ask
    }
}
