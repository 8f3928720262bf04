//! The state of the connection to the broker, and the counters of messages.

use std::{
    fmt,
    time::{Duration, Instant},
};

use echogate_proto::endpoint::HostPort;
use prometheus_client::metrics::counter::Counter;

use crate::config::ClusterUrl;

/// The time for which a problem is shown after its latest occurrence.
const PROBLEM_SHOWN: Duration = Duration::from_secs(60);

/// The state of the connection to the broker. Displayed as a line of `/readyz`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) enum ClusterState {
    /// No broker is configured.
    #[default]
    Off,
    Connecting {
        /// The URL of all servers.
        url: String,
        /// The time of the loss, or of the start.
        since: Instant,
        /// The failure of the last attempt.
        reason: Option<String>,
    },
    Connected {
        /// The URL of all servers.
        url: String,
        /// The server that is connected.
        server: String,
        /// A problem that has not ended the connection, and the time of its latest occurrence.
        problem: Option<(String, Instant)>,
    },
}

impl ClusterState {
    pub(super) fn connecting(url: &ClusterUrl) -> ClusterState {
        ClusterState::Connecting { url: url.to_string(), since: Instant::now(), reason: None }
    }

    pub(crate) fn is_connected(&self) -> bool {
        matches!(self, ClusterState::Connected { .. })
    }

    pub(super) fn connect(&mut self, server: &HostPort) {
        if let ClusterState::Connecting { url, .. } = self {
            let url = std::mem::take(url);
            *self = ClusterState::Connected { url, server: server.to_string(), problem: None };
        }
    }

    /// Changes to a state without connection. Returns whether the state or the reason is new.
    pub(super) fn disconnect(&mut self, why: &str) -> bool {
        match self {
            ClusterState::Off => false,
            ClusterState::Connecting { reason, .. } => {
                reason.replace(why.to_owned()).as_deref() != Some(why)
            }
            ClusterState::Connected { url, .. } => {
                let (url, reason) = (std::mem::take(url), Some(why.to_owned()));
                *self = ClusterState::Connecting { url, since: Instant::now(), reason };
                true
            }
        }
    }

    /// Replaces the problem of a connection. Returns false if there is no connection, or if the
    /// problem is the same.
    pub(super) fn set_problem(&mut self, new: &str) -> bool {
        let ClusterState::Connected { problem, .. } = self else { return false };
        let before = problem.replace((new.to_owned(), Instant::now()));
        before.is_none_or(|(before, _)| before != new)
    }
}

impl fmt::Display for ClusterState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClusterState::Off => f.write_str("no cluster"),
            ClusterState::Connecting { url, since, reason } => {
                let reason = reason.as_deref().unwrap_or("the first attempt is under way");
                write!(f, "connecting to {url} for {} s: {reason}", since.elapsed().as_secs())
            }
            ClusterState::Connected { server, problem, .. } => {
                write!(f, "connected to {server}")?;
                let is_shown = |(_, at): &&(String, Instant)| at.elapsed() < PROBLEM_SHOWN;
                let problem = problem.as_ref().filter(is_shown);
                problem.map_or(Ok(()), |(problem, _)| write!(f, "; {problem}"))
            }
        }
    }
}

/// The counters of messages to and from the broker.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) sent: Counter,
    pub(crate) received: Counter,
    /// Messages that were lost: a queue was full, or the broker's `max_payload` was exceeded.
    pub(crate) dropped: Counter,
    /// Messages that were ignored because they are of another version or invalid.
    pub(crate) invalid: Counter,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_reported_once_and_the_duration_counts_from_the_loss() {
        let mut state = ClusterState::connecting(&"nats://u:p@h".parse().unwrap());
        assert!(state.disconnect("refused") && !state.disconnect("refused"));
        assert_eq!(state.to_string(), "connecting to nats://h:4222 for 0 s: refused");
        state.connect(&"h:4222".parse().unwrap());
        assert_eq!(state.to_string(), "connected to h:4222");
        assert!(state.set_problem("no") && !state.set_problem("no"));
        assert_eq!(state.to_string(), "connected to h:4222; no");
        assert!(state.disconnect("lost") && !state.is_connected());
    }

    #[test]
    fn a_problem_is_shown_until_it_has_not_occurred_for_a_while() {
        let mut state = ClusterState::connecting(&"nats://h".parse().unwrap());
        state.connect(&"h:4222".parse().unwrap());
        state.set_problem("no");
        let ClusterState::Connected { problem: Some((_, at)), .. } = &mut state else { panic!() };
        *at = at.checked_sub(PROBLEM_SHOWN).unwrap();
        assert_eq!(state.to_string(), "connected to h:4222");
        state.set_problem("no");
        assert_eq!(state.to_string(), "connected to h:4222; no");
    }
}
