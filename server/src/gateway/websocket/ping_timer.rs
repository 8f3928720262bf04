//! Pings of a relay: a silent peer is sent a Ping, and is considered lost if it remains silent.

use std::time::Duration;

use tokio::time::Instant;

#[derive(Clone, Copy, Debug)]
pub(in crate::gateway) struct PingTimes {
    /// The silence after which a Ping is sent.
    pub(in crate::gateway) interval: Duration,
    /// The silence after a Ping after which the peer is considered lost.
    pub(in crate::gateway) timeout: Duration,
}

/// The times of the peer's last sign of life and of the last Ping.
///
/// A sign of life is any byte from the peer, and any progress of bytes that waited to be written
/// to it, so that a slow transfer is not cut off.
#[derive(Debug)]
pub(in crate::gateway) struct PingTimer {
    activity: Instant,
    /// The time of a Ping that may be unanswered.
    pinged: Option<Instant>,
}

/// The action that is due at a deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::gateway) enum PingAction {
    Wait,
    SendPing,
    /// The peer is considered lost.
    TimedOut,
}

impl PingTimer {
    pub(in crate::gateway) fn new(now: Instant) -> PingTimer {
        PingTimer { activity: now, pinged: None }
    }

    /// Records a sign of life.
    pub(in crate::gateway) fn activity(&mut self, now: Instant) {
        self.activity = now;
    }

    /// The time of the last sign of life.
    pub(in crate::gateway) fn last_activity(&self) -> Instant {
        self.activity
    }

    /// Records since when the process has been running without interruption: bytes that a peer
    /// sent while the process was suspended have not been read.
    pub(in crate::gateway) fn running_since(&mut self, at: Instant) {
        self.activity = self.activity.max(at);
    }

    /// The time at which the silence will have lasted for the Ping timeout.
    pub(in crate::gateway) fn silence_deadline(&self, times: PingTimes) -> Instant {
        self.activity + times.timeout
    }

    /// The time at which [`PingTimer::on_timer`] has something to do.
    pub(in crate::gateway) fn deadline(&self, times: PingTimes) -> Instant {
        match self.pinged {
            Some(pinged) if self.activity < pinged => pinged + times.timeout,
            _ => self.activity + times.interval,
        }
    }

    /// The action that is due `now`. A Ping is recorded as sent.
    pub(in crate::gateway) fn on_timer(&mut self, now: Instant, times: PingTimes) -> PingAction {
        match self.pinged {
            Some(pinged) if self.activity < pinged => {
                let over = now >= pinged + times.timeout;
                return if over { PingAction::TimedOut } else { PingAction::Wait };
            }
            _ => self.pinged = None,
        }
        if now < self.activity + times.interval {
            return PingAction::Wait;
        }
        // A Ping that cannot be written, because the peer does not read, counts as unanswered.
        self.pinged = Some(now);
        PingAction::SendPing
    }
}
