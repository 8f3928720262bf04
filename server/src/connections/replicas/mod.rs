//! The connections of the other replicas of a cluster. Replicas report connections while there are
//! watchers.
//!
//! The cluster passes the reports to this module, and the API lists the connections. Each connection
//! of another replica has a number among the identifiers of this server, so that one list has both.
//!
//! - `id`: the identifier of a replica; `replica`: the connections that one replica has reported
//! - `others`: all replicas, and those that have vanished; `watch`: a subscription to the changes
//! - `parts`: the division of long lists into messages

mod id;
mod others;
mod parts;
mod replica;
mod watch;

use std::{sync::Arc, time::Instant};

use echogate_proto::api::{Connection, ReplicaConnections};
use parking_lot::Mutex;
use tokio::sync::{broadcast, watch as watch_channel};

pub(crate) use self::{
    id::ReplicaId,
    others::ANSWER_TIMEOUT,
    parts::{Added, PartSize},
    replica::{Change, Report},
    watch::Watch,
};
use self::{others::Others, replica::Replica};
use super::registry::{Registry, reporter::MAX_REPORTED};

/// The number of changes that a subscriber may lag behind. After more, the subscriber lists all
/// connections again.
const MAX_LAG: usize = 256;

/// The identifier of a replica, and its name for users.
#[derive(Clone, Debug)]
pub(crate) struct ReplicaIdentity {
    pub(crate) id: ReplicaId,
    pub(crate) name: Arc<str>,
}

/// The replicas of the cluster and their connections. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Replicas(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    others: Mutex<Others>,
    watchers: watch_channel::Sender<usize>,
    changes: broadcast::Sender<Arc<Change>>,
}

impl Replicas {
    pub(crate) fn new(registry: Registry) -> Replicas {
        Replicas(Arc::new(Inner {
            registry,
            others: Mutex::default(),
            watchers: watch_channel::Sender::new(0),
            changes: broadcast::Sender::new(MAX_LAG),
        }))
    }

    /// Sets the name of this replica; none outside of a cluster, where other replicas are forgotten.
    pub(crate) fn set_own(&self, name: Option<Arc<str>>) {
        let mut others = self.0.others.lock();
        if name.is_none() {
            others.replicas.clear();
            others.vanished.clear();
        }
        others.own = name;
    }

    /// The name of this replica; none outside of a cluster.
    pub(crate) fn own(&self) -> Option<Arc<str>> {
        self.0.others.lock().own.clone()
    }

    /// Sets whether this replica has an API, and the URL by which clients reach it.
    pub(crate) fn set_api(&self, has_api: bool, url: Option<String>) {
        let mut others = self.0.others.lock();
        (others.lists, others.url) = (has_api, url.filter(|_| has_api));
    }

    /// The URL by which clients reach the API of this replica.
    pub(crate) fn url(&self) -> Option<String> {
        self.0.others.lock().url.clone()
    }

    pub(crate) fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// The maximum number of connections that one replica reports.
    pub(crate) fn share(&self) -> usize {
        MAX_REPORTED / (self.0.others.lock().replicas.len() + 1)
    }

    /// The maximum number of connections that this replica reports to others: 0 without an API,
    /// since the list of connections is part of the API.
    pub(crate) fn reported(&self) -> usize {
        if self.0.others.lock().lists { self.share() } else { 0 }
    }

    /// Watches the other replicas until the result is dropped.
    pub(crate) fn watch(&self, now: Instant) -> Watch {
        let mut others = self.0.others.lock();
        others.watched_since.get_or_insert(now);
        self.0.watchers.send_modify(|watchers| *watchers += 1);
        Watch::new(self.clone(), self.0.changes.subscribe())
    }

    fn stop_watching(&self) {
        let mut others = self.0.others.lock();
        self.0.watchers.send_modify(|watchers| *watchers -= 1);
        if *self.0.watchers.borrow() == 0 {
            others.watched_since = None;
            for replica in others.replicas.values_mut() {
                *replica = Replica::new(replica.identity.clone(), replica.heard);
            }
        }
    }

    pub(crate) fn watchers(&self) -> watch_channel::Receiver<usize> {
        self.0.watchers.subscribe()
    }

    pub(crate) fn add(&self, identity: ReplicaIdentity, now: Instant) {
        let mut others = self.0.others.lock();
        others.vanished.remove(&identity.name);
        others.replicas.insert(identity.id, Replica::new(identity, now));
    }

    /// Removes a replica. A replica that has `vanished` is named as missing for
    /// [`others::VANISHED_SHOWN`].
    pub(crate) fn remove(&self, id: ReplicaId, vanished: Option<Instant>) {
        let mut others = self.0.others.lock();
        let Some(replica) = others.replicas.remove(&id) else { return };
        if let Some(at) = vanished {
            others.vanish(vec![replica.name().clone()], at);
        }
        drop(others);
        self.notify(Change::All);
    }

    /// Sets whether there is a connection to the broker. Without one all replicas are missing.
    pub(crate) fn set_connected(&self, is_connected: bool, now: Instant) {
        let mut others = self.0.others.lock();
        let names = others.replicas.values().map(|it| it.name().clone()).collect();
        others.replicas.clear();
        if is_connected {
            // Replicas that were lost with the broker stay missing for VANISHED_SHOWN from now.
            if let Some(lost) = others.disconnected.take() {
                others.vanished.values_mut().filter(|at| **at >= lost).for_each(|at| *at = now);
            }
        } else {
            others.disconnected.get_or_insert(now);
        }
        others.vanish(names, now);
        drop(others);
        self.notify(Change::All);
    }

    /// The identifiers of the replicas whose connections are not known.
    pub(crate) fn unknown(&self) -> Vec<ReplicaId> {
        let others = self.0.others.lock();
        let unknown = others.replicas.iter().filter(|(_, replica)| replica.next.is_none());
        unknown.map(|(&id, _)| id).collect()
    }

    /// Applies a report of a replica. After a gap in its reports only a complete one is applied.
    pub(crate) fn apply(&self, id: ReplicaId, report: Report, now: Instant) {
        let mut others = self.0.others.lock();
        if others.watched_since.is_none() {
            return;
        }
        let Some(replica) = others.replicas.get_mut(&id) else { return };
        let change = replica.apply(report, &self.0.registry, now);
        drop(others);
        if let Some(change) = change.filter(|change| !change.is_empty()) {
            self.notify(change);
        }
    }

    /// The names of the replicas that do not answer.
    pub(crate) fn missing(&self, now: Instant) -> Vec<Arc<str>> {
        let others = self.0.others.lock();
        let silent = others.replicas.values().filter(|replica| others.is_missing(replica, now));
        let silent = silent.map(Replica::name);
        silent.chain(others.vanished(now)).cloned().collect()
    }

    /// Whether every replica has reported its connections, or is missing.
    pub(crate) fn is_complete(&self, now: Instant) -> bool {
        let others = self.0.others.lock();
        others.replicas.values().all(|it| it.is_complete || others.is_missing(it, now))
    }

    /// The number of connections of the other replicas.
    pub(crate) fn total(&self) -> usize {
        let others = self.0.others.lock();
        others.replicas.values().map(|replica| replica.total).fold(0, usize::saturating_add)
    }

    /// The connections of the other replicas, under their numbers here.
    pub(crate) fn connections(&self, now: Instant) -> Vec<Connection> {
        let others = self.0.others.lock();
        let all = others.replicas.values().flat_map(|replica| replica.connections.values());
        all.map(|known| known.at(now)).collect()
    }

    /// The connections of the other replicas, by replica.
    pub(crate) fn list(&self, now: Instant) -> Vec<ReplicaConnections> {
        let others = self.0.others.lock();
        let listed = others.replicas.values().map(|replica| ReplicaConnections {
            name: replica.name().clone(),
            missing: !replica.is_complete || others.is_missing(replica, now),
            total: replica.total,
            connections: replica.own_connections(now).collect(),
        });
        let vanished = others.vanished(now).map(|name| ReplicaConnections {
            name: name.clone(),
            missing: true,
            total: 0,
            connections: Vec::new(),
        });
        listed.chain(vanished).collect()
    }

    /// The connection with the number `number` here: the name and the URL of its replica, and its
    /// identifier there. The URL is left out if it is a loopback address of another machine.
    pub(crate) fn find(&self, number: u64) -> Option<(Arc<str>, Option<String>, u64)> {
        let others = self.0.others.lock();
        others.replicas.values().find_map(|replica| {
            let mut connections = replica.connections.iter();
            let (&id, _) = connections.find(|(_, known)| known.connection.id == number)?;
            Some((replica.name().clone(), replica.url_at(others.own.as_deref()), id))
        })
    }

    fn notify(&self, change: Change) {
        // An error means that there are no watchers.
        self.0.changes.send(Arc::new(change)).ok();
    }
}

#[cfg(test)]
mod tests;
