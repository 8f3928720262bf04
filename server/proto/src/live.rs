//! What the server tells of itself as JSON: its endpoints, who is connected, and how
//! that changes.

use std::{fmt, sync::Arc};

use serde::{Deserialize, Serialize};

/// The transport that a client came by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    /// A TCP connection.
    Tcp,
    /// TLS over TCP.
    Tls,
    /// A stream socket in the file system.
    Unix,
    /// Datagrams of one sender; a connection for as long as some come.
    Udp,
    /// Datagrams of one sender to a socket in the file system, likewise.
    UnixGram,
    /// A WebSocket connection to a route.
    WebSocket,
}

impl Kind {
    /// All of them.
    pub const ALL: [Kind; 6] =
        [Kind::Tcp, Kind::Tls, Kind::Unix, Kind::Udp, Kind::UnixGram, Kind::WebSocket];

    /// Its name, as in JSON.
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
    /// Unique among all connections since the server's start.
    pub id: u64,
    /// The transport.
    pub kind: Kind,
    /// The client: its address, or what is known of it; null where nothing is.
    pub peer: Option<String>,
    /// The service's name, or the route's path.
    pub target: Arc<str>,
    /// The name that a WebSocket client gave itself: `?label=` in its URL.
    pub label: Option<String>,
    /// The address from which the gateway called the upstream of a WebSocket connection:
    /// the `peer` of the connection behind it, if that is to this server too.
    pub upstream_from: Option<String>,
    /// When it began, in seconds since 1970.
    pub since: f64,
    /// How long it has lived, in seconds.
    pub age: f64,
    /// What it has carried.
    #[serde(flatten)]
    pub carried: Carried,
}

/// What a connection has carried.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Carried {
    /// Payload bytes from the client.
    pub bytes_received: u64,
    /// Payload bytes to the client.
    pub bytes_sent: u64,
    /// Messages from the client; 0 for a transport that has none.
    pub messages_received: u64,
    /// Messages to the client; 0 for a transport that has none.
    pub messages_sent: u64,
    /// How long the legs of the latest exchange took; null as long as none was measured.
    pub legs: Option<Legs>,
}

/// How long the legs of an exchange took in the server, in microseconds. They are taken
/// while somebody watches.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Legs {
    /// Of a WebSocket connection.
    Bridge {
        /// From the client's bytes read to their payload written to the upstream.
        up: f64,
        /// From there to the upstream's first bytes in answer, read.
        upstream: f64,
        /// From there to their frames written to the client.
        down: f64,
    },
    /// Of a service's connection.
    Service {
        /// From the client's bytes read to the answer written.
        service: f64,
    },
}

/// What `/api/events` sends, each as the data of one server-sent event.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Event {
    /// Everything anew: at the start, and where more happened at once than is told.
    All {
        /// How many connections there are.
        total: usize,
        /// They themselves; of more than 1,000 the oldest.
        connections: Vec<Connection>,
    },
    /// What has changed since the event before.
    Changes {
        /// How many connections there are.
        total: usize,
        /// Those that began. Some of them may have ended since: see `closed`.
        opened: Vec<Connection>,
        /// Those that carried something.
        moved: Vec<Moved>,
        /// Those that ended.
        closed: Vec<Closed>,
    },
}

/// A connection that carried something.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Moved {
    /// Which.
    pub id: u64,
    /// All that it has carried by now.
    #[serde(flatten)]
    pub carried: Carried,
}

/// A connection that ended.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Closed {
    /// Which.
    pub id: u64,
    /// How, in words.
    pub end: String,
    /// All that it has carried.
    #[serde(flatten)]
    pub carried: Carried,
}

/// What the server offers: the object at `/api/endpoints`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Endpoints {
    /// The WebSocket paths.
    pub routes: Vec<RouteInfo>,
    /// The services on endpoints of their own.
    pub listeners: Vec<ListenerInfo>,
}

/// A WebSocket path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RouteInfo {
    /// The path of its URL.
    pub path: String,
    /// Where it leads, as a URL.
    pub upstream: String,
    /// Where messages to the client end: `bytes`, `text`, `line` or `message`.
    pub framing: String,
    /// The subprotocol that it speaks, if it was given one.
    pub protocol: Option<String>,
}

/// A service on an endpoint of its own.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct ListenerInfo {
    /// The service's name.
    pub service: String,
    /// Where it is reached, as a URL.
    pub url: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_a_flat_object_and_is_read_back_the_same() {
        let legs = Some(Legs::Bridge { up: 11.5, upstream: 80.0, down: 9.0 });
        let carried = Carried { bytes_received: 5, bytes_sent: 5, legs, ..Carried::default() };
        let moved = vec![Moved { id: 7, carried }];
        let changes = Event::Changes { total: 1, opened: vec![], moved, closed: vec![] };
        let json = concat!(
            r#"{"type":"changes","total":1,"opened":[],"moved":[{"id":7,"bytes_received":5,"#,
            r#""bytes_sent":5,"messages_received":0,"messages_sent":0,"#,
            r#""legs":{"up":11.5,"upstream":80.0,"down":9.0}}],"closed":[]}"#,
        );
        assert_eq!(serde_json::to_string(&changes).unwrap(), json);
        assert_eq!(serde_json::from_str::<Event>(json).unwrap(), changes);
    }
}
