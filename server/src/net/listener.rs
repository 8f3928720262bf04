//! Listening stream sockets.

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
    time::Duration,
};

use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::{socket_file::SocketFile, stream::Stream};
use crate::connections::registry::Peer;

#[derive(Debug)]
pub(crate) enum Listener {
    Tcp(TcpListener),
    /// A Unix socket, and its file if this process created it.
    Unix(UnixListener, Option<SocketFile>),
}

impl Listener {
    /// Accepts the next connection.
    ///
    /// # Errors
    ///
    /// The errors of accept(2); see [`belongs_to_connection`].
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok(from_tcp(stream, peer))
            }
            Listener::Unix(listener, _) => Ok(from_unix(listener.accept().await?.0)),
        }
    }

    /// Accepts a connection that is in the kernel's queue, even if the runtime has not been
    /// notified of it yet; None if the queue is empty.
    ///
    /// # Errors
    ///
    /// The errors of accept(2); see [`belongs_to_connection`].
    pub(crate) fn accept_now(&self) -> io::Result<Option<(Stream, Peer)>> {
        let socket = match self {
            Listener::Tcp(listener) => SockRef::from(listener),
            Listener::Unix(listener, _) => SockRef::from(listener),
        };
        let (stream, address) = match socket.accept() {
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(None),
            accepted => accepted?,
        };
        stream.set_nonblocking(true)?;
        Ok(Some(match address.as_socket() {
            Some(peer) => from_tcp(TcpStream::from_std(stream.into())?, peer),
            None => from_unix(UnixStream::from_std(stream.into())?),
        }))
    }
}

impl AsFd for Listener {
    fn as_fd(&self) -> BorrowedFd<'_> {
        match self {
            Listener::Tcp(listener) => listener.as_fd(),
            Listener::Unix(listener, _) => listener.as_fd(),
        }
    }
}

fn from_tcp(stream: TcpStream, peer: SocketAddr) -> (Stream, Peer) {
    // Both fail on a connection that is closed already; its first read reports that.
    stream.set_nodelay(true).ok();
    SockRef::from(&stream).set_tcp_keepalive(&keepalive()).ok();
    (Stream::from(stream), Peer::Address(peer))
}

fn from_unix(stream: UnixStream) -> (Stream, Peer) {
    let process = stream.peer_cred().ok().and_then(|peer| peer.pid());
    (Stream::from(stream), process.map_or(Peer::Unknown, Peer::Process))
}

/// TCP keepalive: the kernel probes a peer that has been silent for a minute, and reports the
/// connection as failed after three unanswered probes.
pub(crate) fn keepalive() -> TcpKeepalive {
    TcpKeepalive::new()
        .with_time(Duration::from_secs(60))
        .with_interval(Duration::from_secs(10))
        .with_retries(3)
}

/// Whether an error of accept(2) concerns only the connection to be accepted. On Linux that
/// includes pending network errors of the connection.
pub(crate) fn belongs_to_connection(error: &io::Error) -> bool {
    use io::ErrorKind::*;
    matches!(
        error.kind(),
        ConnectionAborted
            | ConnectionReset
            | ConnectionRefused
            | Interrupted
            | PermissionDenied
            | NetworkDown
            | NetworkUnreachable
            | HostUnreachable
            | TimedOut
    )
}
