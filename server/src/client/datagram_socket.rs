//! Datagram sockets that are connected to their peer with connect(2).

use std::{
    cell::RefCell,
    fmt,
    future::Future,
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use futures_util::FutureExt;
use tokio::{
    io::{Interest, ReadBuf},
    net::{UdpSocket, UnixDatagram},
};

use crate::net::socket_file::SocketFile;

/// The largest payload of a UDP datagram over IPv4, in bytes: 65,535 less both headers.
pub(super) const MAX_UDP: usize = 65_507;

/// A connected datagram socket.
#[derive(Debug)]
pub(super) enum DatagramSocket {
    Udp(Udp),
    Unix {
        socket: UnixDatagram,
        /// The file of the local address, if the address has one.
        _file: Option<SocketFile>,
    },
}

/// A connected UDP socket.
pub(super) struct Udp {
    socket: Arc<UdpSocket>,
    /// The next ICMP error. It does not make the socket readable, so it is awaited separately.
    icmp_error: RefCell<Pin<Box<dyn Future<Output = io::Error> + Send>>>,
}

impl DatagramSocket {
    /// The local address of a UDP socket.
    pub(super) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            DatagramSocket::Udp(udp) => udp.socket.local_addr().ok(),
            DatagramSocket::Unix { .. } => None,
        }
    }

    /// Sends a datagram. Only the latest caller is woken.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        match self {
            DatagramSocket::Udp(udp) => udp.socket.poll_send(cx, bytes).map_err(icmp_error),
            DatagramSocket::Unix { socket, .. } => socket.poll_send(cx, bytes),
        }
        .map_ok(drop)
    }

    /// Receives a datagram, cut to the size of `buffer`. Only the latest caller is woken.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            DatagramSocket::Udp(udp) => match udp.socket.poll_recv(cx, buffer) {
                Poll::Pending => udp.icmp_error.borrow_mut().as_mut().poll(cx).map(Err),
                received => received,
            }
            .map_err(icmp_error),
            DatagramSocket::Unix { socket, .. } => socket.poll_recv(cx, buffer),
        }
    }
}

impl Udp {
    /// Wraps a socket that is connected to its peer.
    pub(super) fn new(socket: UdpSocket) -> Udp {
        let socket = Arc::new(socket);
        let errors = socket.clone();
        let next = async move {
            let take = || errors.take_error()?.ok_or_else(|| io::ErrorKind::WouldBlock.into());
            errors.async_io(Interest::ERROR, take).await.unwrap_or_else(|error| error)
        };
        Udp { socket, icmp_error: RefCell::new(Box::pin(next.fuse())) }
    }
}

impl fmt::Debug for Udp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Udp").field(&self.socket).finish()
    }
}

/// Words the error that an ICMP message has caused.
fn icmp_error(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => {
            io::Error::new(error.kind(), "port unreachable: no process listens on it")
        }
        _ => error,
    }
}
