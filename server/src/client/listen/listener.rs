//! The listening socket of `echogate listen`, and the clients that have connected.

use std::{future::pending, io, pin::Pin, rc::Rc, time::Duration};

use echogate_proto::endpoint::{Address, Endpoint, HostPort};
use futures_util::{StreamExt, stream::FuturesUnordered};
use tokio::time::timeout;

use super::{
    datagrams,
    websocket::{self, Rules},
};
use crate::{
    client::{
        session::SessionError,
        transport::{Connection, Kind, PeerRole, TransportOptions},
    },
    config::ListenAddr,
    connections::registry::Peer,
    net::{
        datagram_socket::DatagramSocket,
        listener::{self as net_listener, belongs_to_connection},
        stream::Stream,
        tls::{AppProtocol, server::ServerTls},
    },
    server::sockets::bind::{BindAddr, Socket},
};

/// The listen backlog: clients that wait for the one before them.
const BACKLOG: u32 = 128;

/// The time that a client has for the TLS and the WebSocket handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most clients in a handshake at the same time: a silent one does not keep others out.
const MAX_HANDSHAKES: usize = 64;

/// The protocol above TCP, TLS or the socket.
#[derive(Debug)]
pub(super) enum Protocol {
    Bytes,
    WebSocket(Rules),
    Datagrams,
}

impl Protocol {
    pub(super) fn kind(&self) -> Kind {
        match self {
            Protocol::Bytes => Kind::Stream,
            Protocol::WebSocket(_) => Kind::WebSocket,
            Protocol::Datagrams => Kind::Datagram,
        }
    }
}

/// The settings of a listener.
#[derive(Debug)]
pub(super) struct ListenerSettings {
    pub(super) url: Endpoint,
    pub(super) at: ListenAddr,
    pub(super) tls: Option<ServerTls>,
    pub(super) protocol: Protocol,
    pub(super) options: TransportOptions,
}

/// A client that has connected.
#[derive(Debug)]
pub(super) struct Incoming {
    /// The name of the client for notices.
    pub(super) peer: String,
    /// The connection, or the reason why its handshakes failed.
    pub(super) connection: Result<Connection, String>,
}

type Handshake = Pin<Box<dyn Future<Output = Incoming>>>;

/// The bound sockets, and the clients in a handshake.
pub(super) struct Listener {
    settings: Rc<ListenerSettings>,
    sockets: Vec<Socket>,
    handshakes: FuturesUnordered<Handshake>,
}

impl Listener {
    /// Binds all addresses of the endpoint.
    pub(super) async fn bind(settings: ListenerSettings) -> io::Result<Listener> {
        let mut sockets = Vec::new();
        for address in BindAddr::all(&settings.at).await? {
            sockets.push(address.bind(BACKLOG).await?);
        }
        let handshakes = FuturesUnordered::new();
        Ok(Listener { settings: settings.into(), sockets, handshakes })
    }

    pub(super) fn kind(&self) -> Kind {
        self.settings.protocol.kind()
    }

    /// Waits for the next client that has completed its handshakes, or failed to.
    ///
    /// # Errors
    ///
    /// The listening socket fails.
    pub(super) async fn next(&mut self) -> Result<Incoming, SessionError> {
        loop {
            let Listener { settings, sockets, handshakes } = self;
            let may_accept = handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                Some(incoming) = handshakes.next() => return Ok(incoming),
                accepted = accept(sockets), if may_accept => match accepted {
                    Ok(Accepted::Stream(stream, peer)) => {
                        handshakes.push(Box::pin(open(settings.clone(), stream, peer)));
                    }
                    Ok(Accepted::Datagrams(index)) => {
                        let Socket::Datagram(socket) = sockets.swap_remove(index) else { continue };
                        return datagrams::connect(socket, settings.options)
                            .await
                            .map_err(SessionError::Connection);
                    }
                    Err(error) if belongs_to_connection(&error) => {}
                    Err(error) => return Err(SessionError::Connection(error)),
                },
            }
        }
    }

    /// A hint for the user: the address, and the command for the other side.
    pub(super) fn hint(&self, keep_open: bool) -> String {
        let Endpoint { address, .. } = &self.settings.url;
        let bound = self.sockets.first().and_then(|socket| socket.at().ok());
        let bound: Option<HostPort> = bound.and_then(|at| at.parse().ok());
        let for_all = |at: &HostPort| matches!(&*at.host, "0.0.0.0" | "::");
        // The port is known only now if the system has chosen it.
        let with = |at: &HostPort, everywhere: bool| {
            let port = bound.as_ref().map_or(at.port, |bound| bound.port);
            let host = if everywhere && for_all(at) { "HOST" } else { &at.host };
            HostPort { host: host.to_owned(), port }
        };
        let url = |everywhere| match address {
            Address::Tcp(at) => Address::Tcp(with(at, everywhere)),
            Address::Tls(at) => Address::Tls(with(at, everywhere)),
            Address::Udp(at) => Address::Udp(with(at, everywhere)),
            Address::Ws(at, path) => Address::Ws(with(at, everywhere), path.clone()),
            Address::Wss(at, path) => Address::Wss(with(at, everywhere), path.clone()),
            other => other.clone(),
        };
        let target = match url(true) {
            Address::Tcp(HostPort { host, port }) => format!("{host} {port}"),
            other => other.to_string(),
        };
        let clients = if keep_open { "clients, one after the other" } else { "one client" };
        format!(
            "listening on {} for {clients}; connect with: echogate connect {target}",
            url(false)
        )
    }
}

/// A socket that a client has reached.
enum Accepted {
    Stream(Stream, Peer),
    /// The datagram socket with this index has received a datagram.
    Datagrams(usize),
}

/// Waits for a client of any of `sockets`. Cancel safe.
async fn accept(sockets: &[Socket]) -> io::Result<Accepted> {
    let accept_one = |index: usize, socket: &Socket| {
        let socket = socket.clone();
        async move {
            match &socket {
                Socket::Stream(listener) => {
                    let listener: &net_listener::Listener = listener;
                    let (stream, peer) = listener.accept().await?;
                    Ok(Accepted::Stream(stream, peer))
                }
                Socket::Datagram(socket) => {
                    match &**socket {
                        DatagramSocket::Udp(socket) => socket.readable().await?,
                        DatagramSocket::UnixGram(socket, _) => socket.readable().await?,
                    }
                    Ok(Accepted::Datagrams(index))
                }
            }
        }
    };
    let mut all: FuturesUnordered<_> =
        sockets.iter().enumerate().map(|(index, socket)| accept_one(index, socket)).collect();
    match all.next().await {
        Some(accepted) => accepted,
        None => pending().await,
    }
}

/// Opens the connection of a client: TLS and WebSocket handshakes, as the settings require them.
async fn open(settings: Rc<ListenerSettings>, stream: Stream, peer: Peer) -> Incoming {
    let name = match &peer {
        Peer::Unknown => "a client".to_owned(),
        peer => peer.to_string(),
    };
    let opened = timeout(HANDSHAKE_TIMEOUT, handshakes(&settings, stream)).await;
    let connection = opened.unwrap_or_else(|_| {
        let limit = HANDSHAKE_TIMEOUT.as_secs();
        Err(format!("the handshake was not completed within {limit} seconds"))
    });
    let connection =
        connection.map(|connection| Connection { peer: Some(name.clone()), ..connection });
    Incoming { peer: name, connection }
}

async fn handshakes(settings: &ListenerSettings, stream: Stream) -> Result<Connection, String> {
    let ListenerSettings { tls, protocol, options, .. } = settings;
    let stream = match (tls, stream) {
        (Some(tls), Stream::Plain(socket)) => {
            let app = match protocol {
                Protocol::WebSocket(_) => AppProtocol::WebSocket,
                Protocol::Bytes | Protocol::Datagrams => AppProtocol::Bytes,
            };
            Stream::from(tls.handshake(app, socket).await?)
        }
        (_, stream) => stream,
    };
    match protocol {
        Protocol::WebSocket(rules) => {
            let stream = options.traced(stream, PeerRole::Client);
            websocket::accept(stream, tls.is_some(), rules).await
        }
        Protocol::Bytes | Protocol::Datagrams => {
            Ok(Connection::of_stream(stream, PeerRole::Client, *options))
        }
    }
}
