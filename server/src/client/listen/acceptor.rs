//! The bound sockets of an endpoint, and the clients that reach them.

use std::{future::pending, io, pin::Pin, sync::Arc, time::Duration};

use echogate_proto::endpoint::{Address, HostPort};
use futures_util::{StreamExt, stream::FuturesUnordered};
use nix::errno::Errno;
use tokio::time::{sleep, timeout};

use crate::{
    config::ListenAddr,
    connections::registry::Peer,
    net::{
        datagram_socket::DatagramSocket,
        listener::{Listener, belongs_to_connection},
        stream::Stream,
    },
    server::sockets::bind::{BindAddr, Socket},
};

/// The listen backlog: clients that wait for the one before them.
const BACKLOG: u32 = 128;

/// The time that a client has for the TLS and the WebSocket handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// The most clients in a handshake at the same time, so that a silent client does not block others.
const MAX_HANDSHAKES: usize = 64;

/// The pause before the next accept(2) when file descriptors or memory have run out.
const SHORTAGE_PAUSE: Duration = Duration::from_millis(100);

/// The bound sockets, and the clients in a handshake, whose results are `T`.
pub(in crate::client) struct Acceptor<'a, T> {
    sockets: Vec<Socket>,
    handshakes: FuturesUnordered<Pin<Box<dyn Future<Output = Arrived<T>> + 'a>>>,
}

/// Something that has reached a socket.
pub(in crate::client) enum Arrived<T> {
    /// The client of a stream, and the result of its handshakes, or the reason why they failed.
    Client(Peer, Result<T, String>),
    /// A datagram socket whose first datagram has arrived and has not been read. The acceptor has
    /// given up the socket.
    Datagrams(Arc<DatagramSocket>),
}

impl<'a, T: 'a> Acceptor<'a, T> {
    /// Binds all addresses of an endpoint.
    pub(in crate::client) async fn bind(at: &ListenAddr) -> io::Result<Acceptor<'a, T>> {
        let mut sockets = Vec::new();
        for address in BindAddr::all(at).await? {
            sockets.push(address.bind(BACKLOG).await?);
        }
        Ok(Acceptor { sockets, handshakes: FuturesUnordered::new() })
    }

    /// The address with the port of the bound sockets.
    pub(in crate::client) fn bound(&self, address: &Address) -> Address {
        let mut address = address.clone();
        let bound = self.sockets.first().and_then(|socket| socket.at().ok());
        let bound = bound.and_then(|at| at.parse::<HostPort>().ok());
        if let (Some(at), Some(bound)) = (host_port(&mut address), bound) {
            at.port = bound.port;
        }
        address
    }

    /// Whether no client is in a handshake.
    pub(in crate::client) fn is_idle(&self) -> bool {
        self.handshakes.is_empty()
    }

    /// Waits until the `handshakes` of a client have ended, or a datagram arrives. Meanwhile, if
    /// `accepts`, further clients are accepted, as soon as there are file descriptors and memory
    /// for them. Cancel safe.
    ///
    /// # Errors
    ///
    /// A listening socket fails.
    pub(in crate::client) async fn next<F>(
        &mut self,
        accepts: bool,
        handshakes: impl Fn(Stream) -> F,
    ) -> io::Result<Arrived<T>>
    where
        F: Future<Output = Result<T, String>> + 'a,
    {
        loop {
            let accepts = accepts && self.handshakes.len() < MAX_HANDSHAKES;
            tokio::select! {
                Some(arrived) = self.handshakes.next() => return Ok(arrived),
                accepted = accept(&self.sockets), if accepts => match accepted? {
                    Accepted::Stream(stream, peer) => {
                        let arrived = within_timeout(peer, handshakes(stream));
                        self.handshakes.push(Box::pin(arrived));
                    }
                    Accepted::Datagrams(index) => {
                        if let Socket::Datagram(socket) = self.sockets.swap_remove(index) {
                            return Ok(Arrived::Datagrams(socket));
                        }
                    }
                },
                else => pending().await,
            }
        }
    }
}

/// The name of a client in notices.
pub(in crate::client) fn client_name(peer: &Peer) -> String {
    peer.description().unwrap_or_else(|| "a client".to_owned())
}

/// The host and port of an address, if it has them.
pub(super) fn host_port(address: &mut Address) -> Option<&mut HostPort> {
    match address {
        Address::Tcp(at) | Address::Tls(at) | Address::Udp(at) => Some(at),
        Address::Ws(at, _) | Address::Wss(at, _) => Some(at),
        Address::Unix(_) | Address::UnixGram(_) | Address::Service(_) => None,
    }
}

/// The result of `handshakes`, unless they take longer than [`HANDSHAKE_TIMEOUT`].
async fn within_timeout<T>(
    peer: Peer,
    handshakes: impl Future<Output = Result<T, String>>,
) -> Arrived<T> {
    let result = timeout(HANDSHAKE_TIMEOUT, handshakes).await.unwrap_or_else(|_| {
        let limit = HANDSHAKE_TIMEOUT.as_secs();
        Err(format!("the handshake was not completed within {limit} seconds"))
    });
    Arrived::Client(peer, result)
}

/// A socket that a client has reached.
enum Accepted {
    Stream(Stream, Peer),
    /// The datagram socket with this index has received a datagram.
    Datagrams(usize),
}

/// Waits for a client of any of `sockets`. Cancel safe.
async fn accept(sockets: &[Socket]) -> io::Result<Accepted> {
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
                    let listener: &Listener = listener;
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
