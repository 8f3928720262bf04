//! Sockets that other processes have bound, before they are registered with the runtime.

use std::{
    io,
    net::{TcpListener, UdpSocket},
    os::{
        fd::OwnedFd,
        unix::net::{UnixDatagram, UnixListener},
    },
};

use socket2::{Domain, Type};

use super::bind::Socket;
use crate::net::{datagram_socket::DatagramSocket, listener::Listener, socket_file::SocketFile};

/// A socket that another process bound.
#[derive(Debug)]
pub(super) enum RawSocket {
    Tcp(TcpListener),
    Unix(UnixListener),
    Udp(UdpSocket),
    UnixGram(UnixDatagram),
}

impl TryFrom<OwnedFd> for RawSocket {
    type Error = io::Error;

    /// Fails unless the descriptor is that of a socket that can be served.
    fn try_from(descriptor: OwnedFd) -> io::Result<RawSocket> {
        let socket = socket2::Socket::from(descriptor);
        let (domain, kind) = (socket.domain()?, socket.r#type()?);
        let is_listener = socket.is_listener()?;
        let descriptor = OwnedFd::from(socket);
        match (domain, kind) {
            (Domain::IPV4 | Domain::IPV6, Type::STREAM) if is_listener => {
                Ok(RawSocket::Tcp(descriptor.into()))
            }
            (Domain::UNIX, Type::STREAM) if is_listener => Ok(RawSocket::Unix(descriptor.into())),
            (Domain::IPV4 | Domain::IPV6, Type::DGRAM) => Ok(RawSocket::Udp(descriptor.into())),
            (Domain::UNIX, Type::DGRAM) => Ok(RawSocket::UnixGram(descriptor.into())),
            _ => Err(io::Error::other("neither a listening stream socket nor a datagram socket")),
        }
    }
}

impl RawSocket {
    /// Registers the socket with the runtime. `file` is the file of a Unix socket.
    ///
    /// # Errors
    ///
    /// The errors of fcntl(2) and epoll_ctl(2).
    pub(super) fn into_socket(self, file: Option<SocketFile>) -> io::Result<Socket> {
        Ok(match self {
            RawSocket::Tcp(listener) => {
                listener.set_nonblocking(true)?;
                Listener::Tcp(tokio::net::TcpListener::from_std(listener)?).into()
            }
            RawSocket::Unix(listener) => {
                listener.set_nonblocking(true)?;
                Listener::Unix(tokio::net::UnixListener::from_std(listener)?, file).into()
            }
            RawSocket::Udp(socket) => {
                socket.set_nonblocking(true)?;
                DatagramSocket::udp(tokio::net::UdpSocket::from_std(socket)?)?.into()
            }
            RawSocket::UnixGram(socket) => {
                socket.set_nonblocking(true)?;
                let socket = tokio::net::UnixDatagram::from_std(socket)?;
                DatagramSocket::unixgram(socket, file).into()
            }
        })
    }
}
