//! One live connection, and what it has carried.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use echogate_proto::live::{Carried, Connection, Kind, Legs};

use super::{Change, ConnectionInfo, GatewayInfo, Registry};
use crate::connections::limits::Place;

/// How long the connection of a health check is open at most.
const HEALTH_CHECK: Duration = Duration::from_secs(5);

/// A live connection. Its counters have one writer, the connection's task.
#[derive(Debug)]
pub(crate) struct Entry {
    id: u64,
    arrival: ConnectionInfo,
    since: Instant,
    received: Count,
    sent: Count,
    legs: Mutex<Option<Box<Legs>>>,
    registry: Registry,
}

/// Bytes and messages in one direction.
#[derive(Debug, Default)]
pub(crate) struct Count {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Count {
    /// Counts payload that moved.
    pub(crate) fn add(&self, bytes: usize, messages: u64) {
        // One writer: a load and a store are enough, and cheaper than a locked add.
        for (counter, more) in [(&self.bytes, bytes as u64), (&self.messages, messages)] {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// Payload bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }
}

impl Entry {
    /// Unique among all connections since the start.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    /// The transport.
    pub(crate) fn kind(&self) -> Kind {
        self.arrival.kind
    }

    /// What it came to: a service or a route.
    pub(crate) fn target(&self) -> &str {
        &self.arrival.target
    }

    /// Payload bytes in both directions so far.
    pub(crate) fn carried_bytes(&self) -> u64 {
        self.received.bytes() + self.sent.bytes()
    }

    /// What came from the client.
    pub(crate) fn received(&self) -> &Count {
        &self.received
    }

    /// What went to the client.
    pub(crate) fn sent(&self) -> &Count {
        &self.sent
    }

    /// Whether somebody wants to know how long things take.
    pub(crate) fn is_watched(&self) -> bool {
        self.registry.is_watched()
    }

    /// Says how long the latest exchange took.
    pub(crate) fn took(&self, legs: Legs) {
        *self.legs.lock().unwrap_or_else(PoisonError::into_inner) = Some(legs.into());
    }

    /// Takes it out of those that are live, writes the one line that a connection logs,
    /// and tells those who watch.
    pub(crate) fn ended(self: &Arc<Self>, end: &dyn fmt::Display) {
        self.end(end, false);
    }

    /// The same where the client ended the connection. One that has carried nothing until
    /// then, and not for long, was a health check: its line is for debugging only.
    pub(crate) fn ended_by_client(self: &Arc<Self>, end: &dyn fmt::Display) {
        self.end(end, self.carried_bytes() == 0 && self.since.elapsed() < HEALTH_CHECK);
    }

    fn end(self: &Arc<Self>, end: &dyn fmt::Display, debug: bool) {
        let ConnectionInfo { kind, peer, target, .. } = &self.arrival;
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    id = self.id,
                    %kind,
                    peer = peer.to_string(),
                    target = &**target,
                    received = self.received.bytes(),
                    sent = self.sent.bytes(),
                    seconds = format_args!("{:.3}", self.since.elapsed().as_secs_f64()),
                    "{end}"
                )
            };
        }
        if debug {
            log!(debug);
        } else {
            log!(info);
        }
        // Out before it is told: who begins to watch between the two misses neither.
        self.registry.leave(self.id);
        self.registry.tell(|| Change::Closed(self.clone(), end.to_string().into()));
    }

    /// What is told of it.
    pub(crate) fn connection(&self) -> Connection {
        let ConnectionInfo { kind, peer, target, bridged } = &self.arrival;
        let GatewayInfo { label, upstream_from } = bridged.as_deref().cloned().unwrap_or_default();
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
    pub(crate) fn carried(&self) -> Carried {
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
pub(crate) struct Registered {
    entry: Arc<Entry>,
    _place: Option<Place>,
}

impl Registered {
    pub(super) fn new(
        id: u64,
        arrival: ConnectionInfo,
        registry: Registry,
        place: Option<Place>,
    ) -> Registered {
        let entry = Arc::new(Entry {
            id,
            arrival,
            since: Instant::now(),
            received: Count::default(),
            sent: Count::default(),
            legs: Mutex::default(),
            registry,
        });
        Registered { entry, _place: place }
    }
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
