//! The registry of live connections, for the API, the metrics and the log.
//!
//! - [`entry`]: one live connection; [`info`]: the information at its acceptance; `tap`: its
//!   observers; `timing`: the time to the upstream's first byte; `observed`: the state of both
//! - [`reporter`]: reports about all connections to a subscriber

mod entry;
mod info;
mod observed;
pub(crate) mod reporter;
mod tap;
mod timing;

use std::{
    collections::{BTreeMap, HashMap},
    ops::Bound,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use echogate_proto::api::Carried;
pub(crate) use echogate_proto::api::Kind;
use parking_lot::Mutex;
use tokio::sync::broadcast;

pub(crate) use self::{
    entry::{Counter, Entry, RegistryGuard},
    info::{ConnectionInfo, GatewayInfo, Peer},
};
use crate::connections::{
    limits::ConnectionPermit,
    tap::{Awaiting, Histories},
    target::TargetMetrics,
};

/// The number of changes that a subscriber may lag behind. After more, the subscriber lists all
/// connections again.
const MAX_LAG: usize = 1024;

/// All live connections. Clones share their state.
#[derive(Clone, Debug)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    live: Mutex<Live>,
    subscribers: AtomicUsize,
    changes: broadcast::Sender<Change>,
    histories: Histories,
    awaiting: Awaiting,
}

#[derive(Debug, Default)]
struct Live {
    entries: BTreeMap<u64, Arc<Entry>>,
    /// Totals of the connections that have ended, in the order of [`Kind::ALL`].
    ended: [Totals; Kind::ALL.len()],
}

/// Totals of one kind of connection since the start of the server.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) live: u64,
    pub(crate) opened: u64,
    pub(crate) carried: Carried,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        self.opened += 1;
        self.carried.bytes_received += entry.received().bytes();
        self.carried.bytes_sent += entry.sent().bytes();
        self.carried.messages_received += entry.received().messages();
        self.carried.messages_sent += entry.sent().messages();
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Change {
    Opened(Arc<Entry>),
    /// A connection ended, with the reason.
    Closed(Arc<Entry>, Arc<str>),
}

impl Registry {
    /// Enters a connection. Dropping the result removes the connection and releases its permit.
    pub(crate) fn enter(
        &self,
        info: ConnectionInfo,
        permit: Option<ConnectionPermit>,
    ) -> RegistryGuard {
        let id = self.next_id();
        if let Some(metrics) = &info.target.metrics {
            metrics.connection_opened();
        }
        let registered = RegistryGuard::new(id, info, self.clone(), permit);
        self.0.live.lock().entries.insert(id, registered.clone());
        self.notify(|| Change::Opened(registered.clone()));
        registered
    }

    /// An identifier that no other connection has.
    pub(in crate::connections) fn next_id(&self) -> u64 {
        self.0.next.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// The live connections, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.0.live.lock().entries.values().cloned().collect()
    }

    /// The live connection with an identifier.
    pub(crate) fn entry(&self, id: u64) -> Option<Arc<Entry>> {
        self.0.live.lock().entries.get(&id).cloned()
    }

    /// At most `most` live connections whose identifiers are greater than `id`, oldest first. The
    /// first identifier is 1.
    pub(crate) fn entries_after(&self, id: u64, most: usize) -> Vec<Arc<Entry>> {
        let live = self.0.live.lock();
        let after = live.entries.range((Bound::Excluded(id), Bound::Unbounded));
        after.take(most).map(|(_, entry)| entry.clone()).collect()
    }

    pub(crate) fn count(&self) -> usize {
        self.0.live.lock().entries.len()
    }

    /// The observers that wait for the next connection.
    pub(crate) fn awaiting(&self) -> &Awaiting {
        &self.0.awaiting
    }

    /// Subscribes to the connections that are accepted and end from now on.
    pub(crate) fn subscribe(&self) -> Subscription {
        self.0.subscribers.fetch_add(1, Ordering::AcqRel);
        Subscription { changes: self.0.changes.subscribe(), registry: self.clone() }
    }

    /// Notifies the subscribers, if there are any.
    fn notify(&self, change: impl FnOnce() -> Change) {
        if self.has_subscribers() {
            // An error means that the last subscriber has just unsubscribed.
            self.0.changes.send(change()).ok();
        }
    }

    fn has_subscribers(&self) -> bool {
        self.0.subscribers.load(Ordering::Acquire) > 0
    }

    /// Totals since the start, by kind.
    pub(crate) fn totals(&self) -> [(Kind, Totals); Kind::ALL.len()] {
        let live = self.0.live.lock();
        let mut totals = live.ended;
        for entry in live.entries.values() {
            let totals = &mut totals[entry.kind() as usize];
            totals.live += 1;
            totals.add(entry);
        }
        drop(live);
        Kind::ALL.map(|kind| (kind, totals[kind as usize]))
    }

    /// Payload bytes from and to the clients of each of `targets` since their metrics began.
    pub(crate) fn bytes_of(&self, targets: &[Arc<TargetMetrics>]) -> Vec<[u64; 2]> {
        let indices = targets.iter().enumerate().map(|(index, it)| (Arc::as_ptr(it), index));
        let indices: HashMap<_, _> = indices.collect();
        let live = self.0.live.lock();
        let mut sums: Vec<_> = targets.iter().map(|metrics| metrics.ended_bytes()).collect();
        for entry in live.entries.values() {
            let metrics = entry.target.metrics.as_ref().map(Arc::as_ptr);
            if let Some(index) = metrics.and_then(|metrics| indices.get(&metrics)) {
                let [received, sent] = entry.bytes();
                sums[*index][0] += received;
                sums[*index][1] += sent;
            }
        }
        sums
    }

    /// Removes a connection, unless it is removed already.
    fn leave(&self, id: u64) {
        let mut live = self.0.live.lock();
        let Some(entry) = live.entries.remove(&id) else { return };
        live.ended[entry.kind() as usize].add(&entry);
        if let Some(metrics) = &entry.target.metrics {
            let bytes = entry.bytes();
            metrics.add_ended_bytes(bytes);
            drop(live);
            metrics.connection_ended(entry.since.elapsed().as_secs_f64(), bytes);
        }
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry(Arc::new(Inner {
            next: AtomicU64::new(0),
            live: Mutex::default(),
            subscribers: AtomicUsize::new(0),
            changes: broadcast::Sender::new(MAX_LAG),
            histories: Histories::default(),
            awaiting: Awaiting::default(),
        }))
    }
}

/// A subscription. Changes are published and latencies recorded while there is at least one.
#[derive(Debug)]
pub(crate) struct Subscription {
    /// The beginnings and ends of connections.
    pub(crate) changes: broadcast::Receiver<Change>,
    registry: Registry,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.registry.0.subscribers.fetch_sub(1, Ordering::AcqRel);
    }
}
