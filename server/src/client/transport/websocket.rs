//! Connections that are WebSockets.

use std::{
    cell::{Cell, RefCell},
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::{
    close::CloseCode,
    ws::{self, Decoder, Event, Violation},
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use thiserror::Error as ThisError;
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{CapacityError, Error, ProtocolError},
        protocol::{CloseFrame, Message, Role, WebSocketConfig},
    },
};

use super::{
    ByteStream, CHUNK, End, PeerRole, Received,
    observed::{Observed, StreamObserver},
};
use crate::text::{
    escape::{escape, first_line},
    io_error::describe,
};

/// The largest message that is sent or received, in bytes: it is held in memory completely.
const MAX_MESSAGE: usize = 16 << 20;

/// The time that the peer has to end the connection after both sides have sent a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of a library error that are shown.
const MAX_ERROR: usize = 200;

/// A stream whose Close frame is kept.
type ObservedStream = Observed<Box<dyn ByteStream>, CloseObserver>;

/// The sending half of a WebSocket.
#[derive(Debug)]
pub(in crate::client) struct WebSocketSender {
    sink: SplitSink<WebSocketStream<ObservedStream>, Message>,
    format: MessageFormat,
    peer_role: PeerRole,
    end: Rc<OurEnd>,
}

/// The receiving half of a WebSocket.
#[derive(Debug)]
pub(in crate::client) struct WebSocketReceiver {
    stream: SplitStream<WebSocketStream<ObservedStream>>,
    half_close: bool,
    peer_role: PeerRole,
    end: Rc<OurEnd>,
    /// The peer's Close, once it has been received.
    close: Rc<RefCell<Option<Close>>>,
}

/// The end of our direction, which the sender sets.
#[derive(Debug, Default)]
struct OurEnd {
    /// The end of the input has been signalled.
    finished: Cell<bool>,
    /// The code of our Close, once it has been sent.
    closed: Cell<Option<CloseCode>>,
}

/// The format of outgoing messages.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::client) struct MessageFormat {
    /// The subprotocol `half-close` is agreed on: an empty binary message ends a direction.
    pub(in crate::client) half_close: bool,
    /// Lines are sent as binary messages instead of text messages.
    pub(in crate::client) binary: bool,
}

/// Splits an open WebSocket. `early` was read together with the peer's part of the handshake.
pub(super) async fn split(
    stream: Box<dyn ByteStream>,
    mut early: Vec<u8>,
    peer_role: PeerRole,
    format: MessageFormat,
) -> (WebSocketSender, WebSocketReceiver) {
    let limits = WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .write_buffer_size(CHUNK)
        .max_write_buffer_size(MAX_MESSAGE + 2 * CHUNK)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut observer = CloseObserver::new(peer_role);
    observer.received(&mut early);
    let close = observer.close.clone();
    let stream = Observed { stream, observer };
    let role = match peer_role {
        PeerRole::Server => Role::Client,
        PeerRole::Client => Role::Server,
    };
    let socket = WebSocketStream::from_partially_read(stream, early, role, Some(limits)).await;
    let (sink, stream) = socket.split();
    let end = Rc::<OurEnd>::default();
    let half_close = format.half_close;
    let receiver = WebSocketReceiver { stream, half_close, peer_role, end: end.clone(), close };
    (WebSocketSender { sink, format, peer_role, end }, receiver)
}

impl WebSocketSender {
    pub(super) fn half_closes(&self) -> bool {
        self.format.half_close
    }

    /// Whether our Close follows the end of both directions: the server's part.
    pub(super) fn closes_last(&self) -> bool {
        self.peer_role == PeerRole::Client
    }

    pub(super) async fn send(&mut self, message: Message) -> io::Result<()> {
        self.sink.send(message).await.map_err(|error| match error {
            // The receiver reports how the connection ended.
            Error::Io(_) | Error::Protocol(ProtocolError::SendAfterClosing) => {
                io::ErrorKind::BrokenPipe.into()
            }
            error => io_error(error),
        })
    }

    pub(super) async fn send_line(&mut self, line: String) -> io::Result<()> {
        let binary = self.format.binary;
        self.send(if binary { Message::binary(line) } else { Message::text(line) }).await
    }

    pub(super) async fn finish(&mut self) -> io::Result<()> {
        self.end.finished.set(true);
        match self.format.half_close {
            true => self.send(Message::Binary(Bytes::new())).await,
            false => Ok(()),
        }
    }

    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        self.end.closed.set(Some(code));
        let close = CloseFrame { code: code.0.into(), reason: reason.into() };
        self.send(Message::Close(Some(close))).await
    }
}

impl WebSocketReceiver {
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        loop {
            let closed = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Received::Message(text.into())),
                Some(Ok(Message::Binary(bytes))) if self.half_close && bytes.is_empty() => {
                    // After the end of both directions the server's Close follows with the result.
                    if self.end.finished.get() && self.peer_role == PeerRole::Server {
                        continue;
                    }
                    return Ok(Received::HalfClosed);
                }
                Some(Ok(Message::Binary(bytes))) => return Ok(Received::Message(bytes)),
                Some(Ok(Message::Pong(payload))) => return Ok(Received::Pong(payload)),
                // The library answers Pings while it reads.
                Some(Ok(Message::Ping(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(frame))) => Ok(Close::from(frame)),
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    Err(abnormal_closure())
                }
                Some(Err(error)) => Err(io_error(error)),
            };
            // The recorded code is preferred: the library replaces one that must not be sent.
            let close = match self.close.take() {
                Some(close) => close,
                None => closed?,
            };
            // Reading on sends our Close if the peer's was not the answer to ours.
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            timeout(CLOSE_TIMEOUT, rest).await.ok();
            return close.into_end(self.peer_role, self.end.closed.get());
        }
    }
}

/// An observer that keeps the peer's Close frame as it was sent.
#[derive(Debug)]
struct CloseObserver {
    /// None after the Close or a violation, which the library reports.
    decoder: Option<Decoder>,
    /// The peer's frames are masked.
    masked: bool,
    close: Rc<RefCell<Option<Close>>>,
}

impl CloseObserver {
    fn new(peer_role: PeerRole) -> CloseObserver {
        let (role, masked) = match peer_role {
            PeerRole::Server => (ws::Role::Client, false),
            PeerRole::Client => (ws::Role::Server, true),
        };
        let decoder = Some(Decoder::with_role(role, u64::MAX));
        CloseObserver { decoder, masked, close: Rc::default() }
    }
}

impl StreamObserver for CloseObserver {
    fn received(&mut self, bytes: &mut [u8]) {
        let Some(decoder) = &mut self.decoder else { return };
        // The decoder unmasks in place.
        let mut copy;
        let bytes = if self.masked {
            copy = bytes.to_vec();
            &mut copy
        } else {
            bytes
        };
        let mut at = 0;
        loop {
            let event = decoder.next(bytes, &mut at);
            let close = Close::received(&event, decoder);
            match event {
                Ok(None) => return,
                Ok(Some(_)) if close.is_none() => {}
                Ok(Some(_)) | Err(_) => {
                    *self.close.borrow_mut() = close;
                    self.decoder = None;
                    return;
                }
            }
        }
    }
}

/// A Close frame from the peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::client) struct Close {
    /// The code, if there is one.
    code: Option<CloseCode>,
    reason: String,
}

impl Close {
    /// The Close that `decoder` has read with the result `event`, if it is one; also one whose
    /// code must not be sent.
    pub(in crate::client) fn received(
        event: &Result<Option<Event>, Violation>,
        decoder: &Decoder,
    ) -> Option<Close> {
        let (code, reason) = match event {
            Ok(Some(Event::Close(CloseCode::NO_STATUS))) => (None, &[][..]),
            Ok(Some(Event::Close(code))) => (Some(*code), decoder.control_payload()),
            Err(Violation::BadCloseCode(code)) => {
                (Some(CloseCode(*code)), decoder.control_payload().get(2..).unwrap_or_default())
            }
            _ => return None,
        };
        Some(Close { code, reason: String::from_utf8_lossy(reason).into_owned() })
    }

    /// The regular end, or the failure, that the code stands for. The peer answers our Close with
    /// its code, `ours`.
    fn into_end(self, by: PeerRole, ours: Option<CloseCode>) -> io::Result<Received> {
        let regular = [None, Some(CloseCode::NORMAL), Some(CloseCode::GOING_AWAY), ours];
        if !regular.contains(&self.code) {
            return Err(io::Error::other(self.describe(by)));
        }
        let answer = self.code.unwrap_or(CloseCode::NO_STATUS).0;
        let description = match ours {
            Some(ours) => format!("closed ({}); the {by} answered {answer}", ours.0),
            None => self.describe(by),
        };
        Ok(Received::End(End { description, may_read: false }))
    }

    /// The description of a Close that the peer in the role `by` has sent.
    pub(in crate::client) fn describe(&self, by: PeerRole) -> String {
        let mut text = match self.code {
            Some(code) if !code.may_be_sent() => {
                format!("the {by} sent close code {}, which must not be sent", code.0)
            }
            code => {
                let code = code.unwrap_or(CloseCode::NO_STATUS);
                format!("closed by the {by} ({}, {})", code.0, code.description())
            }
        };
        if !self.reason.is_empty() {
            text += &format!(": {}", escape(&self.reason));
        }
        text
    }
}

impl From<Option<CloseFrame>> for Close {
    fn from(frame: Option<CloseFrame>) -> Close {
        match frame {
            Some(CloseFrame { code, reason }) => {
                Close { code: Some(CloseCode(code.into())), reason: reason.as_str().to_owned() }
            }
            None => Close { code: None, reason: String::new() },
        }
    }
}

/// The error of a connection that ended without a Close.
pub(in crate::client) fn abnormal_closure() -> io::Error {
    let code = CloseCode::ABNORMAL;
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} ({})", code.description(), code.0))
}

/// A message that the peer must not send, in an [`io::Error`].
#[derive(Debug, ThisError)]
pub(in crate::client) enum MessageError {
    #[error("a message of {size} bytes exceeds the limit of {limit} bytes")]
    TooBig { size: usize, limit: usize },
    #[error("{0}")]
    Violation(String),
}

impl MessageError {
    /// The [`MessageError`] in `error`, if there is one.
    pub(in crate::client) fn of(error: &io::Error) -> Option<&MessageError> {
        error.get_ref()?.downcast_ref()
    }

    /// The close code for the peer.
    pub(in crate::client) fn close_code(&self) -> CloseCode {
        match self {
            MessageError::TooBig { .. } => CloseCode::TOO_BIG,
            MessageError::Violation(_) => CloseCode::PROTOCOL_ERROR,
        }
    }
}

/// Converts an error of the WebSocket library.
fn io_error(error: Error) -> io::Error {
    io::Error::other(match error {
        Error::Io(error) => return error,
        Error::Capacity(CapacityError::MessageTooLong { size, max_size: limit }) => {
            MessageError::TooBig { size, limit }
        }
        error => {
            let text = describe(&io::Error::other(error.to_string()));
            MessageError::Violation(first_line(&text, MAX_ERROR))
        }
    })
}

#[cfg(test)]
mod tests;
