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
    ws::{self, Decoder},
};
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::time::timeout;
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{CapacityError, Error, ProtocolError},
        protocol::{CloseFrame, Message, Role, WebSocketConfig},
    },
};

use super::{
    ByteStream, CHUNK, PeerRole, Received,
    close::{Close, MessageError, abnormal_closure},
    observed::{Observed, StreamObserver},
};
use crate::text::{escape::first_line, io_error::describe};

/// The largest message that is sent or received, in bytes. A message is held in memory completely.
const MAX_MESSAGE: usize = 16 << 20;

/// The time that the peer has to end the connection after both sides have sent a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of a library error that are shown.
const MAX_ERROR: usize = 200;

/// A stream with an observer that keeps the peer's Close frame.
type ObservedStream = Observed<Box<dyn ByteStream>, CloseObserver>;

/// The sending half of a WebSocket.
#[derive(Debug)]
pub(in crate::client) struct WebSocketSender {
    sink: SplitSink<WebSocketStream<ObservedStream>, Message>,
    format: MessageFormat,
    peer_role: PeerRole,
    end: Rc<LocalEnd>,
}

/// The receiving half of a WebSocket.
#[derive(Debug)]
pub(in crate::client) struct WebSocketReceiver {
    stream: SplitStream<WebSocketStream<ObservedStream>>,
    half_close: bool,
    peer_role: PeerRole,
    end: Rc<LocalEnd>,
    /// The peer's Close, once it has been received.
    close: Rc<RefCell<Option<Close>>>,
}

/// The end of the local direction, which the sender sets.
#[derive(Debug, Default)]
struct LocalEnd {
    /// Whether the end of the input has been sent.
    finished: Cell<bool>,
    /// The code of the local Close, once it has been sent.
    closed: Cell<Option<CloseCode>>,
}

/// The format of outgoing messages.
#[derive(Clone, Copy, Debug, Default)]
pub(in crate::client) struct MessageFormat {
    /// Whether the subprotocol `half-close` is selected: an empty binary message ends a direction.
    pub(in crate::client) half_close: bool,
    /// Whether lines are sent as binary messages instead of text messages.
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
    let end = Rc::<LocalEnd>::default();
    let half_close = format.half_close;
    let receiver = WebSocketReceiver { stream, half_close, peer_role, end: end.clone(), close };
    (WebSocketSender { sink, format, peer_role, end }, receiver)
}

impl WebSocketSender {
    pub(super) fn half_closes(&self) -> bool {
        self.format.half_close
    }

    /// Whether the local Close follows the end of both directions: the server sends it.
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
                    // After the end of both directions comes the Close of the server.
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
            // The library replaces a code that must not be sent; the observer has the original.
            let close = match self.close.take() {
                Some(close) => close,
                None => closed?,
            };
            // Unless the peer's Close answers the local one, further reads send the answer to it.
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            timeout(CLOSE_TIMEOUT, rest).await.ok();
            return close.into_end(self.peer_role, self.end.closed.get());
        }
    }
}

/// An observer that keeps the peer's Close frame as it was sent.
#[derive(Debug)]
struct CloseObserver {
    /// The decoder; `None` after the Close or a violation, which the library reports.
    decoder: Option<Decoder>,
    /// Whether the peer's frames are masked.
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
