//! Reports on the connections of this server to one subscriber.

use std::{
    collections::{BTreeMap, btree_map},
    sync::Arc,
};

use echogate_proto::api::{Carried, Closed, Connection, Event, Moved};
use tokio::sync::broadcast::error::TryRecvError;

use super::{Change, Entry, Registry, Subscription};

/// The maximum number of connections that are reported to one subscriber, which bounds the size of
/// an event and the cost of a subscriber.
pub(crate) const MAX_REPORTED: usize = 1000;

/// The reports to one subscriber: all connections, and then each change.
#[derive(Debug)]
pub(crate) struct Reporter {
    registry: Registry,
    subscription: Subscription,
    /// The reported connections, each with the traffic that was reported last; none before the
    /// first event.
    reported: Option<BTreeMap<u64, (Arc<Entry>, Carried)>>,
    /// The maximum number of connections that are reported.
    most: usize,
    /// Whether there are more connections than are reported.
    is_truncated: bool,
}

impl Reporter {
    /// Subscribes to the changes of `registry`. The first report has all connections.
    pub(crate) fn new(registry: &Registry) -> Reporter {
        Reporter {
            registry: registry.clone(),
            subscription: registry.subscribe(),
            reported: None,
            most: MAX_REPORTED,
            is_truncated: false,
        }
    }

    /// Sets the maximum number of connections that are reported. After a change of that number the
    /// next report has all connections.
    pub(crate) fn set_most(&mut self, most: usize) {
        if most != self.most {
            (self.most, self.reported) = (most, None);
        }
    }

    /// The number of all connections, reported or not.
    pub(crate) fn total(&self) -> usize {
        self.registry.count()
    }

    /// The changes since the last report; `None` if there are none.
    pub(crate) fn report(&mut self) -> Option<Event> {
        let Some(reported) = &mut self.reported else { return Some(self.all()) };
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        loop {
            match self.subscription.changes.try_recv() {
                Ok(Change::Opened(entry)) => {
                    let full = reported.len() >= self.most;
                    match reported.entry(entry.id()) {
                        btree_map::Entry::Occupied(_) => {}
                        btree_map::Entry::Vacant(_) if full => self.is_truncated = true,
                        btree_map::Entry::Vacant(new) => {
                            let connection = entry.connection();
                            new.insert((entry, connection.carried));
                            opened.push(connection);
                        }
                    }
                }
                Ok(Change::Closed(entry, end)) => {
                    if reported.remove(&entry.id()).is_some() {
                        let (id, end, carried) = (entry.id(), end.to_string(), entry.carried());
                        closed.push(Closed { id, end, carried });
                    }
                }
                Err(TryRecvError::Lagged(_)) => return Some(self.all()),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let total = self.registry.count();
        if self.is_truncated && total <= self.most {
            return Some(self.all());
        }
        let mut moved = Vec::new();
        for (&id, (entry, before)) in reported {
            let carried = entry.carried();
            if carried != *before {
                *before = carried;
                moved.push(Moved { id, carried });
            }
        }
        let quiet = opened.is_empty() && moved.is_empty() && closed.is_empty();
        let missing = Vec::new();
        (!quiet).then_some(Event::Changes { total, opened, moved, closed, missing })
    }

    /// A report of all connections.
    pub(crate) fn all(&mut self) -> Event {
        let (total, connections) = self.list();
        Event::All { total, connections, missing: Vec::new() }
    }

    /// The number of all connections, and the reported ones. Later reports have the changes since.
    pub(crate) fn list(&mut self) -> (usize, Vec<Connection>) {
        // Resubscribe before listing: later changes are reported by later events.
        self.subscription.changes = self.subscription.changes.resubscribe();
        let entries = self.registry.entries_after(0, self.most);
        let total = self.registry.count();
        self.is_truncated = total > entries.len();
        let reported = entries.into_iter().map(|entry| {
            let connection = entry.connection();
            let (id, carried) = (connection.id, connection.carried);
            (connection, (id, (entry, carried)))
        });
        let (connections, reported) = reported.unzip();
        self.reported = Some(reported);
        (total, connections)
    }
}
