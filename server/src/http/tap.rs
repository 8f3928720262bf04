//! `/api/connections/ID/tap`: what passes on a live connection, as server-sent events.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode, header},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use echogate_proto::recording::{Event, Opened, Place, Record};
use futures_util::stream;

use super::{events::NO_BUFFERING, too_many::too_many};
use crate::{
    connections::{
        counters::Refusal,
        limits::{
            ConnectionPermit,
            http::{Exemption, HttpPermit},
            share::Share,
        },
        registry::{Entry, Peer},
        tap::{Attach, Sides, Sink, SinkLimits},
    },
    context::ServerContext,
    gateway::Client,
    recording::{
        decode::RecordDecoder,
        wire::{WireEvent, WireRecord},
    },
    runtime::drain::ShutdownWatch,
    text::escape::escape,
};

/// The events that wait for one observer.
const LIMITS: SinkLimits = SinkLimits { bytes: 1 << 20 };

/// The bytes that are decoded at once, which bounds the number of frames in memory.
const PIECE: usize = 16 * 1024;

/// The header fields by which proxies name their client.
const PROXY_FIELDS: [&str; 3] = ["forwarded", "x-forwarded-for", "x-real-ip"];

/// Reports what passes on a connection until that ends. An observer is counted by the limits as a
/// WebSocket is, and there is a limit on observers besides.
pub(super) async fn tap(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let refuse = |status: StatusCode, reason: String| {
        tracing::info!(peer = %client.peer, "tap of connection {} refused: {reason}", escape(&id));
        (status, format!("{reason}\n")).into_response()
    };
    let entry = id.parse().ok().and_then(|id| context.registry.entry(id));
    let is_private = entry.as_deref().is_some_and(|entry| is_private(&context, entry));
    if let Err(reason) = check_access(&context, &client.peer, &headers, is_private) {
        context.counters.refused(Refusal::Policy);
        return refuse(StatusCode::FORBIDDEN, reason.to_owned());
    }
    let sides = match sides(query.as_deref().unwrap_or_default()) {
        Ok(sides) => sides,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let no_connection =
        || format!("no open connection has the ID {} (/api/connections lists them)", escape(&id));
    let Some(entry) = entry else { return refuse(StatusCode::NOT_FOUND, no_connection()) };
    let connection_permit = context.limits.enter(client.peer.ip(), None);
    let (Ok(connection_permit), Some(share)) =
        (connection_permit, context.taps.take(client.peer.ip()))
    else {
        return too_many(
            &context,
            "too many observers of connections (64, and 16 of one address)\n",
        );
    };
    let sink = Sink::new(LIMITS, context.tap_budget.clone());
    match entry.attach(&sink, sides, |opened| described(&context, opened)) {
        Ok(()) => {}
        Err(Attach::Ended) => return refuse(StatusCode::NOT_FOUND, no_connection()),
        Err(Attach::TooMany) => {
            return too_many(&context, "the connection has 8 observers already\n");
        }
        Err(Attach::NoRoom) => {
            return too_many(&context, "16 MiB of events wait for the observers of connections\n");
        }
    }
    tracing::info!(id = entry.id(), observer = %client.peer, "tap begins");
    let observer = Observer {
        entry,
        sink,
        peer: client.peer,
        since: Instant::now(),
        decoder: RecordDecoder::default(),
        undecoded: None,
        decoded: VecDeque::new(),
        lost: 0,
        has_ended: false,
        drain: context.http.drain.watch(),
        _permit: connection_permit,
        _share: share,
        _exemption: permit.exempt(),
    };
    let events = stream::unfold(observer, |mut observer| async move {
        let record = observer.next().await?;
        let event = sse::Event::default().json_data(record).expect("numbers and texts are JSON");
        Some((Ok::<_, Infallible>(event), observer))
    });
    ([NO_BUFFERING], Sse::new(events).keep_alive(KeepAlive::default())).into_response()
}

/// Checks that a client may observe connections: it is on this machine, or presents the operators'
/// token. A `private` connection needs the token in any case.
fn check_access(
    context: &ServerContext,
    peer: &Peer,
    headers: &HeaderMap,
    is_private: bool,
) -> Result<(), &'static str> {
    if !context.settings.tap {
        return Err("taps are disabled (--no-tap)");
    }
    if let Some(authorization) = headers.get(header::AUTHORIZATION) {
        let token = authorization.to_str().ok().and_then(|value| value.split_once(' '));
        let token = token.filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"));
        return match token {
            Some((_, token)) if context.hub.token().matches(token.trim()) => Ok(()),
            _ => Err("Authorization: expected Bearer and the operators' token"),
        };
    }
    if is_private {
        return Err("operators present their token on this connection: a tap needs the token \
            (Authorization: Bearer TOKEN)");
    }
    // A client of a Unix socket is on this machine.
    if !peer.ip().is_none_or(|ip| ip.to_canonical().is_loopback()) {
        return Err("a tap from another machine needs the operators' token \
            (Authorization: Bearer TOKEN)");
    }
    // A proxy on this machine that is not trusted would make all of its clients local ones.
    let is_trusted = context.settings.forwarded_from.iter().any(|proxy| proxy.is(peer));
    if !is_trusted && PROXY_FIELDS.iter().any(|field| headers.contains_key(*field)) {
        return Err("a tap through a proxy needs --forwarded-from for the proxy, or the \
            operators' token (Authorization: Bearer TOKEN)");
    }
    Ok(())
}

/// Whether the operators' token passes on a connection.
fn is_private(context: &ServerContext, entry: &Entry) -> bool {
    const OPERATOR: &str = "operator";
    let leads_there =
        |upstream: &str| upstream.strip_prefix("service:").is_some_and(|name| name == OPERATOR);
    entry.target() == OPERATOR
        || upstream(context, entry.target()).is_some_and(|url| leads_there(&url))
}

/// The upstream of a route or a forward under the current configuration.
fn upstream(context: &ServerContext, target: &str) -> Option<String> {
    let routes = &context.endpoints.routes;
    routes.iter().find(|route| *route.path == *target).map(|route| route.upstream.clone())
}

/// Completes the description of a connection that was not observed from its beginning.
fn described(context: &ServerContext, opened: Opened) -> Opened {
    Opened { upstream: upstream(context, &opened.target), ..opened }
}

/// The sides that a query asks for.
fn sides(query: &str) -> Result<Sides, String> {
    let pairs = query.split('&').filter(|pair| !pair.is_empty());
    let mut sides = Sides::Both;
    for pair in pairs {
        sides = match pair {
            "side=client" => Sides::Client,
            "side=upstream" => Sides::Upstream,
            "side=both" => Sides::Both,
            other => {
                let other = escape(other);
                return Err(format!(
                    "\"{other}\": expected side=client, side=upstream or side=both"
                ));
            }
        };
    }
    Ok(sides)
}

/// An observer of a connection.
struct Observer {
    entry: Arc<Entry>,
    sink: Sink,
    peer: Peer,
    since: Instant,
    decoder: RecordDecoder,
    /// The rest of an event that is decoded in pieces.
    undecoded: Option<(WireRecord, Place, Bytes)>,
    /// Events that are decoded and not sent.
    decoded: VecDeque<Record>,
    /// The number of events that were lost.
    lost: u64,
    has_ended: bool,
    drain: ShutdownWatch,
    _permit: ConnectionPermit,
    _share: Share,
    _exemption: Exemption,
}

impl Observer {
    /// The next event; none behind the end of the connection, and at the shutdown.
    async fn next(&mut self) -> Option<Record> {
        loop {
            if let Some(record) = self.decoded.pop_front() {
                match &record.event {
                    Event::Closed { .. } => self.has_ended = true,
                    Event::Lost(lost) => self.lost += lost.events,
                    _ => {}
                }
                return Some(record);
            }
            if self.has_ended {
                return None;
            }
            let record = match self.undecoded.take() {
                Some(undecoded) => self.piece(undecoded),
                None => tokio::select! {
                    record = self.sink.receive() => record,
                    () = self.drain.draining() => return None,
                },
            };
            let record = match record.event {
                WireEvent::Bytes(place, ref bytes)
                    if bytes.len() > PIECE && self.decoder.has_frames(record.connection, place) =>
                {
                    let bytes = bytes.clone();
                    self.piece((record, place, bytes))
                }
                _ => record,
            };
            self.decoder.decode(record, |record| self.decoded.push_back(record));
        }
    }

    /// The first piece of an event. The rest is left for later.
    fn piece(&mut self, (record, place, mut bytes): (WireRecord, Place, Bytes)) -> WireRecord {
        let first = bytes.split_to(PIECE.min(bytes.len()));
        let piece = WireRecord { event: WireEvent::Bytes(place, first), ..record.clone() };
        if !bytes.is_empty() {
            self.undecoded = Some((record, place, bytes));
        }
        piece
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.entry.detach(&self.sink);
        let Observer { entry, peer, lost, .. } = self;
        let seconds = format_args!("{:.3}", self.since.elapsed().as_secs_f64());
        tracing::info!(id = entry.id(), observer = %peer, seconds, lost, "tap ends");
    }
}
