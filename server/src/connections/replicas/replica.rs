//! The connections of one other replica.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Instant};

use echogate_proto::api::{Closed, Connection, Event, Moved};
use serde::{Deserialize, Serialize};

use super::ReplicaIdentity;
use crate::connections::registry::{Registry, reporter::MAX_REPORTED};

/// A report of a replica about its connections.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) number: u64,
    /// The URL of an HTTP socket of the replica, where that has an address.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) url: Option<String>,
    /// Whether reports with further connections follow, until which the list is not complete.
    #[serde(default)]
    pub(crate) more: bool,
    pub(crate) event: Event,
}

/// Another replica, and the connections that it has reported.
#[derive(Debug)]
pub(super) struct Replica {
    pub(super) identity: ReplicaIdentity,
    /// The URL of an HTTP socket.
    pub(super) url: Option<String>,
    /// The number of the replica's next report; none before the first report, and after a gap.
    pub(super) next: Option<u64>,
    /// Whether all connections have been reported.
    pub(super) is_complete: bool,
    /// The time of the replica's last report, or at which the replica was added.
    pub(super) heard: Instant,
    pub(super) total: usize,
    /// The connections, by their identifiers at the replica.
    pub(super) connections: BTreeMap<u64, KnownConnection>,
}

/// A connection of another replica, under its number here.
#[derive(Debug)]
pub(super) struct KnownConnection {
    pub(super) connection: Connection,
    /// The time of its report.
    reported: Instant,
}

impl KnownConnection {
    /// The connection with its age at `now`.
    pub(super) fn at(&self, now: Instant) -> Connection {
        let since = now.saturating_duration_since(self.reported).as_secs_f64();
        Connection { age: self.connection.age + since, ..self.connection.clone() }
    }
}

/// A change in the connections of other replicas.
#[derive(Debug)]
pub(crate) enum Change {
    /// The connections are to be listed again.
    All,
    /// Connections that began, moved bytes or ended.
    Some { opened: Vec<Connection>, moved: Vec<Moved>, closed: Vec<Closed> },
}

impl Change {
    /// Whether nothing has changed, as in a report that only shows that the replica is alive.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Change::All => false,
            Change::Some { opened, moved, closed } => {
                opened.is_empty() && moved.is_empty() && closed.is_empty()
            }
        }
    }
}

impl Replica {
    pub(super) fn new(identity: ReplicaIdentity, now: Instant) -> Replica {
        Replica {
            identity,
            url: None,
            next: None,
            is_complete: false,
            heard: now,
            total: 0,
            connections: BTreeMap::new(),
        }
    }

    pub(super) fn name(&self) -> &Arc<str> {
        &self.identity.name
    }

    /// The URL of an HTTP socket for clients of the replica `own`; none if the URL has a loopback
    /// address of another machine.
    pub(super) fn url_at(&self, own: Option<&str>) -> Option<String> {
        let is_here = own.map(host) == Some(host(self.name()));
        self.url.clone().filter(|url| is_here || !is_loopback(url))
    }

    /// Applies a report; `None` if a previous report is missing.
    pub(super) fn apply(
        &mut self,
        report: Report,
        registry: &Registry,
        now: Instant,
    ) -> Option<Change> {
        self.heard = now;
        let Report { number, url, more, event } = report;
        let change = match event {
            Event::All { total, connections, .. } => {
                (self.total, self.url) = (total, url);
                self.set_all(connections, registry);
                Change::All
            }
            Event::Changes { total, opened, moved, closed, .. } if self.next == Some(number) => {
                self.total = total;
                self.change(opened, moved, closed, registry)
            }
            Event::Changes { .. } => {
                (self.next, self.is_complete) = (None, false);
                return None;
            }
        };
        (self.next, self.is_complete) = (number.checked_add(1), !more);
        Some(change)
    }

    fn set_all(&mut self, connections: Vec<Connection>, registry: &Registry) {
        let before = std::mem::take(&mut self.connections);
        for connection in connections.into_iter().take(MAX_REPORTED) {
            let id = connection.id;
            let number =
                before.get(&id).map_or_else(|| registry.next_id(), |known| known.connection.id);
            self.insert(connection, number);
        }
    }

    fn change(
        &mut self,
        opened: Vec<Connection>,
        moved: Vec<Moved>,
        closed: Vec<Closed>,
        registry: &Registry,
    ) -> Change {
        let mut change = (Vec::new(), Vec::new(), Vec::new());
        for connection in opened {
            let is_known = self.connections.contains_key(&connection.id);
            if self.connections.len() < MAX_REPORTED && !is_known {
                change.0.push(self.insert(connection, registry.next_id()));
            }
        }
        for mut moved in moved {
            if let Some(known) = self.connections.get_mut(&moved.id) {
                let known = &mut known.connection;
                (known.carried, moved.id) = (moved.carried, known.id);
                change.1.push(moved);
            }
        }
        for mut closed in closed {
            if let Some(known) = self.connections.remove(&closed.id) {
                closed.id = known.connection.id;
                change.2.push(closed);
            }
        }
        let (opened, moved, closed) = change;
        Change::Some { opened, moved, closed }
    }

    /// Adds a connection under its `number` here.
    fn insert(&mut self, connection: Connection, number: u64) -> Connection {
        let id = connection.id;
        let replica = Some(self.identity.name.clone());
        let connection = Connection { id: number, replica, ..connection };
        let known = KnownConnection { connection: connection.clone(), reported: self.heard };
        self.connections.insert(id, known);
        connection
    }

    /// The connections with the identifiers of the replica.
    pub(super) fn own_connections(&self, now: Instant) -> impl Iterator<Item = Connection> {
        let own = move |(&id, known): (&u64, &KnownConnection)| Connection {
            id,
            replica: None,
            ..known.at(now)
        };
        self.connections.iter().map(own)
    }
}

/// The host name in the name of a replica, `HOST/PID`.
fn host(name: &str) -> &str {
    name.rsplit_once('/').map_or(name, |(host, _)| host)
}

/// Whether the URL of an address is that of a loopback interface.
fn is_loopback(url: &str) -> bool {
    let address = url.split_once("://").and_then(|(_, address)| address.parse().ok());
    address.is_some_and(|address: SocketAddr| address.ip().to_canonical().is_loopback())
}
