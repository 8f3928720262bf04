//! A connection as the modes use it, over any transport: a sender and a receiver.
//!
//! - `stream`: byte streams (TCP, TLS, Unix sockets)
//! - `websocket`: WebSocket messages; `handshake`: the opening handshake before them
//! - `observed`: a stream with an observer; `trace`: the observer for `--verbose`; `recorded`: that for
//!   `--record`
//! - `datagram`: UDP and Unix datagrams; `send_window`: the limit of unanswered datagrams

mod datagram;
pub(super) mod handshake;
mod observed;
mod recorded;
mod send_window;
pub(super) mod stream;
mod trace;
pub(super) mod websocket;

use std::{
    fmt::{self, Debug, Display},
    io,
    net::SocketAddr,
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::{close::CloseCode, recording, ws::HALF_CLOSE};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_tungstenite::tungstenite::Message;

pub(super) use self::websocket::MessageFormat;
use self::{
    datagram::{DatagramReceiver, DatagramSender},
    observed::Observed,
    recorded::StreamRecorder,
    stream::{StreamReceiver, StreamSender},
    trace::Trace,
    websocket::{WebSocketReceiver, WebSocketSender},
};
use super::{
    dial::{Dialled, dial},
    recording::{RecordedConnection, Recording},
    target::{Target, Upgrade},
};
use crate::net::{connected_datagrams::ConnectedSocket, stream::Stream};

/// The most bytes that are read, sent or written at once.
pub(super) const CHUNK: usize = 64 * 1024;

/// A byte stream in both directions.
pub(super) trait ByteStream: AsyncRead + AsyncWrite + Unpin + Debug {}

impl<S: AsyncRead + AsyncWrite + Unpin + Debug> ByteStream for S {}

/// The role of the peer, as texts for the user name it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PeerRole {
    Server,
    Client,
}

impl Display for PeerRole {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            PeerRole::Server => "server",
            PeerRole::Client => "client",
        })
    }
}

/// The options of a connection.
#[derive(Clone, Debug)]
pub(super) struct TransportOptions {
    /// Before the peer is sent more datagrams than it may be able to buffer, its replies are awaited
    /// until nothing has come for this time.
    pub(super) silence: Duration,
    /// Lines in a stream end with CR LF.
    pub(super) crlf: bool,
    /// Heads and frames of a WebSocket are shown ([`verbose`](super::verbose)).
    pub(super) verbose: bool,
    /// A TCP connection is reset if this process ends before [`Sender::finish`] or
    /// [`Sender::set_complete`], so that the peer does not take a part of the input for all of it.
    pub(super) reset_when_cut: bool,
    /// The recording of the connection.
    pub(super) recording: Option<Recording>,
}

impl TransportOptions {
    /// The stream below a WebSocket.
    pub(super) fn traced(
        &self,
        stream: impl ByteStream + 'static,
        peer_role: PeerRole,
    ) -> Box<dyn ByteStream> {
        match self.verbose {
            true => Box::new(Observed { stream, observer: Trace::new(peer_role) }),
            false => Box::new(stream),
        }
    }

    /// A connection that is to be recorded, and what is known of it.
    fn recorded(
        &self,
        ends: [Option<SocketAddr>; 2],
    ) -> Option<(RecordedConnection, recording::Opened)> {
        let connection = self.recording.as_ref()?.connection();
        let [peer, local] = ends.map(|address| address.map(|address| address.to_string()));
        let opened = recording::Opened { peer, local, ..connection.opened() };
        Some((connection, opened))
    }
}

/// An open connection.
#[derive(Debug)]
pub(super) struct Connection {
    pub(super) sender: Sender,
    pub(super) receiver: Receiver,
    pub(super) peer_role: PeerRole,
    /// The local address, if it is an IP address.
    pub(super) local: Option<SocketAddr>,
    /// The name of a client.
    pub(super) peer: Option<String>,
}

/// The sending half of a connection. If sending fails because the connection has ended, the error
/// is `BrokenPipe`, and the receiving half reports the reason.
#[derive(Debug)]
pub(super) enum Sender {
    Stream(StreamSender),
    WebSocket(WebSocketSender),
    Datagram(DatagramSender),
}

/// The receiving half of a connection.
#[derive(Debug)]
pub(super) enum Receiver {
    Stream(StreamReceiver),
    WebSocket(WebSocketReceiver),
    Datagram(DatagramReceiver),
}

/// An event on the receiving half.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The next bytes of a stream, which has no message boundaries.
    Bytes(Bytes),
    /// A complete message.
    Message(Bytes),
    /// A Pong with its payload.
    Pong(Bytes),
    /// The end of the peer's direction, where the end of the connection is still to follow.
    HalfClosed,
    /// The regular end of the connection.
    End(End),
}

/// The regular end of a connection.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// The description of the end, for the user.
    pub(super) description: String,
    /// Only the peer's direction has ended: the peer may still read.
    pub(super) may_read: bool,
}

impl Connection {
    /// Connects to `target`.
    pub(super) async fn open(
        target: &Target,
        options: &TransportOptions,
    ) -> io::Result<Connection> {
        match (dial(target).await?, target) {
            (Dialled::Stream(stream), Target::WebSocket(upgrade)) => {
                Connection::open_websocket(stream, upgrade, options).await
            }
            (Dialled::Stream(stream), _) => {
                Ok(Connection::of_stream(stream, PeerRole::Server, options))
            }
            (Dialled::Datagrams(socket), _) => {
                Ok(Connection::of_datagrams(socket, PeerRole::Server, options))
            }
        }
    }

    async fn open_websocket(
        stream: Stream,
        upgrade: &Upgrade,
        options: &TransportOptions,
    ) -> io::Result<Connection> {
        let local = stream.local_addr().ok();
        let mut stream = match options.recorded(stream.ends()) {
            Some((connection, opened)) => {
                let observer = StreamRecorder::websocket(connection, opened);
                options.traced(Observed { stream, observer }, PeerRole::Server)
            }
            None => options.traced(stream, PeerRole::Server),
        };
        let agreed = handshake::open(&mut stream, upgrade).await?;
        let half_close = agreed.protocol.as_deref() == Some(HALF_CLOSE);
        if let Some(protocol) = agreed.protocol.filter(|_| upgrade.half_close && !half_close) {
            return Err(io::Error::other(format!(
                "the server selected the subprotocol {protocol:?} instead of half-close"
            )));
        }
        let format = MessageFormat { half_close, binary: upgrade.binary };
        let early = agreed.early;
        let connection = Connection::of_websocket(stream, early, PeerRole::Server, format).await;
        Ok(Connection { local, ..connection })
    }

    /// The connection over a stream on which the opening handshake is complete. `early` was read
    /// together with the peer's part of the handshake.
    pub(super) async fn of_websocket(
        stream: Box<dyn ByteStream>,
        early: Vec<u8>,
        peer_role: PeerRole,
        format: MessageFormat,
    ) -> Connection {
        let (sender, receiver) = websocket::split(stream, early, peer_role, format).await;
        let (sender, receiver) = (Sender::WebSocket(sender), Receiver::WebSocket(receiver));
        Connection { sender, receiver, peer_role, local: None, peer: None }
    }

    /// The connection over a connected stream.
    pub(super) fn of_stream(
        stream: Stream,
        peer_role: PeerRole,
        options: &TransportOptions,
    ) -> Connection {
        let local = stream.local_addr().ok();
        let guard = options.reset_when_cut.then(|| stream.reset_guard()).flatten();
        let stream: Box<dyn ByteStream> = match options.recorded(stream.ends()) {
            Some((connection, opened)) => {
                Box::new(Observed { stream, observer: StreamRecorder::bytes(connection, opened) })
            }
            None => Box::new(stream),
        };
        let (sender, receiver) = stream::split(stream, peer_role);
        let sender = Sender::Stream(sender.with_crlf(options.crlf).with_guard(guard));
        Connection { sender, receiver: Receiver::Stream(receiver), peer_role, local, peer: None }
    }

    /// The connection over a connected datagram socket.
    pub(super) fn of_datagrams(
        socket: ConnectedSocket,
        peer_role: PeerRole,
        options: &TransportOptions,
    ) -> Connection {
        let (recorded, local) = (options.recorded(socket.ends()), socket.local_addr());
        let (sender, receiver) = datagram::split(socket, options.silence, recorded);
        let (sender, receiver) = (Sender::Datagram(sender), Receiver::Datagram(receiver));
        Connection { sender, receiver, peer_role, local, peer: None }
    }
}

impl Sender {
    /// The most bytes that [`Sender::send_bytes`] accepts at once.
    pub(super) fn max_chunk(&self) -> usize {
        match self {
            Sender::Datagram(sender) => sender.max_chunk(),
            Sender::Stream(_) | Sender::WebSocket(_) => CHUNK,
        }
    }

    /// Whether [`Sender::finish`] signals the end of the input to the peer, which can then end its
    /// own direction when all replies are sent.
    pub(super) fn half_closes(&self) -> bool {
        match self {
            Sender::Stream(_) => true,
            Sender::WebSocket(sender) => sender.half_closes(),
            Sender::Datagram(_) => false,
        }
    }

    /// Whether our Close is to follow when both directions have ended by half-closes.
    pub(super) fn closes_last(&self) -> bool {
        matches!(self, Sender::WebSocket(sender) if sender.closes_last())
    }

    /// Whether the connection ends with Close frames. On such a connection the peer may also send
    /// a greeting before the first message.
    pub(super) fn has_close(&self) -> bool {
        matches!(self, Sender::WebSocket(_))
    }

    /// Waits until the peer can buffer another message, where the transport has no flow control.
    pub(super) async fn ready(&self) {
        if let Sender::Datagram(sender) = self {
            sender.ready().await;
        }
    }

    /// Sends part of a byte stream; over a transport of messages, as one binary message.
    pub(super) async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => sender.send(&bytes).await,
            Sender::WebSocket(sender) => sender.send(Message::Binary(bytes)).await,
            Sender::Datagram(sender) => sender.send(&bytes).await,
        }
    }

    /// Sends a line, given without its line ending: with a newline over a stream, otherwise as one
    /// message without a newline.
    pub(super) async fn send_line(&mut self, mut line: String) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => {
                line.push('\n');
                sender.send(line.as_bytes()).await
            }
            Sender::WebSocket(sender) => sender.send_line(line).await,
            Sender::Datagram(sender) => sender.send(line.as_bytes()).await,
        }
    }

    /// Signals the end of the input, where the transport can end one direction alone.
    pub(super) async fn finish(&mut self) -> io::Result<()> {
        match self {
            Sender::Stream(sender) => sender.shutdown().await,
            Sender::WebSocket(sender) => sender.finish().await,
            Sender::Datagram(_) => Ok(()),
        }
    }

    /// Records that the session has ended regularly: the connection is not reset any more.
    pub(super) fn set_complete(&mut self) {
        if let Sender::Stream(sender) = self {
            sender.set_complete();
        }
    }

    /// Ends the connection although input is missing: over a stream with a reset guard, waits until all
    /// that was sent is delivered, and has the connection reset when it is dropped; over WebSocket, sends
    /// Close 1001.
    pub(super) async fn abandon(&mut self) -> io::Result<()> {
        if let Sender::Stream(sender) = self {
            sender.abandon().await?;
        }
        self.close(CloseCode::GOING_AWAY, "").await
    }

    /// Sends a Close with `code` and `reason`, where the transport has Close frames.
    pub(super) async fn close(&mut self, code: CloseCode, reason: &str) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.close(code, reason).await
    }

    /// Sends a Ping, where the transport has Pings.
    pub(super) async fn ping(&mut self, payload: Bytes) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.send(Message::Ping(payload)).await
    }

    /// Sends a Pong, where the transport has Pongs.
    pub(super) async fn pong(&mut self, payload: Bytes) -> io::Result<()> {
        let Sender::WebSocket(sender) = self else { return Ok(()) };
        sender.send(Message::Pong(payload)).await
    }
}

impl Receiver {
    /// Waits for the next event. Cancel safe: dropping the future loses nothing.
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        match self {
            Receiver::Stream(receiver) => receiver.receive().await,
            Receiver::WebSocket(receiver) => receiver.receive().await,
            Receiver::Datagram(receiver) => receiver.receive().await,
        }
    }
}
