//! The server's side of the opening handshake, without the HTTP server around it.

use std::{cell::Cell, convert::Infallible, io, rc::Rc};

use axum::{
    http::{Request, StatusCode},
    response::{IntoResponse, Response},
};
use echogate_proto::framing::Framing;
use hyper::{body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;

use crate::{
    client::transport::{ByteStream, Connection, MessageFormat, PeerRole},
    config::AllowedOrigin,
    gateway::{
        handshake::{Handshake, ProtocolChoice},
        origin::OriginCheck,
        switching::{Switching, SwitchingHead},
    },
    text::{escape::escape, io_error::describe},
};

/// The WebSocket clients that are accepted, and the format of the messages to them.
#[derive(Clone, Debug)]
pub(in crate::client) struct Rules {
    /// The path that clients must ask for; `/` stands for any.
    pub(in crate::client) path: String,
    /// The pages that may connect besides those of the listener's own origin.
    pub(in crate::client) allowed_origins: Vec<AllowedOrigin>,
    pub(in crate::client) binary: bool,
    /// The subprotocol to select if it is offered.
    pub(in crate::client) protocol: Option<String>,
}

/// An accepted WebSocket.
#[derive(Debug)]
pub(in crate::client) struct Accepted<S> {
    pub(in crate::client) stream: S,
    /// The bytes that were read with the request.
    pub(in crate::client) early: Vec<u8>,
    half_close: bool,
}

impl<S: ByteStream + 'static> Accepted<S> {
    /// The connection, with messages in the format of `rules`.
    pub(super) async fn connection(self, rules: &Rules) -> Connection {
        let Accepted { stream, early, half_close } = self;
        let format = MessageFormat { half_close, binary: rules.binary };
        Connection::of_websocket(Box::new(stream), early, PeerRole::Client, format).await
    }
}

/// Accepts the WebSocket of a client.
///
/// # Errors
///
/// The reason why the client was refused, or has not asked for a WebSocket.
pub(in crate::client) async fn accept<S: ByteStream + 'static>(
    stream: S,
    is_tls: bool,
    rules: &Rules,
) -> Result<Accepted<S>, String> {
    let head = SwitchingHead::default();
    let outcome = Rc::new(Cell::new(None));
    let (set_outcome, set_head, set_rules) = (outcome.clone(), head.clone(), rules.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (response, result) = match answer(request, is_tls, &set_rules) {
            Ok(handshake) => {
                let half_close = handshake.half_close();
                let response = handshake.response();
                set_head.set(response.headers());
                (response, Ok(half_close))
            }
            Err(refusal) => {
                let Refusal { response, reason } = *refusal;
                (response, Err(reason))
            }
        };
        set_outcome.set(Some(result));
        async move { Ok::<_, Infallible>(response) }
    });
    let stream = TokioIo::new(Switching::new(stream, head));
    let mut http = http1::Builder::new();
    let connection = http.keep_alive(false).serve_connection(stream, service);
    let parts = connection
        .without_shutdown()
        .await
        .map_err(|error| format!("no HTTP request: {}", describe(&io::Error::other(error))))?;
    let half_close = match outcome.take() {
        Some(result) => result?,
        None => return Err("the client closed the connection without a request".to_owned()),
    };
    let stream = parts.io.into_inner().into_inner();
    Ok(Accepted { stream, early: parts.read_buf.to_vec(), half_close })
}

/// The response that refuses a request, and the reason.
struct Refusal {
    response: Response,
    reason: String,
}

/// Checks a request.
///
/// # Errors
///
/// The refusal, in a box because it is large.
fn answer(
    request: Request<Incoming>,
    is_tls: bool,
    rules: &Rules,
) -> Result<Handshake, Box<Refusal>> {
    let (request, _) = request.into_parts();
    let refuse = |status: StatusCode, reason: String| {
        let response = (status, format!("{reason}\n")).into_response();
        let reason = format!("{reason} (answered with {})", status.as_u16());
        Box::new(Refusal { response, reason })
    };
    let asked = request.uri.path_and_query().map_or("/", |target| target.as_str());
    let asked = if rules.path.contains('?') { asked } else { request.uri.path() };
    if rules.path != "/" && rules.path != asked {
        let reason = format!("no path {}: this listener has {}", escape(asked), rules.path);
        return Err(refuse(StatusCode::NOT_FOUND, reason));
    }
    let origins = &rules.allowed_origins;
    let check = OriginCheck { is_tls, forwarded: None, hosts: &[], origins };
    if let Some(reason) = check.refusal(&request.headers) {
        return Err(refuse(StatusCode::FORBIDDEN, reason));
    }
    let choice = ProtocolChoice::Framing(rules.protocol.as_deref(), Framing::Bytes);
    Handshake::of(&request, choice).map_err(|why| {
        let response = why.into_response();
        let reason =
            format!("no WebSocket handshake (answered with {})", response.status().as_u16());
        Box::new(Refusal { response, reason })
    })
}
