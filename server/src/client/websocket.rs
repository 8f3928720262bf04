//! Connections that are WebSockets.

use std::{borrow::Cow, cell::Cell, io, rc::Rc, time::Duration};

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{Error, ProtocolError},
        protocol::{CloseFrame, Message},
    },
};

use super::{
    escape::escape,
    handshake::io_error,
    link::{Inbound, Outbound, Received},
    owed::Owed,
};

/// How long the peer may take to end the connection after both have sent a Close.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// The sending half of a WebSocket.
#[derive(Debug)]
pub(super) struct SocketOutbound<S> {
    sink: SplitSink<WebSocketStream<S>, Message>,
    goodbye: Goodbye,
    shared: Rc<Shared>,
}

/// The receiving half of a WebSocket.
#[derive(Debug)]
pub(super) struct SocketInbound<S> {
    stream: SplitStream<WebSocketStream<S>>,
    half_close: bool,
    shared: Rc<Shared>,
    /// The peer's Close, once it has come.
    closed: Option<(CloseCode, String)>,
}

/// How it is said that nothing more will be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Goodbye {
    /// By a Close: most servers say nothing after it, so the replies are waited for
    /// before, one for each message, unless nothing comes for so long.
    Close(Duration),
    /// By an empty binary message, as the subprotocol `half-close` has it; and so does
    /// the peer.
    HalfClose,
}

/// What both halves know.
#[derive(Debug, Default)]
struct Shared {
    owed: Owed,
    finished: Cell<bool>,
}

/// The two halves of an open WebSocket.
pub(super) fn halves<S: AsyncRead + AsyncWrite + Unpin>(
    socket: WebSocketStream<S>,
    goodbye: Goodbye,
) -> (SocketOutbound<S>, SocketInbound<S>) {
    let (sink, stream) = socket.split();
    let shared = Rc::<Shared>::default();
    let half_close = goodbye == Goodbye::HalfClose;
    let inbound = SocketInbound { stream, half_close, shared: shared.clone(), closed: None };
    (SocketOutbound { sink, goodbye, shared }, inbound)
}

impl<S: AsyncRead + AsyncWrite + Unpin> SocketOutbound<S> {
    async fn send(&mut self, message: Message) -> io::Result<()> {
        self.shared.owed.sent();
        self.sink.send(message).await.map_err(|error| match error {
            // How the connection ended is for the inbound half to say.
            Error::Io(_) | Error::Protocol(ProtocolError::SendAfterClosing) => {
                io::ErrorKind::BrokenPipe.into()
            }
            error => io_error(error),
        })
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Outbound for SocketOutbound<S> {
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send(Message::Binary(bytes)).await
    }

    /// Sends the line as one text message, without a newline.
    async fn send_line(&mut self, line: String) -> io::Result<()> {
        self.send(Message::text(line)).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.shared.finished.set(true);
        match self.goodbye {
            Goodbye::HalfClose => self.send(Message::Binary(Bytes::new())).await,
            Goodbye::Close(patience) => {
                self.shared.owed.paid_or_silent(patience).await;
                self.abandon(CloseCode::NORMAL).await
            }
        }
    }

    async fn abandon(&mut self, code: CloseCode) -> io::Result<()> {
        let close = CloseFrame { code: code.0.into(), reason: "".into() };
        self.send(Message::Close(Some(close))).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound for SocketInbound<S> {
    async fn receive(&mut self) -> io::Result<Received> {
        while self.closed.is_none() {
            match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(self.message(text.into())),
                Some(Ok(Message::Binary(bytes))) if self.half_close && bytes.is_empty() => {
                    // If both have ended the peer's Close follows, and tells how it went.
                    if !self.shared.finished.get() {
                        return Ok(Received::End("ended by the server".to_owned()));
                    }
                }
                Some(Ok(Message::Binary(bytes))) => return Ok(self.message(bytes)),
                Some(Ok(Message::Close(close))) => self.closed = Some(code_and_reason(close)),
                // The library answers pings by itself, while it reads.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => {}
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    return Err(broken());
                }
                Some(Err(error)) => return Err(io_error(error)),
            }
        }
        // Reading on sends our Close in answer, if it is not the peer's that answers.
        let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
        timeout(CLOSING_TIME, rest).await.ok();
        let (code, reason) = self.closed.as_ref().expect("the loop above ends with a Close");
        verdict(*code, reason)
    }
}

impl<S> SocketInbound<S> {
    fn message(&self, payload: Bytes) -> Received {
        self.shared.owed.came(1);
        Received::Message(payload)
    }
}

fn code_and_reason(close: Option<CloseFrame>) -> (CloseCode, String) {
    close.map_or((CloseCode::NO_STATUS, String::new()), |close| {
        (CloseCode(close.code.into()), close.reason.to_string())
    })
}

/// What a Close means: a clean end, or a failure.
fn verdict(code: CloseCode, reason: &str) -> io::Result<Received> {
    let words = closed(code, reason);
    match code {
        CloseCode::NORMAL | CloseCode::GOING_AWAY | CloseCode::NO_STATUS => {
            Ok(Received::End(words))
        }
        _ => Err(io::Error::other(words)),
    }
}

/// A Close in words.
pub(super) fn closed(code: CloseCode, reason: &str) -> String {
    let reason = match reason {
        "" => Cow::Borrowed(""),
        reason => Cow::Owned(format!(": {}", escape(reason))),
    };
    format!("closed by the server ({}, {}){reason}", code.0, code.words())
}

/// The end of a connection without a Close.
pub(super) fn broken() -> io::Error {
    let code = CloseCode::ABNORMAL;
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} ({})", code.words(), code.0))
}

#[cfg(test)]
mod tests;
