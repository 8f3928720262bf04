//! Who is connected now, and what each connection has carried.
//!
//! - [`Registry`]: all live connections, and those who watch them
//! - `entry`: one of them; `arrival`: what is known of it when it begins

mod arrival;
mod entry;

use std::{
    collections::BTreeMap,
    ops::Bound,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

use echogate_proto::live::Carried;
pub(crate) use echogate_proto::live::Kind;
use tokio::sync::broadcast;

pub(crate) use self::{
    arrival::{ConnectionInfo, GatewayInfo, Peer},
    entry::{Entry, Registered},
};
use crate::connections::limits::Place;

/// Changes that a watcher may be behind before it has to look at everything anew.
const CHANGES: usize = 1024;

/// All live connections. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    live: Mutex<Live>,
    watchers: AtomicUsize,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct Live {
    entries: BTreeMap<u64, Arc<Entry>>,
    /// What those that have ended have carried, by kind in the order of [`Kind::ALL`].
    ended: [Totals; Kind::ALL.len()],
}

/// Connections of a kind, since the server's start.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    /// Those that are live now.
    pub(crate) live: u64,
    /// Those that have begun.
    pub(crate) opened: u64,
    /// What all of them have carried.
    pub(crate) carried: Carried,
}

impl Totals {
    fn add(&mut self, entry: &Entry) {
        let carried = entry.carried();
        self.opened += 1;
        self.carried.bytes_received += carried.bytes_received;
        self.carried.bytes_sent += carried.bytes_sent;
        self.carried.messages_received += carried.messages_received;
        self.carried.messages_sent += carried.messages_sent;
    }
}

/// A connection that began or ended.
#[derive(Clone, Debug)]
pub(crate) enum Change {
    /// It began.
    Opened(Arc<Entry>),
    /// It ended, and how, in words.
    Closed(Arc<Entry>, Arc<str>),
}

impl Registry {
    /// Enters a connection; dropping the answer takes it out again and gives back its
    /// place.
    pub(crate) fn enter(&self, arrival: ConnectionInfo, place: Option<Place>) -> Registered {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed) + 1;
        let registered = Registered::new(id, arrival, self.clone(), place);
        self.live().entries.insert(id, registered.clone());
        self.tell(|| Change::Opened(registered.clone()));
        registered
    }

    /// The live connections, oldest first.
    pub(crate) fn entries(&self) -> Vec<Arc<Entry>> {
        self.live().entries.values().cloned().collect()
    }

    /// At most `most` of the live connections that came after that of the id `id`, oldest
    /// first. (The first id is 1.)
    pub(crate) fn entries_after(&self, id: u64, most: usize) -> Vec<Arc<Entry>> {
        let live = self.live();
        let after = live.entries.range((Bound::Excluded(id), Bound::Unbounded));
        after.take(most).map(|(_, entry)| entry.clone()).collect()
    }

    /// How many connections are live.
    pub(crate) fn count(&self) -> usize {
        self.live().entries.len()
    }

    /// Watches the connections that begin and end from now on.
    pub(crate) fn watch(&self) -> Watching {
        self.0.watchers.fetch_add(1, Ordering::AcqRel);
        Watching { changes: self.0.changes.subscribe(), registry: self.clone() }
    }

    /// Tells those who watch, if any do.
    fn tell(&self, change: impl FnOnce() -> Change) {
        if self.is_watched() {
            // That nobody listens any more is no error.
            self.0.changes.send(change()).ok();
        }
    }

    fn is_watched(&self) -> bool {
        self.0.watchers.load(Ordering::Acquire) > 0
    }

    /// All connections since the start, by kind.
    pub(crate) fn totals(&self) -> [(Kind, Totals); Kind::ALL.len()] {
        let live = self.live();
        let mut totals = live.ended;
        for entry in live.entries.values() {
            let totals = &mut totals[entry.kind() as usize];
            totals.live += 1;
            totals.add(entry);
        }
        drop(live);
        Kind::ALL.map(|kind| (kind, totals[kind as usize]))
    }

    /// Takes a connection out, unless it is out already.
    fn leave(&self, id: u64) {
        let mut live = self.live();
        if let Some(entry) = live.entries.remove(&id) {
            live.ended[entry.kind() as usize].add(&entry);
        }
    }

    fn live(&self) -> MutexGuard<'_, Live> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Registry {
    fn default() -> Registry {
        Registry(Arc::new(Inner {
            next: AtomicU64::new(0),
            live: Mutex::default(),
            watchers: AtomicUsize::new(0),
            changes: broadcast::Sender::new(CHANGES),
        }))
    }
}

/// Somebody who watches: as long as there is one, changes are told and legs measured.
#[derive(Debug)]
pub(crate) struct Watching {
    /// What begins and ends.
    pub(crate) changes: broadcast::Receiver<Change>,
    registry: Registry,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.registry.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}
