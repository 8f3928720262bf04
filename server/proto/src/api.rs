//! The JSON types of the server's HTTP API: endpoints, connections, and events.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The transport of a client.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A TCP connection.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// A stream socket in the file system.
    Unix,
    /// UDP datagrams of one sender, counted as a connection while they continue.
    Udp,
    /// Datagrams of one sender to a socket in the file system, counted likewise.
    UnixGram,
    /// A WebSocket connection to a route.
    WebSocket,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Kind; 6] =
        [Kind::Tcp, Kind::Tls, Kind::Unix, Kind::Udp, Kind::UnixGram, Kind::WebSocket];

    /// The name of the kind, as in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Tcp => "tcp",
            Kind::Tls => "tls",
            Kind::Unix => "unix",
            Kind::Udp => "udp",
            Kind::UnixGram => "unixgram",
            Kind::WebSocket => "websocket",
        }
    }
}

impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// A live connection: an element of the array at `/api/connections`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Connection {
    /// The identifier, unique since the start of the server. In the events of this server a
    /// connection of another replica has one too, which is not valid for taps and closes.
    pub id: u64,
    /// The name of the replica that has the connection, if it is not the server that answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replica: Option<Arc<str>>,
    /// The transport.
    pub kind: Kind,
    /// The address of the client, or another description; null if unknown.
    pub peer: Option<String>,
    /// The name of the service, or the path of the route.
    pub target: Arc<str>,
    /// The label that a WebSocket client chose with `?label=` in its URL.
    pub label: Option<String>,
    /// The local address of the gateway's connection to the upstream. If the upstream is a
    /// service of this server, that connection has this address as its `peer`.
    pub upstream_from: Option<String>,
    /// The time of its start, in seconds since 1970.
    pub since: f64,
    /// The age, in seconds.
    pub age: f64,
    /// The traffic so far.
    #[serde(flatten)]
    pub carried: Carried,
}

/// The traffic of a connection.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// Payload bytes from the client.
    pub bytes_received: u64,
    /// Payload bytes to the client.
    pub bytes_sent: u64,
    /// Messages from the client; 0 for a byte stream.
    pub messages_received: u64,
    /// Messages to the client; 0 for a byte stream.
    pub messages_sent: u64,
    /// The latencies of the latest exchange; null if none was measured.
    pub legs: Option<Legs>,
}

/// The latencies of the legs of one exchange in the server, in microseconds. They are measured
/// while a client subscribes to events.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Legs {
    /// The legs of a WebSocket connection.
    Bridge {
        /// From reading the client's bytes to the beginning of their write to the upstream.
        up: f64,
        /// From there to reading the first bytes of the upstream's reply.
        upstream: f64,
        /// From that read to the end of writing the reply to the client.
        down: f64,
        /// `bytes_received` of the connection at this exchange, which identifies the exchange.
        received: u64,
    },
    /// The leg of a connection to a service.
    Service {
        /// From reading the client's bytes to the beginning of the reply's write.
        service: f64,
        /// `bytes_received` of the connection at this exchange, which identifies the exchange.
        received: u64,
    },
}

impl Legs {
    /// `bytes_received` of the connection at this exchange.
    pub fn received(&self) -> u64 {
        match *self {
            Legs::Bridge { received, .. } | Legs::Service { received, .. } => received,
        }
    }
}

/// An event of `/api/events`: the data of one server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// The complete state: sent at the start, and after more changes than one event reports.
    All {
        /// The number of connections.
        total: usize,
        /// The connections; if there are more than 1,000, the oldest.
        connections: Vec<Connection>,
        /// The names of the replicas that do not answer, with `?cluster`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<Arc<str>>,
    },
    /// The changes since the previous event.
    Changes {
        /// The number of connections.
        total: usize,
        /// New connections. Some of them may be in `closed` as well.
        opened: Vec<Connection>,
        /// Connections with new traffic.
        moved: Vec<Moved>,
        /// Connections that ended.
        closed: Vec<Closed>,
        /// The names of the replicas that do not answer, with `?cluster`.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        missing: Vec<Arc<str>>,
    },
}

/// A connection with new traffic.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// The identifier of the connection.
    pub id: u64,
    /// Its traffic so far.
    #[serde(flatten)]
    pub carried: Carried,
}

/// A connection that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// The identifier of the connection.
    pub id: u64,
    /// The reason of the end.
    pub end: String,
    /// Its total traffic.
    #[serde(flatten)]
    pub carried: Carried,
}

/// The replicas of a cluster and their connections: the object at `/api/connections?cluster`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ClusterConnections {
    /// The replicas; the first is the server that answers.
    pub replicas: Vec<ReplicaConnections>,
}

/// The connections of a replica.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ReplicaConnections {
    /// The name of the replica.
    pub name: Arc<str>,
    /// Whether the replica has not answered, so that its connections are not known.
    pub missing: bool,
    /// The number of connections.
    pub total: usize,
    /// The connections, with the identifiers of the replica; the oldest ones, if there are more
    /// than 1,000 divided by the number of replicas.
    pub connections: Vec<Connection>,
}

/// The routes, listeners and forwards of the server: the object at `/api/endpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The WebSocket routes.
    pub routes: Vec<RouteInfo>,
    /// The listeners of services.
    pub listeners: Vec<ListenerInfo>,
    /// The forwards.
    pub forwards: Vec<ForwardInfo>,
}

/// A WebSocket route.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// The path.
    pub path: String,
    /// The URL of the upstream.
    pub upstream: String,
    /// The framing: `bytes`, `text`, `line`, `length` or `message`; `messages` or `datagrams` where
    /// the upstream has messages of its own.
    pub framing: String,
    /// The subprotocol, if one is configured.
    pub protocol: Option<String>,
}

/// A listener of a service.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerInfo {
    /// The name of the service.
    pub service: String,
    /// The URL at which clients reach it.
    pub url: String,
}

/// A forward: a socket whose connections are passed to an upstream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ForwardInfo {
    /// The URL at which clients reach it.
    pub url: String,
    /// The URL of the upstream.
    pub upstream: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_flat_object_and_is_read_back_the_same() {
        let legs = Some(Legs::Bridge { up: 11.5, upstream: 80.0, down: 9.0, received: 5 });
        let carried = Carried { bytes_received: 5, bytes_sent: 5, legs, ..Carried::default() };
        let moved = vec![Moved { id: 7, carried }];
        let (opened, closed, missing) = (vec![], vec![], vec![]);
        let changes = Event::Changes { total: 1, opened, moved, closed, missing };
        let json = concat!(
            r#"{"type":"changes","total":1,"opened":[],"moved":[{"id":7,"bytes_received":5,"#,
            r#""bytes_sent":5,"messages_received":0,"messages_sent":0,"#,
            r#""legs":{"up":11.5,"upstream":80.0,"down":9.0,"received":5}}],"closed":[]}"#,
        );
        assert_eq!(serde_json::to_string(&changes).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), changes);
    }
}
