//! A shortage of file descriptors or memory at a listener: pauses, and the log.

use std::{io, time::Duration};

use tokio::time::Instant;

use crate::{
    connections::limits::{LimitReached, descriptors},
    text::io_error,
};

/// The pause in accepting when file descriptors or memory have run out.
pub(super) const PAUSE: Duration = Duration::from_millis(100);

/// The same pause for HTTP, where each new connection closes another one, whose descriptor is free
/// soon.
pub(super) const HTTP_PAUSE: Duration = Duration::from_millis(5);

/// The least time between two log lines about such a shortage, which may come and go with each
/// connection.
const SHORTAGE_LOG_INTERVAL: Duration = Duration::from_secs(10);

/// A shortage of file descriptors or memory, logged when it begins and when it ends.
pub(super) struct Shortage {
    /// The address of the listener.
    pub(super) at: String,
    /// Whether the beginning of the shortage has been logged, but not yet its end.
    is_reported: bool,
    /// The time at which the last beginning was logged.
    reported: Option<Instant>,
}

impl Shortage {
    /// A listener at `at`, where nothing is short so far.
    pub(super) fn new(at: String) -> Shortage {
        Shortage { at, is_reported: false, reported: None }
    }

    pub(super) fn begins(&mut self, why: &io::Error) {
        if !self.is_reported && self.reported.is_none_or(|at| at.elapsed() > SHORTAGE_LOG_INTERVAL)
        {
            (self.is_reported, self.reported) = (true, Some(Instant::now()));
            let (at, why) = (&self.at, describe(why));
            tracing::warn!("cannot accept connections on {at}, trying again: {why}");
        }
    }

    pub(super) fn ends(&mut self) {
        if std::mem::take(&mut self.is_reported) {
            tracing::info!("accepting connections again on {}", self.at);
        }
    }
}

/// Describes the error of a call that failed for a shortage.
pub(super) fn describe(why: &io::Error) -> String {
    match descriptors::are_exhausted(why) {
        true => LimitReached::Descriptors.to_string(),
        false => io_error::describe(why),
    }
}
