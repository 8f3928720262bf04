//! Connections that are WebSockets.

use std::{
    cell::{Cell, RefCell},
    fmt, io,
    pin::Pin,
    rc::Rc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use futures_util::{
    SinkExt, StreamExt,
    stream::{SplitSink, SplitStream},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        error::{Error, ProtocolError},
        protocol::{CloseFrame, Message, Role, WebSocketConfig},
    },
};

use super::{
    bench::frames::{Event, Frames},
    escape::escape,
    handshake::io_error,
    link::{CHUNK, End, Inbound, Outbound, Received},
};

/// The largest message that is taken or sent, 16 MiB: it is held in memory whole.
const MAX_MESSAGE: usize = 16 << 20;

/// How long the peer may take to end the connection after both have sent a Close.
const CLOSING_TIME: Duration = Duration::from_secs(1);

/// The sending half of a WebSocket.
#[derive(Debug)]
pub(super) struct SocketOutbound<S> {
    sink: SplitSink<WebSocketStream<Observed<S>>, Message>,
    form: Form,
    finished: Rc<Cell<bool>>,
}

/// The receiving half of a WebSocket.
#[derive(Debug)]
pub(super) struct SocketInbound<S> {
    stream: SplitStream<WebSocketStream<Observed<S>>>,
    half_close: bool,
    /// Our side has ended.
    finished: Rc<Cell<bool>>,
    /// The peer's Close, once it has come.
    close: Rc<RefCell<Option<Close>>>,
}

/// How messages are sent.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Form {
    /// The subprotocol `half-close` is agreed on: an empty binary message ends one side.
    pub(super) half_close: bool,
    /// Lines are binary messages, too.
    pub(super) binary: bool,
}

/// The two halves of an open WebSocket, of which `early` was read with the answer to the
/// handshake.
pub(super) async fn halves<S: AsyncRead + AsyncWrite + Unpin>(
    stream: S,
    early: Vec<u8>,
    form: Form,
) -> (SocketOutbound<S>, SocketInbound<S>) {
    let limits = WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .write_buffer_size(CHUNK)
        .max_write_buffer_size(MAX_MESSAGE + 2 * CHUNK)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let mut observed = Observed::new(stream);
    observed.observe(&early);
    let close = observed.close.clone();
    let role = Role::Client;
    let socket = WebSocketStream::from_partially_read(observed, early, role, Some(limits)).await;
    let (sink, stream) = socket.split();
    let finished = Rc::<Cell<bool>>::default();
    let inbound =
        SocketInbound { stream, half_close: form.half_close, finished: finished.clone(), close };
    (SocketOutbound { sink, form, finished }, inbound)
}

impl<S: AsyncRead + AsyncWrite + Unpin> SocketOutbound<S> {
    async fn send(&mut self, message: Message) -> io::Result<()> {
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
    fn half_closes(&self) -> bool {
        self.form.half_close
    }

    fn has_close(&self) -> bool {
        true
    }

    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send(Message::Binary(bytes)).await
    }

    /// Sends the line as one message, without a newline.
    async fn send_line(&mut self, line: String) -> io::Result<()> {
        let binary = self.form.binary;
        self.send(if binary { Message::binary(line) } else { Message::text(line) }).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.finished.set(true);
        match self.form.half_close {
            true => self.send(Message::Binary(Bytes::new())).await,
            false => Ok(()),
        }
    }

    async fn abandon(&mut self, code: CloseCode) -> io::Result<()> {
        let close = CloseFrame { code: code.0.into(), reason: "".into() };
        self.send(Message::Close(Some(close))).await
    }
}

impl<S: AsyncRead + AsyncWrite + Unpin> Inbound for SocketInbound<S> {
    async fn receive(&mut self) -> io::Result<Received> {
        loop {
            let closed = match self.stream.next().await {
                Some(Ok(Message::Text(text))) => return Ok(Received::Message(text.into())),
                Some(Ok(Message::Binary(bytes))) if self.half_close && bytes.is_empty() => {
                    // If both have ended the peer's Close follows, and tells how it went.
                    if self.finished.get() {
                        continue;
                    }
                    return Ok(Received::HalfClosed);
                }
                Some(Ok(Message::Binary(bytes))) => return Ok(Received::Message(bytes)),
                // The library answers pings by itself, while it reads.
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(_))) => Ok(()),
                Some(Err(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake))) | None => {
                    Err(broken())
                }
                Some(Err(error)) => Err(io_error(error)),
            };
            // The code as it was sent: the library gives another for one that may not be.
            let Some(close) = self.close.take() else {
                closed?;
                return Err(broken());
            };
            // Reading on sends our Close in answer, if it is not the peer's that answers.
            let rest = async { while let Some(Ok(_)) = self.stream.next().await {} };
            timeout(CLOSING_TIME, rest).await.ok();
            return close.ends();
        }
    }
}

/// A stream that a WebSocket's Close is looked for on, as it was sent.
#[derive(Debug)]
struct Observed<S> {
    stream: S,
    /// None after a violation, which is the library's to name.
    frames: Option<Frames>,
    close: Rc<RefCell<Option<Close>>>,
}

impl<S> Observed<S> {
    fn new(stream: S) -> Observed<S> {
        Observed { stream, frames: Some(Frames::default()), close: Rc::default() }
    }

    /// Looks at the next bytes from the peer.
    fn observe(&mut self, bytes: &[u8]) {
        let Some(frames) = &mut self.frames else { return };
        let mut at = 0;
        loop {
            match frames.next(bytes, &mut at) {
                Ok(Some(Event::Close(close))) => {
                    *self.close.borrow_mut() = Some(close);
                    self.frames = None;
                    return;
                }
                Ok(Some(_)) => {}
                Ok(None) => return,
                Err(_) => {
                    self.frames = None;
                    return;
                }
            }
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Observed<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.observe(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Observed<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A Close frame of the server's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Close {
    /// The code, if there was one.
    pub(super) code: Option<CloseCode>,
    pub(super) reason: String,
}

impl Close {
    /// What it means: a clean end, or a failure.
    fn ends(&self) -> io::Result<Received> {
        let words = self.to_string();
        match self.code {
            None | Some(CloseCode::NORMAL | CloseCode::GOING_AWAY) => {
                Ok(Received::End(End { words, may_read: false }))
            }
            Some(_) => Err(io::Error::other(words)),
        }
    }
}

impl fmt::Display for Close {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.code {
            Some(code) if !code.may_be_sent() => {
                write!(f, "the server sent close code {}, which may not be sent", code.0)?;
            }
            code => {
                let code = code.unwrap_or(CloseCode::NO_STATUS);
                write!(f, "closed by the server ({}, {})", code.0, code.words())?;
            }
        }
        match &*self.reason {
            "" => Ok(()),
            reason => write!(f, ": {}", escape(reason)),
        }
    }
}

/// The end of a connection without a Close.
pub(super) fn broken() -> io::Error {
    let code = CloseCode::ABNORMAL;
    io::Error::new(io::ErrorKind::UnexpectedEof, format!("{} ({})", code.words(), code.0))
}

#[cfg(test)]
mod tests;
