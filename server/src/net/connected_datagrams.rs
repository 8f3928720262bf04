//! Datagram sockets that are connected to their peer with connect(2), UDP and Unix.

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    hash::{BuildHasher, RandomState},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    os::unix::net as unix,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_proto::{endpoint::UnixPath, reason};
use futures_util::FutureExt;
use nix::errno::Errno;
use socket2::SockRef;
use tokio::{
    io::{Interest, ReadBuf},
    net::{UdpSocket, UnixDatagram, unix::SocketAddr as UnixSocketAddr},
};

use super::{happy_eyeballs::of_source, socket_file::SocketFile};
use crate::{connections::limits::descriptors::outside_reserve, text::io_error::describe};

/// The largest payload of a UDP datagram over IPv4, in bytes: 65,535 less both headers.
pub(crate) const MAX_UDP: usize = 65_507;

#[derive(Debug)]
pub(crate) enum ConnectedSocket {
    Udp(Udp),
    Unix(Unix),
}

pub(crate) struct Udp {
    socket: Arc<UdpSocket>,
    peer: Option<SocketAddr>,
    /// The next ICMP error. It does not make the socket readable, so it is awaited separately.
    icmp_error: RefCell<Pin<Box<dyn Future<Output = io::Error> + Send>>>,
}

#[derive(Debug)]
pub(crate) struct Unix {
    socket: UnixDatagram,
    peer: Option<UnixSocketAddr>,
    /// The file of the local address, if the address has one.
    _file: Option<SocketFile>,
}

impl ConnectedSocket {
    /// A Unix socket that is connected to `path`, with a local address for the replies.
    ///
    /// # Errors
    ///
    /// The errors of bind(2) and connect(2).
    pub(crate) fn unix(path: &UnixPath) -> io::Result<ConnectedSocket> {
        let name = RandomState::new().hash_one(path);
        let (socket, file) = bind_temporary(&format!("echogate-{name:016x}"))?;
        let socket = outside_reserve(socket)?;
        socket.connect(path).map_err(unix_error)?;
        tracing::debug!("datagrams go to {path}");
        socket.set_nonblocking(true)?;
        Ok(ConnectedSocket::Unix(Unix::new(UnixDatagram::from_std(socket)?, file)))
    }

    /// The local address of a UDP socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            ConnectedSocket::Udp(udp) => udp.socket.local_addr().ok(),
            ConnectedSocket::Unix(_) => None,
        }
    }

    /// The local address and that of the peer, of a UDP socket.
    pub(crate) fn addresses(&self) -> [Option<SocketAddr>; 2] {
        let ConnectedSocket::Udp(udp) = self else { return [None, None] };
        [udp.socket.local_addr().ok(), udp.socket.peer_addr().ok()]
    }

    /// Sends a datagram. Only the latest caller is woken.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        match self {
            ConnectedSocket::Udp(udp) => udp.socket.poll_send(cx, bytes).map_err(icmp_error),
            ConnectedSocket::Unix(unix) => unix.socket.poll_send(cx, bytes).map_err(unix_error),
        }
        .map_ok(drop)
    }

    /// Sends a datagram without waiting.
    ///
    /// # Errors
    ///
    /// The errors of send(2). `WouldBlock` if the send buffer, or the receive queue of a Unix socket, is
    /// full.
    pub(crate) fn try_send(&self, bytes: &[u8]) -> io::Result<()> {
        match self {
            ConnectedSocket::Udp(udp) => {
                SockRef::from(&*udp.socket).send(bytes).map_err(icmp_error)
            }
            ConnectedSocket::Unix(unix) => {
                SockRef::from(&unix.socket).send(bytes).map_err(unix_error)
            }
        }
        .map(drop)
    }

    /// Receives a datagram of the peer, cut to the size of `buffer`. Datagrams of others, which have
    /// arrived before connect(2), are dropped. Only the latest caller is woken.
    pub(crate) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let begin = buffer.filled().len();
        while !ready!(self.poll_receive_any(cx, buffer))? {
            tracing::debug!("a datagram of another sender is dropped");
            buffer.set_filled(begin);
        }
        Poll::Ready(Ok(()))
    }

    /// Receives a datagram. Returns whether the peer has sent it.
    fn poll_receive_any(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<bool>> {
        match self {
            ConnectedSocket::Udp(Udp { socket, peer, icmp_error: next }) => {
                let received = match socket.poll_recv_from(cx, buffer) {
                    Poll::Pending => next.borrow_mut().as_mut().poll(cx).map(Err),
                    received => received,
                };
                let is_of_peer = |from| peer.is_none_or(|peer| from == peer);
                received.map_ok(is_of_peer).map_err(icmp_error)
            }
            ConnectedSocket::Unix(Unix { socket, peer, .. }) => {
                let is_of_peer = |from| peer.as_ref().is_none_or(|peer| is_same(peer, &from));
                socket.poll_recv_from(cx, buffer).map_ok(is_of_peer)
            }
        }
    }
}

/// Whether two addresses of Unix sockets are the same.
fn is_same(one: &UnixSocketAddr, other: &UnixSocketAddr) -> bool {
    #[cfg(target_os = "linux")]
    if one.as_abstract_name() != other.as_abstract_name() {
        return false;
    }
    one.as_pathname() == other.as_pathname()
}

/// Binds a socket in Linux's abstract namespace, where no file has to be removed or protected.
#[cfg(target_os = "linux")]
fn bind_temporary(name: &str) -> io::Result<(unix::UnixDatagram, Option<SocketFile>)> {
    use std::os::linux::net::SocketAddrExt;

    let address = unix::SocketAddr::from_abstract_name(name)?;
    Ok((unix::UnixDatagram::bind_addr(&address)?, None))
}

/// Binds a socket in the directory for temporary files.
#[cfg(not(target_os = "linux"))]
fn bind_temporary(name: &str) -> io::Result<(unix::UnixDatagram, Option<SocketFile>)> {
    let path = std::env::temp_dir().join(name);
    let socket = unix::UnixDatagram::bind(&path)?;
    let file = SocketFile::of(&path)?;
    Ok((socket, Some(file)))
}

impl Udp {
    /// Opens a socket that is connected to the first of `addresses` that this machine has a route
    /// to, from the local address `source` if one is given. Nothing is sent, so that a success does
    /// not show whether a process listens there.
    ///
    /// # Errors
    ///
    /// The errors of bind(2) and connect(2) for the last address; of kind Other if there is no
    /// address.
    pub(crate) async fn connect_any(
        addresses: &[SocketAddr],
        source: Option<SocketAddr>,
    ) -> io::Result<Udp> {
        let mut result = Err(io::Error::other("the host name has no address"));
        for &address in addresses {
            result = Udp::connect(address, source).await;
            match &result {
                Ok(_) => {
                    tracing::debug!("datagrams go to {address}");
                    break;
                }
                Err(error) => tracing::debug!("no datagrams to {address}: {}", describe(error)),
            }
        }
        result
    }

    async fn connect(peer: SocketAddr, source: Option<SocketAddr>) -> io::Result<Udp> {
        let unspecified = match peer {
            SocketAddr::V4(_) => IpAddr::V4(Ipv4Addr::UNSPECIFIED),
            SocketAddr::V6(_) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
        };
        let socket = match source {
            Some(source) => UdpSocket::bind(source).await.map_err(|e| of_source(source, &e))?,
            None => UdpSocket::bind((unspecified, 0)).await?,
        };
        let socket = outside_reserve(socket)?;
        socket.connect(peer).await?;
        Ok(Udp::new(socket))
    }

    /// Wraps a socket that is connected to its peer.
    pub(crate) fn new(socket: UdpSocket) -> Udp {
        let peer = socket.peer_addr().ok();
        let socket = Arc::new(socket);
        let errors = socket.clone();
        let next = async move {
            let take = || errors.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            errors.async_io(Interest::ERROR, take).await.unwrap_or_else(|error| error)
        };
        Udp { socket, peer, icmp_error: RefCell::new(Box::pin(next.fuse())) }
    }
}

impl Unix {
    /// Wraps a socket, with the file of its local address. One that is not connected receives the
    /// datagrams of all senders.
    pub(crate) fn new(socket: UnixDatagram, file: Option<SocketFile>) -> Unix {
        let peer = socket.peer_addr().ok();
        Unix { socket, peer, _file: file }
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Udp").field(&self.socket).finish()
    }
}

/// Describes the errors of connect(2) and send(2) that say that a Unix datagram socket cannot reach
/// its peer.
fn unix_error(error: io::Error) -> io::Error {
    let text = match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EPERM) => "the socket is connected to another peer",
        // Also the second send to a peer whose socket is closed: the system disconnects at the first.
        Some(Errno::ENOTCONN) => "the peer has no address to send to, or its socket is closed",
        _ => return error,
    };
    io::Error::new(error.kind(), text)
}

/// Describes an error that an ICMP message has caused.
fn icmp_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => io::Error::new(error.kind(), reason::IO_NO_PROCESS),
        _ => error,
    }
}
