//! The state of the other replicas: their reports, and the names of vanished replicas. Time is an
//! argument.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, Instant},
};

use super::{ReplicaId, replica::Replica};

/// The time after which a replica that has reported nothing is missing.
pub(crate) const ANSWER_TIMEOUT: Duration = Duration::from_secs(1);

/// The time for which a replica that has vanished is named as missing.
pub(super) const VANISHED_SHOWN: Duration = Duration::from_secs(60);

/// The maximum number of vanished replicas that are named as missing: the latest.
pub(super) const MAX_VANISHED: usize = 256;

/// The other replicas, and the data about this replica that its own reports contain.
#[derive(Debug, Default)]
pub(super) struct Others {
    /// The name of this replica; none outside of a cluster.
    pub(super) own: Option<Arc<str>>,
    /// Whether the API of this replica lists its connections, so that other replicas may do so too.
    pub(super) lists: bool,
    /// The URL of an HTTP socket of this replica.
    pub(super) url: Option<String>,
    pub(super) replicas: BTreeMap<ReplicaId, Replica>,
    /// The times at which replicas vanished, by their names.
    pub(super) vanished: BTreeMap<Arc<str>, Instant>,
    /// The time since which there is no connection to the broker, so that no report arrives.
    pub(super) disconnected: Option<Instant>,
    /// The time since which there are watchers.
    pub(super) watched_since: Option<Instant>,
}

impl Others {
    /// The names of the replicas that have vanished a short while ago, and of those that were lost
    /// with the broker.
    pub(super) fn vanished(&self, now: Instant) -> impl Iterator<Item = &Arc<str>> {
        let is_shown = is_shown(self.disconnected, now);
        self.vanished.iter().filter(move |(_, at)| is_shown(at)).map(|(name, _)| name)
    }

    /// Adds replicas that have vanished at `now`, and forgets those that are not named any more.
    pub(super) fn vanish(&mut self, names: Vec<Arc<str>>, now: Instant) {
        self.vanished.extend(names.into_iter().map(|name| (name, now)));
        let is_shown = is_shown(self.disconnected, now);
        self.vanished.retain(|_, at| is_shown(at));
        while self.vanished.len() > MAX_VANISHED {
            let Some((oldest, _)) = self.vanished.iter().min_by_key(|(_, at)| **at) else { return };
            let oldest = oldest.clone();
            self.vanished.remove(&oldest);
        }
    }

    /// Whether a replica has reported nothing for [`ANSWER_TIMEOUT`] although there are watchers.
    pub(super) fn is_missing(&self, replica: &Replica, now: Instant) -> bool {
        self.watched_since.is_some_and(|watched_since| {
            let since = replica.heard.max(watched_since);
            now.saturating_duration_since(since) >= ANSWER_TIMEOUT
        })
    }
}

/// Whether a replica that has vanished at a time is named at `now`.
fn is_shown(disconnected: Option<Instant>, now: Instant) -> impl Fn(&Instant) -> bool {
    move |at| {
        disconnected.is_some_and(|since| *at >= since)
            || now.saturating_duration_since(*at) < VANISHED_SHOWN
    }
}
