//! `/api/events`: live connections and their traffic, as server-sent events.

use std::{convert::Infallible, sync::Arc, time::Duration};

use axum::{
    Extension,
    extract::{RawQuery, State},
    http::HeaderName,
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use echogate_proto::{api::Event, reason};
use futures_util::stream;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::{
    limits::StreamPermit,
    query,
    replicas::{self, ClusterReporter},
};
use crate::{
    connections::limits::http::HttpPermit, context::ServerContext, gateway::Client,
    runtime::drain::ShutdownWatch,
};

/// The interval at which changes are reported, if there are any.
const REPORT_INTERVAL: Duration = Duration::from_millis(100);

/// Keeps nginx from buffering events.
pub(super) const NO_BUFFERING: (HeaderName, &str) =
    (HeaderName::from_static("x-accel-buffering"), "no");

/// Reports all connections, and then each change, until the shutdown. A subscriber is counted like
/// a WebSocket, and by a limit on subscribers. `?cluster` adds the connections of other replicas.
pub(super) async fn events(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    RawQuery(query): RawQuery,
) -> Response {
    let is_cluster = match replicas::is_asked_for(query.as_deref()) {
        Ok(is_cluster) => is_cluster,
        Err(reason) => return query::bad_request(&reason),
    };
    let too_many = reason::TOO_MANY_SUBSCRIBERS;
    let shares = &context.subscribers;
    let stream_permit = match StreamPermit::take(&context, &client, &permit, shares, too_many) {
        Ok(stream_permit) => stream_permit,
        Err(limit) => return limit.response(&context),
    };
    let mut ticks = interval(REPORT_INTERVAL);
    // A slow subscriber gets fewer events, each with more changes.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let subscriber = Subscriber {
        reporter: ClusterReporter::new(&context, is_cluster),
        _permit: stream_permit,
        ticks,
        drain: context.http.drain.watch(),
    };
    let events = stream::unfold(subscriber, |mut subscriber| async move {
        let event = subscriber.next().await?;
        let event = sse::Event::default().json_data(event).expect("numbers and texts are JSON");
        Some((Ok::<_, Infallible>(event), subscriber))
    });
    ([NO_BUFFERING], Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// A subscriber to the changes of connections.
struct Subscriber {
    reporter: ClusterReporter,
    _permit: StreamPermit,
    ticks: Interval,
    drain: ShutdownWatch,
}

impl Subscriber {
    /// The next event, as soon as there is a change; none at the shutdown.
    async fn next(&mut self) -> Option<Event> {
        loop {
            tokio::select! {
                _ = self.ticks.tick() => {}
                () = self.drain.draining() => return None,
            }
            if let Some(event) = self.reporter.report() {
                return Some(event);
            }
        }
    }
}
