//! `/api/events`: who is connected, live, as server-sent events.

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
use echogate_proto::live::{Carried, Closed, Event, Moved};
use futures_util::stream;
use tokio::{
    sync::broadcast::error::TryRecvError,
    time::{Interval, MissedTickBehavior, interval},
};

use super::api::too_many;
use crate::{
    connections::{
        limits::{
            Place,
            http::{Exemption, HttpPermit},
            share::Share,
        },
        registry::{Change, Entry, Watching},
    },
    context::ServerContext,
    gateway::Client,
    runtime::drain::Watch,
};

/// How often changes are told, if there are any.
const TICK: Duration = Duration::from_millis(100);

/// Connections that are told of, at most. What a page takes in ten times a
/// second, and so what a watcher costs, stays within that.
const TOLD: usize = 1000;

/// Keeps proxies in between from holding events back.
const NO_BUFFERING: (HeaderName, &str) = (HeaderName::from_static("x-accel-buffering"), "no");

/// Answers with all connections, and then with each change, until the server ends. A
/// watcher is counted by the limits as a WebSocket is, and is one of a small number.
pub(super) async fn events(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
) -> Response {
    let place = context.limits.enter(Some(client.peer.ip()), None);
    let (Ok(place), Some(share)) = (place, context.subscribers.take(client.peer.ip())) else {
        return too_many(&context, "too many clients watch /api/events already\n");
    };
    let watching = context.registry.watch();
    let mut ticks = interval(TICK);
    // Who takes events slowly gets fewer, not all that were missed.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let reporter = Reporter {
        watching,
        _place: place,
        _share: share,
        _exemption: permit.exempt(),
        told: None,
        untold: false,
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

/// Tells one client what has changed since it was told before.
struct Reporter {
    context: Arc<ServerContext>,
    watching: Watching,
    _place: Place,
    _share: Share,
    _exemption: Exemption,
    /// What was told of each connection; none as long as nothing was told at all.
    told: Option<BTreeMap<u64, (Arc<Entry>, Carried)>>,
    /// There have been more than are told of.
    untold: bool,
    ticks: Interval,
    drain: Watch,
}

impl Reporter {
    /// What is to be told next, as soon as there is something; none when the server
    /// ends.
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
        let Some(told) = &mut self.told else { return Some(self.all()) };
        let (mut opened, mut closed) = (Vec::new(), Vec::new());
        loop {
            match self.watching.changes.try_recv() {
                Ok(Change::Opened(entry)) => {
                    let full = told.len() >= TOLD;
                    match told.entry(entry.id()) {
                        btree_map::Entry::Occupied(_) => {}
                        btree_map::Entry::Vacant(_) if full => self.untold = true,
                        btree_map::Entry::Vacant(new) => {
                            let connection = entry.connection();
                            new.insert((entry, connection.carried));
                            opened.push(connection);
                        }
                    }
                }
                Ok(Change::Closed(entry, end)) => {
                    if told.remove(&entry.id()).is_some() {
                        let (id, end, carried) = (entry.id(), end.to_string(), entry.carried());
                        closed.push(Closed { id, end, carried });
                    }
                }
                Err(TryRecvError::Lagged(_)) => return Some(self.all()),
                Err(TryRecvError::Empty | TryRecvError::Closed) => break,
            }
        }
        let total = self.context.registry.count();
        if self.untold && total <= TOLD {
            return Some(self.all());
        }
        let mut moved = Vec::new();
        for (&id, (entry, before)) in told {
            let carried = entry.carried();
            if carried != *before {
                *before = carried;
                moved.push(Moved { id, carried });
            }
        }
        let quiet = opened.is_empty() && moved.is_empty() && closed.is_empty();
        (!quiet).then_some(Event::Changes { total, opened, moved, closed })
    }

    /// Everything anew.
    fn all(&mut self) -> Event {
        // What changes from here on is told later; what has changed is in what follows.
        self.watching.changes = self.watching.changes.resubscribe();
        let entries = self.context.registry.entries();
        let total = entries.len();
        self.untold = total > TOLD;
        let told = entries.into_iter().take(TOLD).map(|entry| {
            let connection = entry.connection();
            let (id, carried) = (connection.id, connection.carried);
            (connection, (id, (entry, carried)))
        });
        let (connections, told) = told.unzip();
        self.told = Some(told);
        Event::All { total, connections }
    }
}
