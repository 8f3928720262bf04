//! The connections of all replicas of a cluster: `/api/connections?cluster`, and the changes for
//! `/api/events?cluster`.

use std::{sync::Arc, time::Instant};

use axum::{
    Json,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use echogate_proto::{
    api::{ClusterConnections, Connection, Event, ReplicaConnections},
    reason::{self, fill},
};
use tokio::time::timeout;

use super::query;
use crate::{
    connections::{
        registry::reporter::Reporter,
        replicas::{ANSWER_TIMEOUT, Change, Replicas, Watch},
    },
    context::ServerContext,
    text::escape::escape,
};

/// Whether a query asks for all replicas.
///
/// # Errors
///
/// One line: a parameter is repeated.
pub(super) fn is_asked_for(query: Option<&str>) -> Result<bool, String> {
    Ok(query::parameters(query)?.contains(&("cluster", None)))
}

/// Lists the connections of all replicas, by replica. A replica that does not answer within
/// [`ANSWER_TIMEOUT`] is listed as missing.
pub(super) async fn list(context: &ServerContext) -> Response {
    let replicas = &context.replicas;
    let Some(own) = replicas.own() else {
        let reason = "cluster: this server is no replica of a cluster (--cluster)\n";
        return (StatusCode::BAD_REQUEST, reason).into_response();
    };
    let mut watch = replicas.watch(Instant::now());
    let complete = async {
        while !replicas.is_complete(Instant::now()) {
            watch.changed().await;
        }
    };
    timeout(ANSWER_TIMEOUT, complete).await.ok();
    let entries = context.registry.entries_after(0, replicas.share());
    let own = ReplicaConnections {
        name: own,
        missing: false,
        total: context.registry.count(),
        connections: entries.iter().map(|entry| entry.connection()).collect(),
    };
    let others = replicas.list(Instant::now());
    let all = ClusterConnections { replicas: [own].into_iter().chain(others).collect() };
    ([(header::CACHE_CONTROL, "no-store")], Json(all)).into_response()
}

/// The reason for which there is no connection `id` to observe or to end.
pub(super) fn no_connection(context: &ServerContext, id: &str) -> String {
    let elsewhere = id.parse().ok().and_then(|number| context.replicas.find(number));
    let id = escape(id);
    let Some((replica, url, there)) = elsewhere else {
        return fill(reason::NO_CONNECTION, &[&id]);
    };
    let (there, replica) = (there.to_string(), escape(&replica));
    match url {
        Some(url) => fill(reason::OF_REPLICA_AT, &[&id, &there, &replica, &escape(&url)]),
        None => fill(reason::OF_REPLICA, &[&id, &there, &replica]),
    }
}

/// The reports to one subscriber, about the connections of this server or of all replicas.
#[derive(Debug)]
pub(super) struct ClusterReporter {
    own: Reporter,
    others: Option<(Replicas, Watch)>,
    /// The missing replicas of the last report.
    missing: Vec<Arc<str>>,
}

impl ClusterReporter {
    /// Subscribes to the connections: without `--cluster`, to those of this server alone.
    pub(super) fn new(context: &ServerContext, is_cluster: bool) -> ClusterReporter {
        let replicas = &context.replicas;
        let is_cluster = is_cluster && replicas.own().is_some();
        let others = is_cluster.then(|| (replicas.clone(), replicas.watch(Instant::now())));
        ClusterReporter { own: Reporter::new(&context.registry), others, missing: Vec::new() }
    }

    /// The changes since the last report; `None` if there are none.
    pub(super) fn report(&mut self) -> Option<Event> {
        let Some((replicas, watch)) = &mut self.others else { return self.own.report() };
        self.own.set_most(replicas.share());
        let missing = replicas.missing(Instant::now());
        let is_new = missing != self.missing;
        self.missing.clone_from(&missing);
        let (own, others) = match (self.own.report(), watch.changes()) {
            (None, Some(others)) if others.is_empty() && !is_new => return None,
            (Some(Event::Changes { opened, moved, closed, .. }), Some(others)) => {
                ((opened, moved, closed), others)
            }
            (None, Some(others)) => (Default::default(), others),
            (Some(Event::All { total, connections, .. }), _) => {
                return Some(with_others((total, connections), replicas, missing));
            }
            (_, None) => return Some(with_others(self.own.list(), replicas, missing)),
        };
        let (mut opened, mut moved, mut closed) = own;
        for change in &others {
            if let Change::Some { opened: more, moved: bytes, closed: ended } = &**change {
                opened.extend_from_slice(more);
                moved.extend_from_slice(bytes);
                closed.extend_from_slice(ended);
            }
        }
        let total = self.own.total().saturating_add(replicas.total());
        Some(Event::Changes { total, opened, moved, closed, missing })
    }
}

/// An event with all connections: those of this server, and then those of other replicas.
fn with_others(
    (total, mut connections): (usize, Vec<Connection>),
    replicas: &Replicas,
    missing: Vec<Arc<str>>,
) -> Event {
    connections.extend(replicas.connections(Instant::now()));
    Event::All { total: total.saturating_add(replicas.total()), connections, missing }
}
