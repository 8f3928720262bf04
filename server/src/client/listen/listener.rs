//! The listening socket of `echogate listen`, and the clients that have connected.

use std::{future::pending, io, pin::Pin, rc::Rc, time::Duration};

use echogate_proto::endpoint::{Address, HostPort};
use futures_util::{StreamExt, stream::FuturesUnordered};
use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use super::{
    datagrams,
    websocket::{self, Rules},
};
use crate::{
    client::{
        session::SessionError,
        transport::{Connection, PeerRole, TransportOptions},
    },
    config::{ListenAddr, SocketPath},
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
pub(in crate::client) const MAX_HANDSHAKES: usize = 64;

/// The pause of accepting when file descriptors or memory have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The settings of a listener.
#[derive(Debug)]
pub(super) struct ListenerSettings {
    /// The endpoint as given.
    pub(super) address: Address,
    pub(super) at: ListenAddr,
    pub(super) tls: Option<ServerTls>,
    /// The WebSocket clients that are accepted; none for other endpoints.
    pub(super) rules: Option<Rules>,
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
        let sockets = bind(&settings.at).await?;
        Ok(Listener { settings: settings.into(), sockets, handshakes: FuturesUnordered::new() })
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
                accepted = accept(sockets), if may_accept => match accepted.map_err(SessionError::Connection)? {
                    Accepted::Stream(stream, peer) => {
                        handshakes.push(Box::pin(open(settings.clone(), stream, peer)));
                    }
                    Accepted::Datagrams(index) => {
                        let Socket::Datagram(socket) = sockets.swap_remove(index) else { continue };
                        let connected = datagrams::connect(socket, &settings.options).await;
                        let connection = connected.map_err(SessionError::Connection)?;
                        let peer = connection.peer.clone().unwrap_or_default();
                        return Ok(Incoming { peer, connection: Ok(connection) });
                    }
                },
            }
        }
    }

    /// The endpoint, with the port that the system has chosen for port 0.
    pub(super) fn url(&self) -> Address {
        bound(&self.settings.address, &self.sockets)
    }

    /// A hint for the user: the endpoint, and the command for the other side.
    pub(super) fn hint(&self, keep_open: bool) -> String {
        let url = self.url();
        let mut target = url.clone();
        if let Some(at) = host_port(&mut target)
            && matches!(&*at.host, "0.0.0.0" | "::")
        {
            "HOST".clone_into(&mut at.host);
        }
        let target = match target {
            Address::Tcp(HostPort { host, port }) => format!("{host} {port}"),
            other => other.to_string(),
        };
        let clients = if keep_open { "clients, one after the other" } else { "one client" };
        let is_binary = self.settings.rules.as_ref().is_some_and(|rules| rules.binary);
        let flags = if is_binary { "--half-close --binary " } else { "" };
        format!("listening on {url} for {clients}; connect with: echogate connect {flags}{target}")
    }
}

/// The address to listen on, and the path of WebSocket clients; `None` for other endpoints.
pub(in crate::client) fn listen_address(
    address: &Address,
) -> Result<(ListenAddr, Option<String>), String> {
    let path = |path: &_| SocketPath { path: Clone::clone(path), mode: None };
    Ok(match address {
        Address::Tcp(at) | Address::Tls(at) => (ListenAddr::Tcp(at.clone()), None),
        Address::Unix(at) => (ListenAddr::Unix(path(at)), None),
        Address::Udp(at) => (ListenAddr::Udp(at.clone()), None),
        Address::UnixGram(at) => (ListenAddr::UnixGram(path(at)), None),
        Address::Ws(at, path) | Address::Wss(at, path) => {
            (ListenAddr::Tcp(at.clone()), Some(path.clone()))
        }
        Address::Service(_) => {
            return Err("a service: URL is valid as the upstream of a route only".to_owned());
        }
    })
}

/// Binds all addresses of an endpoint.
pub(in crate::client) async fn bind(at: &ListenAddr) -> io::Result<Vec<Socket>> {
    let mut sockets = Vec::new();
    for address in BindAddr::all(at).await? {
        sockets.push(address.bind(BACKLOG).await?);
    }
    Ok(sockets)
}

/// The address with the port of the bound sockets.
pub(in crate::client) fn bound(address: &Address, sockets: &[Socket]) -> Address {
    let mut address = address.clone();
    let bound = sockets.first().and_then(|socket| socket.at().ok());
    let bound = bound.and_then(|at| at.parse::<HostPort>().ok());
    if let (Some(at), Some(bound)) = (host_port(&mut address), bound) {
        at.port = bound.port;
    }
    address
}

/// The host and port of an address, if it has them.
fn host_port(address: &mut Address) -> Option<&mut HostPort> {
    match address {
        Address::Tcp(at) | Address::Tls(at) | Address::Udp(at) => Some(at),
        Address::Ws(at, _) | Address::Wss(at, _) => Some(at),
        Address::Unix(_) | Address::UnixGram(_) | Address::Service(_) => None,
    }
}

/// A socket that a client has reached.
pub(in crate::client) enum Accepted {
    Stream(Stream, Peer),
    /// The datagram socket with this index has received a datagram.
    Datagrams(usize),
}

/// Waits for a client of any of `sockets`. Where file descriptors or memory have run out, it waits
/// until there are some. Cancel safe.
///
/// # Errors
///
/// A listening socket fails.
pub(in crate::client) async fn accept(sockets: &[Socket]) -> io::Result<Accepted> {
    loop {
        match accept_next(sockets).await {
            Err(error) if belongs_to_connection(&error) => {}
            Err(error) if is_shortage(&error) => sleep(SHORTAGE_PAUSE).await,
            accepted => return accepted,
        }
    }
}

/// Whether accept(2) may succeed when other connections have ended.
fn is_shortage(error: &io::Error) -> bool {
    let errno = error.raw_os_error().map(Errno::from_raw);
    matches!(errno, Some(Errno::EMFILE | Errno::ENFILE | Errno::ENOBUFS | Errno::ENOMEM))
}

async fn accept_next(sockets: &[Socket]) -> io::Result<Accepted> {
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
                        DatagramSocket::UnixGram(socket, ..) => socket.readable().await?,
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
    let connection = within_handshake_timeout(handshakes(&settings, stream)).await;
    let connection =
        connection.map(|connection| Connection { peer: Some(name.clone()), ..connection });
    Incoming { peer: name, connection }
}

/// The result of `handshakes`, unless they take longer than [`HANDSHAKE_TIMEOUT`].
pub(in crate::client) async fn within_handshake_timeout<T>(
    handshakes: impl Future<Output = Result<T, String>>,
) -> Result<T, String> {
    timeout(HANDSHAKE_TIMEOUT, handshakes).await.unwrap_or_else(|_| {
        let limit = HANDSHAKE_TIMEOUT.as_secs();
        Err(format!("the handshake was not completed within {limit} seconds"))
    })
}

/// Performs the TLS handshake with a client, where the endpoint has TLS.
pub(in crate::client) async fn tls_handshake(
    tls: Option<&ServerTls>,
    is_websocket: bool,
    stream: Stream,
) -> Result<Stream, String> {
    let app = if is_websocket { AppProtocol::WebSocket } else { AppProtocol::Bytes };
    match (tls, stream) {
        (Some(tls), Stream::Plain(socket)) => Ok(tls.handshake(app, socket).await?.into()),
        (_, stream) => Ok(stream),
    }
}

async fn handshakes(settings: &ListenerSettings, stream: Stream) -> Result<Connection, String> {
    let ListenerSettings { tls, rules, options, .. } = settings;
    let stream = tls_handshake(tls.as_ref(), rules.is_some(), stream).await?;
    let Some(rules) = rules else {
        return Ok(Connection::of_stream(stream, PeerRole::Client, options));
    };
    let stream = options.traced(stream, PeerRole::Client);
    Ok(websocket::accept(stream, tls.is_some(), rules).await?.connection(rules).await)
}
