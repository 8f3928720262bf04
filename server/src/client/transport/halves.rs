//! The halves of a connection, over any transport.

use std::io;

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use tokio_tungstenite::tungstenite::Message;

use super::{
    CHUNK, Received,
    datagram::{DatagramReceiver, DatagramSender},
    stream::{StreamReceiver, StreamSender},
    websocket::{WebSocketReceiver, WebSocketSender},
};

/// The sending half of a connection. If sending fails because the connection has ended, the error
/// is `BrokenPipe`, and the receiving half reports the reason.
#[derive(Debug)]
pub(in crate::client) enum Sender {
    Stream(StreamSender),
    WebSocket(WebSocketSender),
    Datagram(DatagramSender),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(in crate::client) enum Receiver {
    Stream(StreamReceiver),
    WebSocket(WebSocketReceiver),
    Datagram(DatagramReceiver),
}

impl Sender {
    /// The most bytes that [`Sender::send_bytes`] accepts at once.
    pub(in crate::client) fn max_chunk(&self) -> usize {
        match self {
            Sender::Datagram(sender) => sender.max_chunk(),
            Sender::Stream(_) | Sender::WebSocket(_) => CHUNK,
        }
    }

    /// Whether [`Sender::finish`] half-closes the connection, so that the peer can end its own
    /// direction after its replies.
    pub(in crate::client) fn half_closes(&self) -> bool {
        match self {
            Sender::Stream(_) => true,
            Sender::WebSocket(sender) => sender.half_closes(),
            Sender::Datagram(_) => false,
        }
    }

    /// Whether the local Close is to follow when both directions have ended by half-closes.
    pub(in crate::client) fn closes_last(&self) -> bool {
        matches!(self, Sender::WebSocket(sender) if sender.closes_last())
    }

    /// Whether the connection ends with Close frames. On such a connection the peer may also send
    /// a greeting before the first message.
    pub(in crate::client) fn has_close(&self) -> bool {
        matches!(self, Sender::WebSocket(_))
    }

    /// Waits until the peer can buffer another message, where the transport has no flow control.
    pub(in crate::client) async fn ready(&self) {
        if let Sender::Datagram(sender) = self {
            sender.ready().await;
        }
    }

    /// Sends part of a byte stream; over a transport of messages, as one binary message.
    pub(in crate::client) async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => sender.send(&bytes).await,
            Sender::WebSocket(sender) => sender.send(Message::Binary(bytes)).await,
            Sender::Datagram(sender) => sender.send(&bytes).await,
        }
    }

    /// Sends a line, given without its line ending: with a newline over a stream, otherwise as one
    /// message without a newline.
    pub(in crate::client) async fn send_line(&mut self, mut line: String) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => {
                line.push('\n');
                sender.send(line.as_bytes()).await
            }
            Sender::WebSocket(sender) => sender.send_line(line).await,
            Sender::Datagram(sender) => sender.send(line.as_bytes()).await,
        }
    }

    /// Half-closes the connection, where the transport can.
    pub(in crate::client) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => sender.shutdown().await,
            Sender::WebSocket(sender) => sender.finish().await,
            Sender::Datagram(_) => Ok(()),
        }
    }

    /// Records that the session has ended regularly: the connection is not reset any more.
    pub(in crate::client) fn set_complete(&mut self) {
        if let Sender::Stream(sender) = self {
            sender.set_complete();
        }
    }

    /// Ends the connection before all input is sent. Over a stream with a reset guard, waits until
    /// all that was sent is delivered, and leaves the connection to be reset when it is dropped.
    /// Over WebSocket, sends Close 1001.
    pub(in crate::client) async fn abandon(&mut self) -> io::Result<()> {
        if let Sender::Stream(sender) = self {
            sender.abandon().await?;
        }
        self.close(CloseCode::GOING_AWAY, "").await
    }

    /// Sends a Close with `code` and `reason`, where the transport has Close frames.
    pub(in crate::client) async fn close(
        &mut self,
        code: CloseCode,
        reason: &str,
    ) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.close(code, reason).await
    }

    /// Sends a Ping, where the transport has Pings.
    pub(in crate::client) async fn ping(&mut self, payload: Bytes) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.send(Message::Ping(payload)).await
    }

    /// Sends a Pong, where the transport has Pongs.
    pub(in crate::client) async fn pong(&mut self, payload: Bytes) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.send(Message::Pong(payload)).await
    }
}

impl Receiver {
    /// Waits for the next event. Cancel safe, except while a WebSocket is closing.
    pub(in crate::client) async fn receive(&mut self) -> io::Result<Received> {
        match self {
            Receiver::Stream(receiver) => receiver.receive().await,
            Receiver::WebSocket(receiver) => receiver.receive().await,
            Receiver::Datagram(receiver) => receiver.receive().await,
        }
    }
}
