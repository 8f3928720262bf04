//! Who is connected now, and what each connection has carried.

use std::{
    collections::HashMap,
    fmt,
    net::SocketAddr,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Instant, SystemTime, UNIX_EPOCH},
};

use crate::limits::Place;
use serde::Serialize;

/// All live connections. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Registry(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    next: AtomicU64,
    live: Mutex<HashMap<u64, Arc<Entry>>>,
}

/// The transport that a client came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A raw TCP connection to a listener.
    Tcp,
    /// A WebSocket connection to a route.
    WebSocket,
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Kind::Tcp => "tcp",
            Kind::WebSocket => "websocket",
        })
    }
}

/// A live connection. Its counters have one writer, the connection's task.
#[derive(Debug)]
pub struct Entry {
    id: u64,
    kind: Kind,
    peer: Option<SocketAddr>,
    target: Arc<str>,
    since: Instant,
    received: Count,
    sent: Count,
    _place: Option<Place>,
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

/// A live connection as `/api/connections` shows it.
#[derive(Clone, Debug, Serialize)]
pub struct Snapshot {
    /// Unique among all connections since the start.
    pub id: u64,
    /// The transport.
    pub kind: Kind,
    /// The client's address; null where the connection is in memory.
    pub peer: Option<SocketAddr>,
    /// The service's name, or the route's path.
    pub target: Arc<str>,
    /// When it began, in seconds since 1970.
    pub since: f64,
    /// How long it has lived, in seconds.
    pub age: f64,
    /// Payload bytes from the client.
    pub bytes_received: u64,
    /// Payload bytes to the client.
    pub bytes_sent: u64,
    /// Messages from the client; 0 for a transport that has none.
    pub messages_received: u64,
    /// Messages to the client; 0 for a transport that has none.
    pub messages_sent: u64,
}

impl Registry {
    /// Enters a connection; dropping the answer takes it out again and gives back its
    /// place.
    pub fn enter(
        &self,
        kind: Kind,
        peer: Option<SocketAddr>,
        target: &Arc<str>,
        place: Option<Place>,
    ) -> Registered {
        let id = self.0.next.fetch_add(1, Ordering::Relaxed) + 1;
        let entry = Arc::new(Entry {
            id,
            kind,
            peer,
            target: target.clone(),
            since: Instant::now(),
            received: Count::default(),
            sent: Count::default(),
            _place: place,
        });
        self.live().insert(id, entry.clone());
        Registered { registry: self.clone(), entry }
    }

    /// What is live now, oldest first.
    pub fn snapshot(&self) -> Vec<Snapshot> {
        self.entries().iter().map(|entry| entry.snapshot()).collect()
    }

    /// The live connections, oldest first.
    pub fn entries(&self) -> Vec<Arc<Entry>> {
        let mut all: Vec<_> = self.live().values().cloned().collect();
        all.sort_unstable_by_key(|entry| entry.id);
        all
    }

    fn live(&self) -> MutexGuard<'_, HashMap<u64, Arc<Entry>>> {
        self.0.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    /// Unique among all connections since the start.
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Payload bytes in both directions so far.
    pub fn carried(&self) -> u64 {
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

    /// Writes the one line that a connection logs, at its end.
    pub fn log_end(&self, end: &dyn fmt::Display) {
        let peer = self.peer.map_or_else(|| "-".to_owned(), |peer| peer.to_string());
        tracing::info!(
            id = self.id,
            kind = %self.kind,
            peer,
            target = &*self.target,
            received = self.received.bytes(),
            sent = self.sent.bytes(),
            seconds = format_args!("{:.3}", self.since.elapsed().as_secs_f64()),
            "{end}"
        );
    }

    fn snapshot(&self) -> Snapshot {
        let age = self.since.elapsed();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Snapshot {
            id: self.id,
            kind: self.kind,
            peer: self.peer,
            target: self.target.clone(),
            since: now.saturating_sub(age).as_secs_f64(),
            age: age.as_secs_f64(),
            bytes_received: self.received.bytes(),
            bytes_sent: self.sent.bytes(),
            messages_received: self.received.messages.load(Ordering::Relaxed),
            messages_sent: self.sent.messages.load(Ordering::Relaxed),
        }
    }
}

/// A connection's place in the registry, for as long as it is held.
#[derive(Debug)]
pub struct Registered {
    registry: Registry,
    entry: Arc<Entry>,
}

impl std::ops::Deref for Registered {
    type Target = Entry;

    fn deref(&self) -> &Entry {
        &self.entry
    }
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.registry.live().remove(&self.entry.id);
    }
}
