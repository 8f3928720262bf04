//! A registry entry: one live connection and its traffic.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    },
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use echogate_proto::{
    api::{Carried, Connection, Kind, Legs},
    close::CloseCode,
    reason,
    recording::Direction,
};
use parking_lot::Mutex;
use tracing::field::display;

use super::{
    Change, ConnectionInfo, GatewayInfo, Peer, Registry,
    info::Tags,
    observed::{Observed, first_flags},
};
use crate::{
    connections::{limits::ConnectionPermit, target::ConnectionTarget},
    trace::ConnectionTrace,
};

/// The longest duration of a connection that counts as a health check.
const HEALTH_CHECK_TIME: Duration = Duration::from_secs(5);

/// A live connection. Its counters have one writer, the task of the connection.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(super) id: u64,
    kind: Kind,
    /// The flags that `observed` defines.
    pub(super) flags: AtomicU8,
    /// The time of the first write to the upstream, in microseconds since the beginning (`timing`).
    pub(super) first_write: AtomicU32,
    pub(super) peer: Peer,
    pub(super) target: Arc<ConnectionTarget>,
    pub(super) gateway: Option<Box<GatewayInfo>>,
    pub(super) since: Instant,
    received: Counter,
    sent: Counter,
    pub(super) observed: Mutex<Option<Box<Observed>>>,
    pub(super) registry: Registry,
}

/// Payload of one direction.
#[derive(Debug, Default)]
pub(crate) struct Counter {
    bytes: AtomicU64,
    messages: AtomicU64,
}

impl Counter {
    pub(crate) fn add(&self, bytes: usize, messages: u64) {
        // There is one writer, for which a load and a store suffice, and cost less than an atomic
        // add.
        for (counter, more) in [(&self.bytes, bytes as u64), (&self.messages, messages)] {
            counter.store(counter.load(Ordering::Relaxed) + more, Ordering::Relaxed);
        }
    }

    /// Payload bytes so far.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes.load(Ordering::Relaxed)
    }

    /// Messages so far.
    pub(crate) fn messages(&self) -> u64 {
        self.messages.load(Ordering::Relaxed)
    }
}

impl Entry {
    /// The identifier, unique since the start of the server.
    pub(crate) fn id(&self) -> u64 {
        self.id
    }

    pub(crate) fn kind(&self) -> Kind {
        self.kind
    }

    /// Whether operators of the chat present their token on the connection.
    pub(crate) fn leads_to_operators(&self) -> bool {
        self.target.leads_to_operators
    }

    /// The name of the service or the path of the route.
    pub(crate) fn target(&self) -> &str {
        &self.target.name
    }

    /// Payload bytes in both directions so far.
    pub(crate) fn carried_bytes(&self) -> u64 {
        self.received.bytes() + self.sent.bytes()
    }

    /// Payload bytes from and to the client so far.
    pub(super) fn bytes(&self) -> [u64; 2] {
        [self.received.bytes(), self.sent.bytes()]
    }

    /// Payload from the client.
    pub(crate) fn received(&self) -> &Counter {
        &self.received
    }

    /// Payload to the client.
    pub(crate) fn sent(&self) -> &Counter {
        &self.sent
    }

    /// Payload of this direction.
    #[inline]
    pub(crate) fn counter(&self, direction: Direction) -> &Counter {
        match direction {
            Direction::ToServer => &self.received,
            Direction::ToClient => &self.sent,
        }
    }

    /// Whether events have subscribers, so that latencies are recorded.
    pub(crate) fn has_subscribers(&self) -> bool {
        self.registry.has_subscribers()
    }

    /// Records the time that a service took for the bytes received last.
    pub(crate) fn record_service(&self, time: Duration) {
        let (service, received) = (time.as_secs_f64() * 1e6, self.received.bytes());
        self.record_latency(Legs::Service { service, received });
    }

    /// Records the latency of the latest exchange.
    pub(crate) fn record_latency(&self, legs: Legs) {
        self.observed.lock().get_or_insert_default().legs = Some(legs);
    }

    /// Counts the end of a WebSocket by its code.
    pub(crate) fn websocket_closed(&self, code: CloseCode) {
        if let Some(metrics) = &self.target.metrics {
            metrics.closed(code);
        }
        if let Some(trace) = self.trace() {
            trace.closed(code);
        }
    }

    /// Removes the connection from the registry, writes its log line, and notifies subscribers.
    pub(crate) fn ended(self: &Arc<Self>, end: &dyn fmt::Display) {
        self.end(end, false);
    }

    /// Like [`Entry::ended`], for a connection that the client ended. A short connection without
    /// payload counts as a health check, and is logged at level `debug`.
    pub(crate) fn ended_by_client(self: &Arc<Self>, end: &dyn fmt::Display) {
        self.end(end, self.carried_bytes() == 0 && self.since.elapsed() < HEALTH_CHECK_TIME);
    }

    fn end(self: &Arc<Self>, end: &dyn fmt::Display, debug: bool) {
        let Entry { kind, peer, target, .. } = &**self;
        let trace_id = self.trace().map(|trace| display(trace.id));
        let seconds = self.since.elapsed().as_millis() as f64 / 1e3;
        macro_rules! log {
            ($level:ident) => {
                tracing::$level!(
                    id = self.id,
                    %kind,
                    peer = peer.to_string(),
                    target = &*target.name,
                    received = self.received.bytes(),
                    sent = self.sent.bytes(),
                    seconds,
                    trace_id,
                    "{end}"
                )
            };
        }
        if debug {
            log!(debug);
        } else {
            log!(info);
        }
        // Remove before notifying: a subscriber that starts in between sees neither a stale entry
        // nor the end of an unknown connection.
        self.registry.leave(self.id);
        if let Some(trace) = self.trace() {
            trace.ended(self.bytes(), end);
        }
        self.close_tap(end);
        self.registry.notify(|| Change::Closed(self.clone(), end.to_string().into()));
    }

    /// The connection as the API describes it.
    pub(crate) fn connection(&self) -> Connection {
        let Entry { kind, peer, target, .. } = self;
        let gateway = self.gateway.as_deref();
        let upstream_from = gateway.and_then(|gateway| gateway.upstream_from);
        let age = self.since.elapsed();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Connection {
            id: self.id,
            replica: None,
            kind: *kind,
            peer: peer.description(),
            target: target.name.clone(),
            label: self.tags().and_then(|tags| tags.label.clone()).map(String::from),
            upstream_from: upstream_from.map(|address| address.to_string()),
            since: now.saturating_sub(age).as_secs_f64(),
            age: age.as_secs_f64(),
            carried: self.carried(),
        }
    }

    /// The trace that the connection is a part of.
    pub(crate) fn trace(&self) -> Option<&ConnectionTrace> {
        self.tags()?.trace.as_ref()
    }

    fn tags(&self) -> Option<&Tags> {
        self.gateway.as_ref()?.tags.as_deref()
    }

    /// The traffic so far.
    pub(crate) fn carried(&self) -> Carried {
        Carried {
            bytes_received: self.received.bytes(),
            bytes_sent: self.sent.bytes(),
            messages_received: self.received.messages(),
            messages_sent: self.sent.messages(),
            legs: self.observed.lock().as_ref().and_then(|observed| observed.legs),
        }
    }
}

/// Keeps a connection in the registry, and its permit, until it is dropped.
#[derive(Debug)]
pub(crate) struct RegistryGuard {
    entry: Arc<Entry>,
    _permit: Option<ConnectionPermit>,
}

impl RegistryGuard {
    pub(super) fn new(
        id: u64,
        info: ConnectionInfo,
        registry: Registry,
        permit: Option<ConnectionPermit>,
    ) -> RegistryGuard {
        let ConnectionInfo { kind, peer, target, gateway } = info;
        let entry = Arc::new(Entry {
            id,
            kind,
            flags: AtomicU8::new(first_flags(target.metrics.is_some())),
            first_write: AtomicU32::default(),
            peer,
            target,
            gateway,
            since: Instant::now(),
            received: Counter::default(),
            sent: Counter::default(),
            observed: Mutex::default(),
            registry,
        });
        RegistryGuard { entry, _permit: permit }
    }
}

impl Deref for RegistryGuard {
    type Target = Arc<Entry>;

    fn deref(&self) -> &Arc<Entry> {
        &self.entry
    }
}

impl Drop for RegistryGuard {
    fn drop(&mut self) {
        if !self.entry.has_ended() {
            self.entry.ended(&reason::CUT_OFF);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_is_small() {
        // Together with the counts of its references it fits into an allocation of 160 bytes.
        assert!(size_of::<Entry>() <= 160 - 2 * size_of::<usize>(), "{}", size_of::<Entry>());
    }
}
