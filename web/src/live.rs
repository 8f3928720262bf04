//! Who is connected to the server now, kept up to date by what it tells at `/api/events`.

use echogate_proto::live::{Carried, Connection, Endpoints, Event, Kind};

use crate::{composer::transfer::Expect, session::Pairing, time::Millis};

/// Everybody that is connected, and lately was.
#[derive(Debug, Default)]
pub struct Live {
    /// In the order of their numbers, in which they came.
    guests: Vec<Guest>,
    total: usize,
    is_connected: bool,
    /// Whether the server has told of itself at all.
    is_known: bool,
}

/// Somebody who is connected, or lately was.
#[derive(Clone, Debug)]
pub struct Guest {
    /// What the server tells of the connection.
    pub connection: Connection,
    /// When it came, by the page's clock.
    began: Millis,
    /// When it last carried something; the beginning of time if it has not since it is known.
    pub moved: Millis,
    /// How it ended, in the server's words, and when.
    pub ended: Option<(String, Millis)>,
}

impl Live {
    /// How long a connection that has ended is still shown.
    pub const LINGER: Millis = 4000.0;
    /// The most connections that are remembered here.
    pub const MAX: usize = 2000;

    /// Takes in what the server told at `now`.
    pub fn take(&mut self, event: Event, now: Millis) {
        (self.is_connected, self.is_known) = (true, true);
        match event {
            Event::All { total, connections } => {
                self.total = total;
                self.guests.clear();
                connections.into_iter().for_each(|connection| self.open(connection, now));
            }
            Event::Changes { total, opened, moved, closed } => {
                self.total = total;
                opened.into_iter().for_each(|connection| self.open(connection, now));
                for change in moved {
                    self.carry(change.id, change.carried, now);
                }
                for change in closed {
                    self.carry(change.id, change.carried, now);
                    if let Some(guest) = self.find(change.id) {
                        guest.ended = Some((change.end, now));
                    }
                }
            }
        }
    }

    /// The stream of events has broken; the browser tries to have it again.
    pub fn lost(&mut self) {
        self.is_connected = false;
    }

    /// Whether what is known is up to date.
    pub fn is_connected(&self) -> bool {
        self.is_connected
    }

    /// Whether the server has ever told of itself.
    pub fn is_known(&self) -> bool {
        self.is_known
    }

    /// How many are connected, those included that are not known here.
    pub fn total(&self) -> usize {
        self.total
    }

    /// Forgets those that ended a while ago; whether there are others of that kind.
    pub fn tidy(&mut self, now: Millis) -> bool {
        self.guests
            .retain(|guest| !matches!(guest.ended, Some((_, at)) if now - at >= Self::LINGER));
        self.guests.iter().any(|guest| guest.ended.is_some())
    }

    /// The latest first.
    pub fn guests(&self) -> impl Iterator<Item = &Guest> {
        self.guests.iter().rev()
    }

    /// The WebSocket connection that named itself so.
    pub fn labelled(&self, label: &str) -> Option<&Guest> {
        self.guests().find(|guest| guest.connection.label.as_deref() == Some(label))
    }

    /// The connection that the gateway made for this one, if it was to this server too.
    pub fn behind(&self, guest: &Guest) -> Option<&Guest> {
        let from = guest.connection.upstream_from.as_ref()?;
        self.guests().find(|other| other.connection.peer.as_ref() == Some(from))
    }

    fn open(&mut self, connection: Connection, now: Millis) {
        if self.guests.len() >= Self::MAX {
            return;
        }
        let began = now - connection.age * 1000.0;
        let guest = Guest { connection, began, moved: f64::NEG_INFINITY, ended: None };
        match self.guests.binary_search_by_key(&guest.connection.id, |it| it.connection.id) {
            Ok(at) => self.guests[at] = guest,
            Err(at) => self.guests.insert(at, guest),
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut Guest> {
        let at = self.guests.binary_search_by_key(&id, |guest| guest.connection.id).ok()?;
        Some(&mut self.guests[at])
    }

    fn carry(&mut self, id: u64, carried: Carried, now: Millis) {
        if let Some(guest) = self.find(id) {
            let before = &mut guest.connection.carried;
            let moved = (before.bytes_received, before.bytes_sent)
                != (carried.bytes_received, carried.bytes_sent);
            *before = carried;
            if moved {
                guest.moved = now;
            }
        }
    }
}

impl Guest {
    /// How long it has lived, in seconds.
    pub fn age(&self, now: Millis) -> f64 {
        let until = self.ended.as_ref().map_or(now, |&(_, at)| at);
        (until - self.began) / 1000.0
    }
}

/// The service that a route leads to, as far as the server's endpoints tell: a built-in one, or
/// one at an address where the server listens.
pub fn service<'a>(endpoints: &'a Endpoints, path: &str) -> Option<&'a str> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let route = endpoints.routes.iter().find(|route| route.path == path)?;
    if let Some(name) = route.upstream.strip_prefix("service:") {
        return Some(name);
    }
    let same = |url: &str| url.split('?').next() == route.upstream.split('?').next();
    let listener = endpoints.listeners.iter().find(|listener| same(&listener.url))?;
    Some(&listener.service)
}

/// What a service should answer to a file.
pub fn expected(service: Option<&str>) -> Expect {
    match service {
        Some("upper") => Expect::Upper,
        Some("echo") => Expect::Same,
        _ => Expect::Anything,
    }
}

/// How a service answers messages.
pub fn pairing(service: Option<&str>) -> Pairing {
    match service {
        Some("time") => Pairing::Order,
        Some("chat" | "operator") => Pairing::Never,
        _ => Pairing::Shape,
    }
}

/// The transport's name as people write it.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Tcp => "TCP",
        Kind::Tls => "TLS",
        Kind::Unix => "Unix",
        Kind::Udp => "UDP",
        Kind::UnixGram => "Unix dgram",
        Kind::WebSocket => "WebSocket",
    }
}

#[cfg(test)]
mod tests;
