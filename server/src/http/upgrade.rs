//! GET on a route becomes a WebSocket connection:
//! handshake, policy, dial, 101, bridge.

use std::sync::Arc;

use axum::{
    Extension,
    body::Body,
    extract::{Query, State},
    http::{HeaderMap, Request, StatusCode, Uri, header},
    response::{IntoResponse, Response},
};
use echogate_proto::close::CloseCode;
use hyper::upgrade::{OnUpgrade, Upgraded};
use hyper_util::rt::TokioIo;
use serde::Deserialize;

use super::{Client, Route, handshake::Handshake, policy, switching::Switching};
use crate::{
    bridge,
    config::Settings,
    dial::DialError,
    escape::escape,
    limits::{Full, Place},
    proxy,
    registry::{Arrival, Bridged, Kind, Peer},
    shared::Shared,
    stream::Stream,
};

/// Why a handshake leads to no upstream.
struct Refusal {
    /// For clients that can read it.
    status: StatusCode,
    /// For pages, which cannot.
    code: CloseCode,
    reason: String,
}

impl From<DialError> for Refusal {
    fn from(e: DialError) -> Refusal {
        Refusal { status: e.status, code: e.code, reason: e.reason }
    }
}

impl From<Full> for Refusal {
    fn from(full: Full) -> Refusal {
        let status = StatusCode::SERVICE_UNAVAILABLE;
        Refusal { status, code: CloseCode::TRY_AGAIN_LATER, reason: full.to_string() }
    }
}

/// Seconds after which a client that found no place may come again.
const RETRY_AFTER: u32 = 5;

/// Answers a request on a route.
pub(super) async fn upgrade(
    route: Arc<Route>,
    State(shared): State<Arc<Shared>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let (mut request, _) = request.into_parts();
    let handshake = match Handshake::of(&request, route.protocol.as_deref()) {
        Ok(handshake) => handshake,
        Err(not) => return not.into_response(),
    };
    let Some(on_upgrade) = request.extensions.remove::<OnUpgrade>() else {
        return (StatusCode::BAD_REQUEST, "this connection cannot be upgraded\n").into_response();
    };
    let is_page = policy::is_page(&request.headers);
    match admit(&shared, &route, &client, &request.headers).await {
        Ok((place, upstream)) => {
            let (label, half_close) = (label(&request.uri), handshake.half_close());
            let ends = Ends { client, label, place, upstream, half_close };
            bridge_upgraded(&shared, &route, on_upgrade, ends);
            handshake.response()
        }
        Err(refusal) => {
            refuse(&shared, &route.path, &client, is_page.then_some(on_upgrade), handshake, refusal)
        }
    }
}

/// Lets a client in if it may come, there is room, and the upstream takes it.
async fn admit(
    shared: &Shared,
    route: &Route,
    client: &Client,
    headers: &HeaderMap,
) -> Result<(Place, Stream), Refusal> {
    check_policy(shared, client, headers)?;
    let place = shared.limits.enter(Some(client.peer.ip()), Some(&route.limit))?;
    let ends = proxy::Ends { source: client.peer, destination: client.local };
    let header = route.proxy.map(|version| version.header(Some(ends)));
    let peer = Peer::Address(client.peer);
    let within = shared.settings.dial_timeout;
    let upstream = route.target.dial(peer, within, &header.unwrap_or_default()).await?;
    Ok((place, upstream))
}

/// Checks whether a page that sent these headers may connect at all.
fn check_policy(shared: &Shared, client: &Client, headers: &HeaderMap) -> Result<(), Refusal> {
    let Settings { allow_host, allow_origin, .. } = &shared.settings;
    let addressed = policy::Addressed {
        is_tls: client.is_tls,
        forwarded: Some(&client.forwarded),
        hosts: allow_host,
        origins: allow_origin,
    };
    match addressed.refusal(headers) {
        None => Ok(()),
        Some(reason) => {
            Err(Refusal { status: StatusCode::FORBIDDEN, code: CloseCode::POLICY, reason })
        }
    }
}

/// Answers a request on a path that is none of ours.
pub(super) async fn no_such_route(
    State(shared): State<Arc<Shared>>,
    Extension(client): Extension<Client>,
    request: Request<Body>,
) -> Response {
    let (mut request, _) = request.into_parts();
    let path = request.uri.path().to_owned();
    let Ok(handshake) = Handshake::of(&request, None) else {
        let reason = format!("no such path: {}\n", escape(&path));
        return (StatusCode::NOT_FOUND, reason).into_response();
    };
    // A page that may not connect does not learn which routes there are.
    let refusal =
        check_policy(&shared, &client, &request.headers).err().unwrap_or_else(|| Refusal {
            status: StatusCode::NOT_FOUND,
            code: CloseCode::POLICY,
            reason: format!("no such route: {}", escape(&path)),
        });
    let is_page = policy::is_page(&request.headers);
    let on_upgrade = request.extensions.remove::<OnUpgrade>().filter(|_| is_page);
    refuse(&shared, &path, &client, on_upgrade, handshake, refusal)
}

/// Tells a client why it is refused: by the status, or, given a page's upgrade, by a
/// Close.
fn refuse(
    shared: &Arc<Shared>,
    path: &str,
    client: &Client,
    page: Option<OnUpgrade>,
    handshake: Handshake,
    refusal: Refusal,
) -> Response {
    let Refusal { status, code, reason } = refusal;
    tracing::info!(peer = %client.peer, path, status = status.as_u16(), "refused: {reason}");
    let Some(on_upgrade) = page else {
        let mut response = (status, format!("{reason}\n")).into_response();
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER.into());
        }
        return response;
    };
    shared.bridges.tracker.spawn(async move {
        if let Some((stream, _)) = upgraded(on_upgrade).await {
            bridge::turn_away(stream, code, &reason).await;
        }
    });
    handshake.response()
}

/// The longest label, in bytes.
const MAX_LABEL: usize = 64;

/// The name that a client gives itself by `?label=`, by which it finds its connection
/// in what the API tells: visible ASCII of at most [`MAX_LABEL`] bytes.
fn label(uri: &Uri) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Parameters {
        label: Box<str>,
    }
    let Query(Parameters { label }) = Query::try_from_uri(uri).ok()?;
    let fits = (1..=MAX_LABEL).contains(&label.len());
    (fits && label.bytes().all(|byte| byte.is_ascii_graphic())).then_some(label)
}

/// A bridge's ends, and what was agreed on.
struct Ends {
    client: Client,
    label: Option<Box<str>>,
    place: Place,
    upstream: Stream,
    half_close: bool,
}

/// Bridges the connection as soon as the 101 is out.
fn bridge_upgraded(shared: &Arc<Shared>, route: &Arc<Route>, on_upgrade: OnUpgrade, ends: Ends) {
    let (shared, route) = (shared.clone(), route.clone());
    shared.bridges.tracker.clone().spawn(async move {
        let Some((stream, early)) = upgraded(on_upgrade).await else { return };
        let Ends { client, label, place, upstream, half_close } = ends;
        let bridged = Bridged { label, upstream_from: upstream.local_addr().ok() };
        let arrival = Arrival {
            kind: Kind::WebSocket,
            peer: Peer::Address(client.peer),
            target: route.path.clone(),
            bridged: bridged.known(),
        };
        let entry = shared.registry.enter(arrival, Some(place));
        let is_http2 = matches!(stream, Stream::Http2(_));
        let terms = bridge::Terms { options: route.options.clone(), half_close };
        let bridge = bridge::run(stream, upstream, &early, terms, entry, &shared.bridges.drain);
        // A task of its own: it is small, and lives for as long as the connection.
        if is_http2 {
            // Its bytes come and go by tasks of the runtime.
            shared.bridges.tracker.spawn(bridge);
        } else {
            shared.carry(&shared.bridges, bridge);
        }
    });
}

/// The stream under an upgraded connection, and what was read from it already.
async fn upgraded(on_upgrade: OnUpgrade) -> Option<(Stream, Vec<u8>)> {
    let upgraded: Upgraded = on_upgrade
        .await
        .inspect_err(|e| tracing::debug!("the connection ended before its upgrade: {e}"))
        .ok()?;
    Some(match upgraded.downcast::<TokioIo<Switching<Stream>>>() {
        // A copy: the buffer it was read into is large.
        Ok(parts) => (parts.io.into_inner().into_inner(), parts.read_buf.to_vec()),
        // Over HTTP/2 it is one of many streams on its connection.
        Err(upgraded) => (Stream::Http2(Box::new(TokioIo::new(upgraded))), Vec::new()),
    })
}
