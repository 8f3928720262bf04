//! A connection over any transport: a sender and a receiver.
//!
//! - `halves`: the sender and the receiver; `received`: the events that the receiver reports
//! - `stream`: byte streams (TCP, TLS, Unix sockets)
//! - `websocket`: WebSocket messages; `handshake`: the opening handshake before them; `close`:
//!   their end
//! - `observed`: a stream with an observer; `trace`: the observer for `--verbose`; `recorded`: the
//!   observer and the handshake recorder for `--record`
//! - `datagram`: UDP and Unix datagrams; `send_window`: the limit of unanswered datagrams

pub(super) mod close;
mod datagram;
mod halves;
pub(super) mod handshake;
mod observed;
mod received;
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

use echogate_proto::{recording, ws::HALF_CLOSE};
use tokio::io::{AsyncRead, AsyncWrite};

pub(super) use self::{
    halves::{Receiver, Sender},
    received::{End, Received},
    websocket::MessageFormat,
};
use self::{
    observed::Observed,
    recorded::{HandshakeRecorder, StreamRecorder},
    trace::Trace,
};
use super::{
    dial::{Dialled, dial},
    recording::{ConnectionRecorder, SessionRecorder},
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
    /// The silence of a datagram peer after which outstanding replies count as lost
    /// ([`send_window`]).
    pub(super) silence: Duration,
    /// Whether lines in a stream end with CR LF.
    pub(super) crlf: bool,
    /// Whether heads and frames of a WebSocket are shown ([`verbose`](super::verbose)).
    pub(super) verbose: bool,
    /// Whether a TCP connection is reset if this process ends before [`Sender::finish`] or
    /// [`Sender::set_complete`], so that the peer does not take a part of the input for all of it.
    pub(super) reset_when_cut: bool,
    /// The recorder of the connections of the process.
    pub(super) recorder: Option<SessionRecorder>,
}

impl TransportOptions {
    /// The stream of a WebSocket, observed if its frames are shown.
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

    /// The recorder of a new connection with its description; `None` if nothing is recorded.
    fn recorded(
        &self,
        addresses: [Option<SocketAddr>; 2],
    ) -> Option<(ConnectionRecorder, recording::Opened)> {
        let connection = self.recorder.as_ref()?.connection();
        let [peer, local] = addresses.map(|address| address.map(|address| address.to_string()));
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
    /// The address of the peer for notices, if the peer is a client.
    pub(super) peer: Option<String>,
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
        let mut recorder = HandshakeRecorder::new(options.recorded(stream.addresses()));
        let mut stream = options.traced(stream, PeerRole::Server);
        let mut agreed = handshake::open(&mut stream, upgrade, &mut recorder.heads).await?;
        if let Some(observer) = recorder.opened(&mut agreed) {
            stream = Box::new(Observed { stream, observer });
        }
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

    /// The connection over a stream after the opening handshake. `early` are the bytes that were
    /// read together with the peer's part of the handshake.
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
        let stream: Box<dyn ByteStream> = match options.recorded(stream.addresses()) {
            Some((connection, opened)) => {
                Box::new(Observed { stream, observer: StreamRecorder::new(connection, opened) })
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
        let (recorded, local) = (options.recorded(socket.addresses()), socket.local_addr());
        let (sender, receiver) = datagram::split(socket, options.silence, recorded);
        let (sender, receiver) = (Sender::Datagram(sender), Receiver::Datagram(receiver));
        Connection { sender, receiver, peer_role, local, peer: None }
    }
}
