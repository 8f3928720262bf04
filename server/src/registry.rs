//! Who is connected now, and what each connection has carried.

use std::{
    collections::HashMap,
    fmt,
    net::{IpAddr, SocketAddr},
    ops::Deref,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

pub use echogate_proto::live::Kind;
use echogate_proto::live::{Carried, Connection, Legs};
use tokio::sync::broadcast;

use crate::limits::Place;

/// Changes that a watcher may be behind before it has to look at everything anew.
const CHANGES: usize = 1024;

/// All live connections. Clones are the same.
#[derive(Clone, Debug)]
pub struct Registry(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    next: AtomicU64,
    live: Mutex<Live>,
    watchers: AtomicUsize,
    changes: broadcast::Sender<Change>,
}

#[derive(Debug, Default)]
struct Live {
    entries: HashMap<u64, Arc<Entry>>,
    /// What those that have ended have carried, by kind in the order of [`Kind::ALL`].
    ended: [Totals; Kind::ALL.len()],
}

/// Connections of a kind, since the server's start.
#[derive(Clone, Copy, Debug, Default)]
pub struct Totals {
    /// Those that are live now.
    pub live: u64,
    /// Those that have begun.
    pub opened: u64,
    /// What all of them have carried.
    pub carried: Carried,
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
pub enum Change {
    /// It began.
    Opened(Arc<Entry>),
    /// It ended, and how, in words.
    Closed(Arc<Entry>, Arc<str>),
}

/// Who the client is, as far as that is known.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Peer {
    /// One on the network.
    Address(SocketAddr),
    /// A process of this machine, by its number.
    Process(i32),
    /// A socket in the file system.
    Path(Arc<str>),
    /// Nothing is known.
    Unknown,
}

impl Peer {
    /// Its address on the network, if it has one.
    pub fn ip(&self) -> Option<IpAddr> {
        match self {
            Peer::Address(address) => Some(address.ip()),
            Peer::Process(_) | Peer::Path(_) | Peer::Unknown => None,
        }
    }

    /// What is known, in words.
    fn named(&self) -> Option<String> {
        (*self != Peer::Unknown).then(|| self.to_string())
    }
}

impl fmt::Display for Peer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Peer::Address(address) => write!(f, "{address}"),
            Peer::Process(id) => write!(f, "process {id}"),
            Peer::Path(path) => f.write_str(path),
            Peer::Unknown => f.write_str("-"),
        }
    }
}

/// What is known of a connection when it begins.
#[derive(Clone, Debug)]
pub struct Arrival {
    /// The transport.
    pub kind: Kind,
    /// The client.
    pub peer: Peer,
    /// The service's name, or the route's path.
    pub target: Arc<str>,
    /// More about a client of the gateway.
    pub bridged: Option<Box<Bridged>>,
}

/// What is known of a client of the gateway beside. (In a box: others, of which there
/// are as many, pay nothing for it.)
#[derive(Clone, Debug, Default)]
pub struct Bridged {
    /// The name that it gave itself.
    pub label: Option<Box<str>>,
    /// The address from which the gateway called the upstream.
    pub upstream_from: Option<SocketAddr>,
}

/// A live connection. Its counters have one writer, the connection's task.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    arrival: Arrival,
    since: Instant,
    received: Count,
    sent: Count,
    legs: Mutex<Option<Box<Legs>>>,
    registry: Registry,
}

/// Bytes and messages in one direction.
#[derive(Debug, Default)]
pub struct Count {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Count {
    /// Counts payload that moved.
    pub fn add(&self, bytes: usize, messages: u64) {
        // One writer: a load and a store are enough, and cheaper than a locked add.
        for (counter, more) in [(&self.bytes, bytes as u64), (&self.messages, messages)] {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// Payload bytes so far.
    pub fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Registry {
    /// Enters a connection; dropping the answer takes it out again and gives back its
    /// place.
    pub fn enter(&self, arrival: Arrival, place: Option<Place>) -> Registered {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry {
            id,
            arrival,
            since: Instant::now(),
            received: Count::default(),
            sent: Count::default(),
            legs: Mutex::default(),
            registry: self.clone(),
        });
        self.live().entries.insert(id, entry.clone());
        self.tell(|| Change::Opened(entry.clone()));
        Registered { entry, _place: place }
    }

    /// The live connections, oldest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.live().entries.values().cloned().collect();
        all.sort_unstable_by_key(|entry| entry.id);
        all
    }

    /// How many connections are live.
    pub fn count(&self) -> usize {
        self.live().entries.len()
    }

    /// What begins and ends from now on, unless so many watch already.
    pub fn watch(&self, most: usize) -> Option<Watching> {
        let more = |watchers| (watchers < most).then_some(watchers + 1);
        self.0.watchers.fetch_update(Ordering::AcqRel, Ordering::Acquire, more).ok()?;
        Some(Watching { changes: self.0.changes.subscribe(), registry: self.clone() })
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
    pub fn totals(&self) -> [(Kind, Totals); Kind::ALL.len()] {
        let live = self.live();
        let mut totals = live.ended;
        for entry in live.entries.values() {
            let totals = &mut totals[entry.arrival.kind as usize];
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
            live.ended[entry.arrival.kind as usize].add(&entry);
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
pub struct Watching {
    /// What begins and ends.
    pub changes: broadcast::Receiver<Change>,
    registry: Registry,
}

impl Drop for Watching {
    fn drop(&mut self) {
        self.registry.0.watchers.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Entry {
    /// Unique among all connections since the start.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Payload bytes in both directions so far.
    pub fn carried_bytes(&self) -> u64 {
        self.received.bytes() + self.sent.bytes()
    }

    /// What came from the client.
    pub fn received(&self) -> &Count {
        &self.received
    }

    /// What went to the client.
    pub fn sent(&self) -> &Count {
        &self.sent
    }

    /// Whether somebody wants to know how long things take.
    pub fn is_watched(&self) -> bool {
        self.registry.is_watched()
    }

    /// Says how long the latest exchange took.
    pub fn took(&self, legs: Legs) {
        *self.legs.lock().unwrap_or_else(PoisonError::into_inner) = Some(legs.into());
    }

    /// Takes it out of those that are live, writes the one line that a connection logs,
    /// and tells those who watch.
    pub fn ended(self: &Arc<Self>, end: &dyn fmt::Display) {
        let Arrival { kind, peer, target, .. } = &self.arrival;
        tracing::info!(
            id = self.id,
            %kind,
            peer = peer.to_string(),
            target = &**target,
            received = self.received.bytes(),
            sent = self.sent.bytes(),
            seconds = format_args!("{:.3}", self.since.elapsed().as_secs_f64()),
            "{end}"
        );
        // Out before it is told: who begins to watch between the two misses neither.
        self.registry.leave(self.id);
        self.registry.tell(|| Change::Closed(self.clone(), end.to_string().into()));
    }

    /// What is told of it.
    pub fn connection(&self) -> Connection {
        let Arrival { kind, peer, target, bridged } = &self.arrival;
        let Bridged { label, upstream_from } = bridged.as_deref().cloned().unwrap_or_default();
        let age = self.since.elapsed();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Connection {
            id: self.id,
            kind: *kind,
            peer: peer.named(),
            target: target.clone(),
            label: label.map(String::from),
            upstream_from: upstream_from.map(|address| address.to_string()),
            since: now.saturating_sub(age).as_secs_f64(),
            age: age.as_secs_f64(),
            carried: self.carried(),
        }
    }

    /// What it has carried.
    pub fn carried(&self) -> Carried {
        Carried {
            bytes_received: self.received.bytes(),
            bytes_sent: self.sent.bytes(),
            messages_received: self.received.messages.load(Ordering::Relaxed),
            messages_sent: self.sent.messages.load(Ordering::Relaxed),
            legs: self.legs.lock().unwrap_or_else(PoisonError::into_inner).as_deref().copied(),
        }
    }
}

/// A connection's place in the registry, for as long as it is held.
#[derive(Debug)]
pub struct Registered {
    entry: Arc<Entry>,
    _place: Option<Place>,
}

impl Deref for Registered {
    type Target = Arc<Entry>;

    fn deref(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.entry.registry.leave(self.entry.id);
    }
}
