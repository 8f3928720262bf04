//! `/api/connections/ID/tap`: what passes on a live connection, as server-sent events. The rules of
//! access are in access.rs.

use std::{collections::VecDeque, convert::Infallible, sync::Arc, time::Instant};

use axum::{
    Extension,
    extract::{Path, RawQuery, State},
    http::{HeaderMap, StatusCode},
    response::{
        IntoResponse, Response,
        sse::{self, KeepAlive, Sse},
    },
};
use bytes::Bytes;
use echogate_proto::recording::{Event, Opened, Place, Record};
use futures_util::stream;

use super::{
    access::{self, Action},
    events::NO_BUFFERING,
    replicas::no_connection,
    too_many::too_many,
};
use crate::{
    connections::{
        limits::{
            ConnectionPermit,
            http::{Exemption, HttpPermit},
            share::Share,
        },
        registry::{Entry, Peer},
        tap::{Attach, Sides, Sink},
    },
    context::ServerContext,
    gateway::Client,
    recording::{
        decode::RecordDecoder,
        wire::{WireEvent, WireRecord},
    },
    text::escape::escape,
};

/// The bytes of the events that wait for one observer at most.
const MAX_QUEUE: usize = 1 << 20;

/// The bytes that are decoded at once, which bounds the number of frames in memory.
const PIECE: usize = 16 * 1024;

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
    let tap = Action::Tap(entry.as_deref());
    if let Err(reason) = access::check(&context, &client.peer, &headers, &tap) {
        return refuse(StatusCode::FORBIDDEN, reason);
    }
    let sides = match sides(query.as_deref().unwrap_or_default()) {
        Ok(sides) => sides,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let observer = entry.ok_or(Refused::NoConnection);
    match observer
        .and_then(|entry| Observer::new(&context, client.peer.clone(), &permit, entry, sides))
    {
        Ok(observer) => observer.into_response(),
        Err(Refused::NoConnection) => refuse(StatusCode::NOT_FOUND, no_connection(&context, &id)),
        Err(Refused::TooMany(reason)) => too_many(&context, reason),
    }
}

/// The refusal of an observer that has access.
enum Refused {
    NoConnection,
    TooMany(String),
}

impl From<Attach> for Refused {
    fn from(refused: Attach) -> Refused {
        match refused {
            Attach::Ended => Refused::NoConnection,
            Attach::TooMany | Attach::NoRoom => Refused::TooMany(format!("{refused}\n")),
        }
    }
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
    lost: u64,
    has_ended: bool,
    _permit: ConnectionPermit,
    _share: Share,
    _exemption: Exemption,
}

impl Observer {
    /// Attaches an observer, if the limits allow it.
    fn new(
        context: &ServerContext,
        peer: Peer,
        permit: &Arc<HttpPermit>,
        entry: Arc<Entry>,
        sides: Sides,
    ) -> Result<Observer, Refused> {
        let connection_permit = context.limits.enter(peer.ip(), None);
        let (Ok(connection_permit), Some(share)) =
            (connection_permit, context.taps.take(peer.ip()))
        else {
            let reason = "too many observers of connections (64, and 16 of one address)\n";
            return Err(Refused::TooMany(reason.to_owned()));
        };
        let sink = Sink::new(MAX_QUEUE, context.tap_budget.clone());
        entry.attach(&sink, sides, |opened| Opened {
            upstream: access::upstream(context, &opened.target),
            ..opened
        })?;
        tracing::info!(id = entry.id(), observer = %peer, "tap begins");
        Ok(Observer {
            entry,
            sink,
            peer,
            since: Instant::now(),
            decoder: RecordDecoder::default(),
            undecoded: None,
            decoded: VecDeque::new(),
            lost: 0,
            has_ended: false,
            _permit: connection_permit,
            _share: share,
            _exemption: permit.exempt(),
        })
    }

    fn into_response(self) -> Response {
        let events = stream::unfold(self, |mut observer| async move {
            let record = observer.next().await?;
            let event =
                sse::Event::default().json_data(record).expect("numbers and texts are JSON");
            Some((Ok::<_, Infallible>(event), observer))
        });
        ([NO_BUFFERING], Sse::new(events).keep_alive(KeepAlive::default())).into_response()
    }

    /// The next event; none behind the end of the connection, which the shutdown brings as well.
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
                None => self.sink.receive().await,
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
