//! `/api/events`: live connections and their traffic, as server-sent events.

use std::{
    collections::{BTreeMap, btree_map},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    Extension,
    extract::State,
    http::HeaderName,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use echogate_proto::api::{Carried, Closed, Event, Moved};
use futures_util::stream;
use tokio::{
    sync::broadcast::error::TryRecvError,
    time::{Interval, MissedTickBehavior, interval},
};

use super::too_many::too_many;
use crate::{
    connections::{
        limits::{
            ConnectionPermit,
            http::{Exemption, HttpPermit},
            share::Share,
        },
        registry::{Change, Entry, Subscription},
    },
    context::ServerContext,
    gateway::Client,
    runtime::drain::ShutdownWatch,
};

/// The interval at which changes are reported, if there are any.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Connections that are reported to one subscriber at most, which bounds the size of an event
/// and the cost of a subscriber.
const MAX_REPORTED: usize = 1000;

/// Keeps nginx from buffering events.
pub(super) const NO_BUFFERING: (HeaderName, &str) =
    (HeaderName::from_static("x-accel-buffering"), "no");

/// Reports all connections, and then each change, until the shutdown. A subscriber is counted by
/// the limits as a WebSocket is, and there is a limit on subscribers besides.
pub(super) async fn events(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
) -> Response {
    let connection_permit = context.limits.enter(client.peer.ip(), None);
    let (Ok(connection_permit), Some(share)) =
        (connection_permit, context.subscribers.take(client.peer.ip()))
    else {
        return too_many(
            &context,
            "too many subscribers of /api/events (64, and 16 of one address)\n",
        );
    };
    let subscription = context.registry.subscribe();
    let mut ticks = interval(REPORT_INTERVAL);
    // A slow subscriber gets fewer events, not all the missed ones.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reporter = Reporter {
        subscription,
        _permit: connection_permit,
        _share: share,
        _exemption: permit.exempt(),
        reported: None,
        is_truncated: false,
        ticks,
        drain: context.http.drain.watch(),
        context,
    };
    let events = stream::unfold(reporter, |mut reporter| async move {
        let event = reporter.next().await?;
        let event = sse::Event::default().json_data(event).expect("numbers and texts are JSON");
        Some((Ok::<_, Infallible>(event), reporter))
    });
    ([NO_BUFFERING], Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// Reports to one subscriber what has changed since its last event.
struct Reporter {
    context: Arc<ServerContext>,
    subscription: Subscription,
    _permit: ConnectionPermit,
    _share: Share,
    _exemption: Exemption,
    /// The reported connections, each with the traffic that was reported last; none before the
    /// first event.
    reported: Option<BTreeMap<u64, (Arc<Entry>, Carried)>>,
    /// There are more connections than are reported.
    is_truncated: bool,
    ticks: Interval,
    drain: ShutdownWatch,
}

impl Reporter {
    /// The next event, as soon as there is a change; none at the shutdown.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.drain.draining() => return None,
            }
            if let Some(event) = self.report() {
                return Some(event);
            }
        }
    }

    fn report(&mut self) -> Option<Event> {
        let Some(reported) = &mut self.reported else { return Some(self.all()) };
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        loop {
            match self.subscription.changes.try_recv() {
                Ok(Change::Opened(entry)) => {
                    let full = reported.len() >= MAX_REPORTED;
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
        let total = self.context.registry.count();
        if self.is_truncated && total <= MAX_REPORTED {
            return Some(self.all());
        }
        let mut traffic = Vec::new();
        for (&id, (entry, before)) in reported {
            let carried = entry.carried();
            if carried != *before {
                *before = carried;
                traffic.push(Moved { id, carried });
            }
        }
        let quiet = opened.is_empty() && traffic.is_empty() && closed.is_empty();
        (!quiet).then_some(Event::Changes { total, opened, moved: traffic, closed })
    }

    /// An event with all connections.
    fn all(&mut self) -> Event {
        // Resubscribe before listing: later changes are reported by later events.
        self.subscription.changes = self.subscription.changes.resubscribe();
        let entries = self.context.registry.entries();
        let total = entries.len();
        self.is_truncated = total > MAX_REPORTED;
        let reported = entries.into_iter().take(MAX_REPORTED).map(|entry| {
            let connection = entry.connection();
            let (id, carried) = (connection.id, connection.carried);
            (connection, (id, (entry, carried)))
        });
        let (connections, reported) = reported.unzip();
        self.reported = Some(reported);
        Event::All { total, connections }
    }
}
