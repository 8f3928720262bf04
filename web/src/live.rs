//! The server's connections, kept up to date by the events of `/api/events`.

use std::sync::Arc;

use echogate_proto::api::{Carried, Connection, Endpoints, Event, RouteInfo};

use crate::{
    composer::transfer::Expect,
    format,
    i18n::{Texts, fill},
    pairing::Pairing,
    redraw::earliest,
    time::Millis,
    waterfall::Hops,
    wire,
};

/// The connections that are open or ended a short while ago.
#[derive(Debug, Default)]
pub struct Live {
    /// Ordered by number, which is the order of arrival.
    rows: Vec<ConnectionRow>,
    total: usize,
    missing: Vec<Arc<str>>,
    /// The time at which the stream of events was interrupted, while it is.
    interrupted: Option<Millis>,
    /// The refusal of the latest subscription, while there are no events.
    refusal: Option<Refusal>,
    /// Whether any event has been received.
    has_data: bool,
}

/// The refusal of a subscription to the server's events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The HTTP status; 0 without an answer.
    pub status: u16,
    /// The reason, in the server's or the browser's words.
    pub reason: String,
}

impl Refusal {
    /// Whether a later attempt may succeed.
    pub fn is_temporary(&self) -> bool {
        matches!(self.status, 0 | 429 | 500..)
    }
}

/// A connection that is open or ended a short while ago.
#[derive(Clone, Debug)]
pub struct ConnectionRow {
    /// The connection as the server reports it.
    pub connection: Connection,
    /// The time at which it was accepted, by the page's clock.
    began: Millis,
    /// The time at which it last carried bytes; negative infinity if it has carried none since the
    /// page listed it.
    pub last_traffic: Millis,
    /// The end as the server words it, and its time.
    pub ended: Option<(String, Millis)>,
}

impl Live {
    /// The time for which an ended connection is still shown.
    pub const ENDED_SHOWN: Millis = 4000.0;
    /// The most connections that are kept.
    pub const MAX: usize = 2000;

    /// Applies an event received at `now`.
    pub fn apply(&mut self, event: Event, now: Millis) {
        (self.has_data, self.interrupted, self.refusal) = (true, None, None);
        match event {
            Event::All { total, connections, missing } => {
                (self.total, self.missing) = (total, missing);
                self.rows.clear();
                connections.into_iter().for_each(|connection| self.open(connection, now));
            }
            Event::Changes { total, opened, moved, closed, missing } => {
                (self.total, self.missing) = (total, missing);
                opened.into_iter().for_each(|connection| self.open(connection, now));
                for change in moved {
                    self.update_traffic(change.id, change.carried, now);
                }
                for change in closed {
                    self.update_traffic(change.id, change.carried, now);
                    if let Some(row) = self.find(change.id) {
                        row.ended = Some((change.end, now));
                    }
                }
            }
        }
    }

    /// Records that the stream of events ended, or was refused.
    pub fn disconnected(&mut self, refusal: Option<Refusal>, now: Millis) {
        self.interrupted.get_or_insert(now);
        self.refusal = refusal;
    }

    /// The reason why the list is missing or out of date; `None` while it is up to date.
    pub fn trouble(&self, texts: &Texts, now: Millis) -> Option<String> {
        Some(match (&self.refusal, self.interrupted) {
            (Some(Refusal { status: 404, .. }), _) => texts.clients_no_api.to_owned(),
            (Some(refusal), _) if !refusal.is_temporary() => {
                fill(texts.clients_refused, &[&texts.reason(&refusal.reason)])
            }
            (Some(refusal), _) if !self.has_data => {
                fill(texts.clients_retried, &[&texts.reason(&refusal.reason)])
            }
            (None, _) if !self.has_data => texts.clients_unknown.to_owned(),
            (_, Some(at)) => fill(texts.clients_lost, &[&format::age((now - at) / 1000.0)]),
            _ => return None,
        })
    }

    /// The time of the data: now, or the time at which the stream of events was interrupted.
    pub fn as_of(&self, now: Millis) -> Millis {
        self.interrupted.unwrap_or(now)
    }

    /// Whether the rows are up to date.
    pub fn is_connected(&self) -> bool {
        self.has_data && self.interrupted.is_none()
    }

    /// Whether any event has been received.
    pub fn has_data(&self) -> bool {
        self.has_data
    }

    /// The number of open connections, those included that are not kept here.
    pub fn total(&self) -> usize {
        self.total
    }

    /// The names of the replicas that do not answer.
    pub fn missing(&self) -> &[Arc<str>] {
        &self.missing
    }

    /// Removes connections that ended a while ago; returns the time at which the next one is due.
    pub fn remove_ended(&mut self, now: Millis) -> Option<Millis> {
        let due = |row: &ConnectionRow| row.ended.as_ref().map(|(_, at)| at + Self::ENDED_SHOWN);
        self.rows.retain(|row| due(row).is_none_or(|due| now < due));
        earliest(self.rows.iter().map(due))
    }

    /// The rows, the latest first.
    pub fn rows(&self) -> impl Iterator<Item = &ConnectionRow> {
        self.rows.iter().rev()
    }

    /// The WebSocket connection with this label.
    pub fn with_label(&self, label: &str) -> Option<&ConnectionRow> {
        self.rows().find(|row| row.connection.label.as_deref() == Some(label))
    }

    /// The connection that the gateway opened for this one, if it leads to this server.
    pub fn upstream_of(&self, row: &ConnectionRow) -> Option<&ConnectionRow> {
        let from = row.connection.upstream_from.as_ref()?;
        self.rows().find(|other| other.connection.peer.as_ref() == Some(from))
    }

    fn open(&mut self, connection: Connection, now: Millis) {
        if self.rows.len() >= Self::MAX {
            return;
        }
        let began = now - connection.age * 1000.0;
        let row = ConnectionRow { connection, began, last_traffic: f64::NEG_INFINITY, ended: None };
        match self.rows.binary_search_by_key(&row.connection.id, |it| it.connection.id) {
            Ok(at) => self.rows[at] = row,
            Err(at) => self.rows.insert(at, row),
        }
    }

    fn find(&mut self, id: u64) -> Option<&mut ConnectionRow> {
        let at = self.rows.binary_search_by_key(&id, |row| row.connection.id).ok()?;
        Some(&mut self.rows[at])
    }

    fn update_traffic(&mut self, id: u64, carried: Carried, now: Millis) {
        if let Some(row) = self.find(id) {
            let before = &mut row.connection.carried;
            let moved = (before.bytes_received, before.bytes_sent)
                != (carried.bytes_received, carried.bytes_sent);
            *before = carried;
            if moved {
                row.last_traffic = now;
            }
        }
    }
}

impl ConnectionRow {
    /// The connection's age in seconds; after its end, its lifetime.
    pub fn age(&self, now: Millis) -> f64 {
        let until = self.ended.as_ref().map_or(now, |&(_, at)| at);
        (until - self.began) / 1000.0
    }
}

/// The server's route for a path, whose query and fragment are left out; `/*` is the route of all
/// paths without another one.
pub fn route<'a>(endpoints: &'a Endpoints, path: &str) -> Option<&'a RouteInfo> {
    let path = path.split(['?', '#']).next().unwrap_or_default();
    let route = |path: &str| endpoints.routes.iter().find(|route| route.path == path);
    route(path).or_else(|| route("/*"))
}

/// The service that the route for a path leads to: see [`service_of`].
pub fn service_of_path<'a>(endpoints: &'a Endpoints, path: &str) -> Option<&'a str> {
    service_of(endpoints, route(endpoints, path)?)
}

/// The service that a route leads to, if the server's endpoints say: a built-in one, or one at an
/// address where the server listens.
pub fn service_of<'a>(endpoints: &'a Endpoints, route: &'a RouteInfo) -> Option<&'a str> {
    if let Some(name) = route.upstream.strip_prefix("service:") {
        return name.split('?').next();
    }
    let same = |url: &str| url.split('?').next() == route.upstream.split('?').next();
    let listener = endpoints.listeners.iter().find(|listener| same(&listener.url))?;
    Some(&listener.service)
}

/// Whether a route leads to the operators' side of `chat`, which needs a token.
pub fn is_operator(endpoints: &Endpoints, route: &RouteInfo) -> bool {
    service_of(endpoints, route) == Some("operator")
}

/// The routes that the page offers: all but those of operators.
pub fn offered_routes(endpoints: &Endpoints) -> impl Iterator<Item = &RouteInfo> {
    endpoints.routes.iter().filter(|route| !is_operator(endpoints, route))
}

/// The hops of the connections to a path, as far as the server's endpoints tell.
pub fn hops<'a>(endpoints: &'a Endpoints, path: &str) -> Hops<'a> {
    let Some(route) = route(endpoints, path) else { return Hops::Unknown };
    let upstream = &route.upstream;
    match (upstream.split_once(':'), service_of(endpoints, route)) {
        (Some(("service", _)), Some(service)) => Hops::InMemory { service },
        (Some((scheme, _)), Some(service)) => Hops::Socket {
            transport: wire::kind(scheme).map_or("", format::transport_name),
            service,
        },
        _ => Hops::Elsewhere { upstream },
    }
}

/// The answer that a service should give to a file.
pub fn expected_reply(service: Option<&str>) -> Expect {
    match service {
        Some("upper") => Expect::Upper,
        Some("echo") => Expect::Same,
        _ => Expect::Anything,
    }
}

/// The rule for pairing the replies to messages of a path: in order for services of this server that
/// answer each message with one, none for anything else.
pub fn pairing_of(endpoints: &Endpoints, path: &str) -> Pairing {
    let Some(route) = route(endpoints, path) else { return Pairing::None };
    match (service_of(endpoints, route), &*route.framing) {
        (Some("upper" | "echo"), "message") | (Some("time"), "line") => Pairing::Order,
        _ => Pairing::None,
    }
}

#[cfg(test)]
mod tests;
