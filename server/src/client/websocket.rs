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
mod tests {
    use tokio::io::{DuplexStream, duplex};
    use tokio_tungstenite::tungstenite::protocol::Role;

    use super::*;

    type Socket = WebSocketStream<DuplexStream>;

    /// Our halves and the peer, beyond their handshake.
    async fn connected() -> (SocketOutbound<DuplexStream>, SocketInbound<DuplexStream>, Socket) {
        connected_with(Goodbye::Close(Duration::ZERO)).await
    }

    async fn connected_with(
        goodbye: Goodbye,
    ) -> (SocketOutbound<DuplexStream>, SocketInbound<DuplexStream>, Socket) {
        let (ours, theirs) = duplex(1024);
        let ours = WebSocketStream::from_raw_socket(ours, Role::Client, None).await;
        let theirs = WebSocketStream::from_raw_socket(theirs, Role::Server, None).await;
        let (outbound, inbound) = halves(ours, goodbye);
        (outbound, inbound, theirs)
    }

    fn close(code: u16, reason: &str) -> Message {
        Message::Close(Some(CloseFrame { code: code.into(), reason: reason.into() }))
    }

    #[tokio::test]
    async fn bytes_are_binary_and_a_line_is_text_without_its_end() {
        let (mut outbound, _inbound, mut peer) = connected().await;
        outbound.send_bytes(Bytes::from_static(b"\0\xff")).await.unwrap();
        outbound.send_line("hello".to_owned()).await.unwrap();
        outbound.finish().await.unwrap();
        assert_eq!(peer.next().await.unwrap().unwrap(), Message::binary(&b"\0\xff"[..]));
        assert_eq!(peer.next().await.unwrap().unwrap(), Message::text("hello"));
        assert_eq!(peer.next().await.unwrap().unwrap(), close(1000, ""));
    }

    #[tokio::test]
    async fn what_is_owed_after_our_close_still_arrives() {
        let (mut outbound, mut inbound, mut peer) = connected().await;
        outbound.finish().await.unwrap();
        peer.send(Message::text("owed")).await.unwrap();
        let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
        assert_eq!(inbound.receive().await.unwrap(), Received::Message("owed".into()));
        let Received::End(words) = inbound.receive().await.unwrap() else { panic!() };
        assert_eq!(words, "closed by the server (1000, closed normally)");
        peer.await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_stops_at_a_close_is_heard_out_before_it() {
        let (mut outbound, mut inbound, mut peer) =
            connected_with(Goodbye::Close(Duration::from_secs(1))).await;
        outbound.send_line("hello".to_owned()).await.unwrap();
        let peer = tokio::spawn(async move {
            let message = peer.next().await.unwrap().unwrap();
            tokio::time::sleep(Duration::from_millis(500)).await;
            peer.send(message).await.unwrap();
            peer.next().await.unwrap().unwrap()
        });
        let reply = async { inbound.receive().await.unwrap() };
        let (finished, reply) = tokio::join!(outbound.finish(), reply);
        finished.unwrap();
        assert_eq!(reply, Received::Message("hello".into()));
        assert_eq!(peer.await.unwrap(), close(1000, ""));
    }

    #[tokio::test]
    async fn with_half_close_an_empty_binary_message_ends_each_side_and_a_close_both() {
        let (mut outbound, mut inbound, mut peer) = connected_with(Goodbye::HalfClose).await;
        outbound.finish().await.unwrap();
        assert_eq!(peer.next().await.unwrap().unwrap(), Message::Binary(Bytes::new()));
        for message in [Message::text("and the rest"), Message::Binary(Bytes::new())] {
            peer.send(message).await.unwrap();
        }
        peer.send(close(1000, "")).await.unwrap();
        let peer = tokio::spawn(async move { while let Some(Ok(_)) = peer.next().await {} });
        assert_eq!(inbound.receive().await.unwrap(), Received::Message("and the rest".into()));
        let Received::End(words) = inbound.receive().await.unwrap() else { panic!() };
        assert_eq!(words, "closed by the server (1000, closed normally)");
        peer.await.unwrap();
    }

    #[tokio::test]
    async fn with_half_close_the_server_may_end_first() {
        let (_outbound, mut inbound, mut peer) = connected_with(Goodbye::HalfClose).await;
        peer.send(Message::Binary(Bytes::new())).await.unwrap();
        let end = Received::End("ended by the server".to_owned());
        assert_eq!(inbound.receive().await.unwrap(), end);
    }

    #[tokio::test]
    async fn a_close_with_a_failures_code_is_a_failure_with_its_reason() {
        let (_outbound, mut inbound, mut peer) = connected().await;
        peer.send(close(1011, "upstream reset\x07")).await.unwrap();
        let peer = tokio::spawn(async move { peer.next().await.unwrap().unwrap() });
        assert_eq!(
            inbound.receive().await.unwrap_err().to_string(),
            "closed by the server (1011, the server, or what lies behind it, failed): \
             upstream reset\\x07"
        );
        assert_eq!(peer.await.unwrap(), close(1011, "upstream reset\x07"), "our answer");
    }

    #[tokio::test]
    async fn an_end_without_a_close_is_a_failure() {
        let (_outbound, mut inbound, peer) = connected().await;
        drop(peer);
        assert_eq!(
            inbound.receive().await.unwrap_err().to_string(),
            "the connection broke without a goodbye (1006)"
        );
    }

    #[tokio::test]
    async fn pings_are_answered_while_reading() {
        let (_outbound, mut inbound, mut peer) = connected().await;
        peer.send(Message::Ping("?".into())).await.unwrap();
        peer.send(Message::text("after")).await.unwrap();
        assert_eq!(inbound.receive().await.unwrap(), Received::Message("after".into()));
        let (_, pong) = tokio::join!(
            async { timeout(Duration::from_millis(50), inbound.receive()).await.ok() },
            peer.next()
        );
        assert_eq!(pong.unwrap().unwrap(), Message::Pong("?".into()));
    }
}
