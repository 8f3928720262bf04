//! The heartbeat: a silent client is sent a Ping, and is considered lost if it remains silent.

use tokio::time::Instant;

use super::BridgeConfig;

/// The times of the client's last sign of life and of the last Ping.
///
/// A sign of life is any byte from the client, and any progress of bytes that waited to be written
/// to it, so that a slow transfer is not cut off.
#[derive(Debug)]
pub(super) struct Heartbeat {
    activity: Instant,
    /// The time of a Ping that may be unanswered.
    pinged: Option<Instant>,
}

/// The action that is due at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Beat {
    /// No action.
    Wait,
    /// A Ping is to be sent.
    SendPing,
    /// The client is considered lost.
    TimedOut,
}

impl Heartbeat {
    pub(super) fn new(now: Instant) -> Heartbeat {
        Heartbeat { activity: now, pinged: None }
    }

    /// Records a sign of life.
    pub(super) fn activity(&mut self, now: Instant) {
        self.activity = now;
    }

    /// Records since when the process has been running without interruption: bytes that a client
    /// sent while the process was suspended have not been read.
    pub(super) fn running_since(&mut self, at: Instant) {
        self.activity = self.activity.max(at);
    }

    /// The time at which the silence will have lasted for the Ping timeout.
    pub(super) fn patience_ends(&self, config: &BridgeConfig) -> Instant {
        self.activity + config.ping_timeout
    }

    /// The time at which [`Heartbeat::on_timer`] has something to do.
    pub(super) fn deadline(&self, config: &BridgeConfig) -> Instant {
        match self.pinged {
            Some(pinged) if self.activity < pinged => pinged + config.ping_timeout,
            _ => self.activity + config.ping_interval,
        }
    }

    /// The action that is due `now`. A Ping is recorded as sent.
    pub(super) fn on_timer(&mut self, now: Instant, config: &BridgeConfig) -> Beat {
        match self.pinged {
            Some(pinged) if self.activity < pinged => {
                let over = now >= pinged + config.ping_timeout;
                return if over { Beat::TimedOut } else { Beat::Wait };
            }
            _ => self.pinged = None,
        }
        if now < self.activity + config.ping_interval {
            return Beat::Wait;
        }
        // A Ping that cannot be written, because the client does not read, counts as unanswered.
        self.pinged = Some(now);
        Beat::SendPing
    }
}
