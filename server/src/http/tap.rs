//! `/api/connections/ID/tap`: the events of a live connection, or of the next one that opens, as
//! server-sent events. The rules of access are in `access`.

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
use echogate_proto::{
    reason,
    recording::{Event, Opened, Record, TapPoint},
};
use futures_util::stream;

use super::{
    access::{self, Action},
    events::NO_BUFFERING,
    limits::{ApiRefusal, StreamPermit},
    query,
    replicas::no_connection,
};
use crate::{
    connections::{
        limits::http::HttpPermit,
        registry::{Entry, Peer, Registry},
        tap::{AttachError, AwaitingObserver, Sides, Sink},
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

/// The maximum size of the events that wait for one observer, in bytes.
const MAX_QUEUE: usize = 1 << 20;

/// The number of bytes that are decoded at once, which bounds the number of frames in memory.
const PIECE: usize = 16 * 1024;

/// The identifier that stands for the next connection.
const NEXT: &str = "next";

/// Reports the events of a connection until it ends. An observer is counted like a WebSocket, and
/// by a limit on observers.
pub(super) async fn tap(
    State(context): State<Arc<ServerContext>>,
    Extension(client): Extension<Client>,
    Extension(permit): Extension<Arc<HttpPermit>>,
    Path(id): Path<String>,
    RawQuery(query): RawQuery,
    headers: HeaderMap,
) -> Response {
    let refuse = |status: StatusCode, reason: String| {
        let which = match &*id {
            NEXT => "the next connection".to_owned(),
            id => format!("connection {}", escape(id)),
        };
        tracing::info!(peer = %client.peer, "tap of {which} refused: {reason}");
        (status, format!("{reason}\n")).into_response()
    };
    let entry = id.parse().ok().and_then(|id| context.registry.entry(id));
    let tap = Action::Tap(entry.as_deref());
    if let Err(reason) = access::check(&context, &client.peer, &headers, &tap) {
        return refuse(StatusCode::FORBIDDEN, reason);
    }
    let sides = match sides(query.as_deref()) {
        Ok(sides) => sides,
        Err(reason) => return refuse(StatusCode::BAD_REQUEST, reason),
    };
    let observer = Observer::new(&context, &client, &permit).and_then(|mut observer| {
        match entry {
            Some(entry) => observer.attach(&context, &entry, sides)?,
            None if id == NEXT => {
                let (sink, has_token) =
                    (observer.sink.clone(), headers.contains_key(header::AUTHORIZATION));
                context.registry.awaiting().add(AwaitingObserver { sink, sides, has_token });
            }
            None => return Err(Refused::NoConnection),
        }
        Ok(observer)
    });
    match observer {
        Ok(observer) => observer.into_response(),
        Err(Refused::NoConnection) => refuse(StatusCode::NOT_FOUND, no_connection(&context, &id)),
        Err(Refused::TooMany(limit)) => limit.response(&context),
    }
}

/// The refusal of an observer that has access.
enum Refused {
    NoConnection,
    TooMany(ApiRefusal),
}

impl From<ApiRefusal> for Refused {
    fn from(limit: ApiRefusal) -> Refused {
        Refused::TooMany(limit)
    }
}

impl From<AttachError> for Refused {
    fn from(refused: AttachError) -> Refused {
        match refused {
            AttachError::Ended => Refused::NoConnection,
            AttachError::TooMany | AttachError::NoRoom => {
                ApiRefusal::new(refused.to_string()).into()
            }
        }
    }
}

/// The sides that a query asks for.
fn sides(query: Option<&str>) -> Result<Sides, String> {
    let mut sides = Sides::Both;
    for parameter in query::parameters(query)? {
        sides = match parameter {
            ("side", Some("client")) => Sides::Client,
            ("side", Some("upstream")) => Sides::Upstream,
            ("side", Some("both")) => Sides::Both,
            other => {
                let other = query::as_written(other);
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
    registry: Registry,
    /// The connection; none while the observer waits for the next one.
    connection: Option<u64>,
    drain: ShutdownWatch,
    sink: Sink,
    peer: Peer,
    since: Instant,
    decoder: RecordDecoder,
    /// The rest of an event that is decoded in pieces.
    undecoded: Option<(WireRecord, TapPoint, Bytes)>,
    /// Events that are decoded and not sent.
    decoded: VecDeque<Record>,
    lost: u64,
    has_ended: bool,
    _permit: StreamPermit,
}

impl Observer {
    /// An observer of no connection so far, if the limits allow it.
    fn new(
        context: &ServerContext,
        client: &Client,
        permit: &Arc<HttpPermit>,
    ) -> Result<Observer, Refused> {
        let taps = &context.taps;
        let stream_permit =
            StreamPermit::take(context, client, permit, taps, reason::TOO_MANY_OBSERVERS)?;
        Ok(Observer {
            registry: context.registry.clone(),
            connection: None,
            drain: context.http.drain.watch(),
            sink: Sink::new(MAX_QUEUE, context.tap_budget.clone()),
            peer: client.peer.clone(),
            since: Instant::now(),
            decoder: RecordDecoder::default(),
            undecoded: None,
            decoded: VecDeque::new(),
            lost: 0,
            has_ended: false,
            _permit: stream_permit,
        })
    }

    /// Begins to observe a live connection.
    fn attach(
        &mut self,
        context: &ServerContext,
        entry: &Entry,
        sides: Sides,
    ) -> Result<(), Refused> {
        entry.attach(&self.sink, sides, |opened| Opened {
            upstream: context.upstream(&opened.target).map(str::to_owned),
            ..opened
        })?;
        self.begins(entry.id());
        Ok(())
    }

    fn begins(&mut self, connection: u64) {
        (self.connection, self.since) = (Some(connection), Instant::now());
        tracing::info!(id = connection, observer = %self.peer, "tap begins");
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

    /// The next event; none after the end of the connection, and none at the shutdown while the
    /// observer waits for the next connection.
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
                None => self.receive().await?,
            };
            let record = match record.event {
                WireEvent::Bytes(point, ref bytes)
                    if bytes.len() > PIECE && self.decoder.has_frames(record.connection, point) =>
                {
                    let bytes = bytes.clone();
                    self.piece((record, point, bytes))
                }
                _ => record,
            };
            self.decoder.decode(record, |record| self.decoded.push_back(record));
        }
    }

    /// The next undecoded event.
    async fn receive(&mut self) -> Option<WireRecord> {
        if self.connection.is_some() {
            return Some(self.sink.receive().await);
        }
        let record = tokio::select! {
            record = self.sink.receive() => record,
            () = self.drain.draining() => return None,
        };
        if let WireEvent::Opened(_) = record.event {
            self.begins(record.connection);
        }
        Some(record)
    }

    /// The first piece of an event. The rest is left for later.
    fn piece(&mut self, (record, point, mut bytes): (WireRecord, TapPoint, Bytes)) -> WireRecord {
        let first = bytes.split_to(PIECE.min(bytes.len()));
        let piece = WireRecord { event: WireEvent::Bytes(point, first), ..record.clone() };
        if !bytes.is_empty() {
            self.undecoded = Some((record, point, bytes));
        }
        piece
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        self.sink.close();
        let Observer { registry, peer, lost, .. } = self;
        let Some(id) = self.connection else { return };
        if let Some(entry) = registry.entry(id) {
            entry.detach(&self.sink);
        }
        let seconds = format_args!("{:.3}", self.since.elapsed().as_secs_f64());
        tracing::info!(id, observer = %peer, seconds, lost, "tap ends");
    }
}
