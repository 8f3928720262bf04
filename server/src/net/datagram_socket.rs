//! Bound datagram sockets, UDP and Unix.

use std::{
    io,
    net::{IpAddr, SocketAddr},
    os::fd::AsRawFd,
};

use echogate_proto::api::Kind;
use nix::sys::socket::{MsgFlags, UnixAddr, recvfrom, sendto};
use tokio::{
    io::Interest,
    net::{UdpSocket, UnixDatagram},
};

use super::{
    packet_info::{self, PacketInfo},
    socket_file::SocketFile,
    unread::Unread,
};
use crate::{connections::registry::Peer, text::escape};

#[derive(Debug)]
pub(crate) enum DatagramSocket {
    Udp(UdpSocket),
    /// A Unix socket, and its file if this process created it.
    UnixGram(UnixDatagram, Option<SocketFile>, Unread),
}

/// The sender of a datagram, which the answer is sent to.
#[derive(Clone, Debug)]
pub(crate) enum Sender {
    Udp(SocketAddr, PacketInfo),
    UnixGram(UnixAddr),
}

/// The addresses of a datagram, which identify the datagrams of one sender to one local address.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum DatagramAddresses {
    /// The sender, and the local address if the system reports it.
    Udp(SocketAddr, Option<IpAddr>),
    UnixGram(UnixAddr),
}

impl Sender {
    pub(crate) fn addresses(&self) -> DatagramAddresses {
        match self {
            Sender::Udp(from, local) => DatagramAddresses::Udp(*from, local.ip()),
            Sender::UnixGram(from) => DatagramAddresses::UnixGram(*from),
        }
    }

    /// The sender as shown in the registry and the log.
    pub(crate) fn peer(&self) -> Peer {
        match self {
            Sender::Udp(from, _) => Peer::Address(*from),
            Sender::UnixGram(from) => unix_peer(from),
        }
    }
}

/// The sender of a Unix datagram as shown in the registry and the log.
pub(crate) fn unix_peer(from: &UnixAddr) -> Peer {
    match (from.path(), from.as_abstract()) {
        (Some(path), _) => Peer::Path(escape::bytes(path.as_os_str().as_encoded_bytes()).into()),
        (None, Some(name)) => Peer::Path(format!("@{}", escape::bytes(name)).into()),
        (None, None) => Peer::Unknown,
    }
}

impl DatagramSocket {
    /// A UDP socket that receives the local address of each datagram.
    ///
    /// # Errors
    ///
    /// The system does not report local addresses.
    pub(crate) fn udp(socket: UdpSocket) -> io::Result<DatagramSocket> {
        packet_info::enable(&socket)?;
        Ok(DatagramSocket::Udp(socket))
    }

    /// A Unix socket, and its file if this process created it.
    pub(crate) fn unixgram(socket: UnixDatagram, file: Option<SocketFile>) -> DatagramSocket {
        let unread = Unread::of(&socket);
        DatagramSocket::UnixGram(socket, file, unread)
    }

    pub(crate) fn kind(&self) -> Kind {
        match self {
            DatagramSocket::Udp(_) => Kind::Udp,
            DatagramSocket::UnixGram(..) => Kind::UnixGram,
        }
    }

    /// Receives one datagram into `buffer` and returns its length and its sender.
    ///
    /// # Errors
    ///
    /// The errors of recvmsg(2) and recvfrom(2).
    pub(crate) async fn receive(&self, buffer: &mut [u8]) -> io::Result<(usize, Sender)> {
        match self {
            DatagramSocket::Udp(socket) => {
                let receive = || packet_info::receive(socket, buffer);
                let received = socket.async_io(Interest::READABLE, receive).await;
                received.map(|(len, from, local)| (len, Sender::Udp(from, local)))
            }
            DatagramSocket::UnixGram(socket, ..) => {
                let receive = || Ok(recvfrom::<UnixAddr>(socket.as_raw_fd(), buffer)?);
                let (len, from) = socket.async_io(Interest::READABLE, receive).await?;
                Ok((len, Sender::UnixGram(from.unwrap_or_else(UnixAddr::new_unnamed))))
            }
        }
    }

    /// Sends one datagram to the sender of another.
    ///
    /// # Errors
    ///
    /// The errors of sendmsg(2) and sendto(2). On a Unix socket that includes a full receive queue:
    /// waiting for one client would delay all others.
    pub(crate) async fn send(&self, bytes: &[u8], to: &Sender) -> io::Result<()> {
        match self {
            DatagramSocket::Udp(socket) => {
                socket.async_io(Interest::WRITABLE, || self.try_send(bytes, to)).await
            }
            DatagramSocket::UnixGram(..) => self.try_send(bytes, to),
        }
    }

    /// Sends one datagram to the sender of another, without waiting.
    ///
    /// # Errors
    ///
    /// The errors of sendmsg(2) and sendto(2). `WouldBlock` if the send buffer, or the receive queue of a
    /// Unix socket, is full, and for a Unix socket that does not read.
    pub(crate) fn try_send(&self, bytes: &[u8], to: &Sender) -> io::Result<()> {
        match (self, to) {
            (DatagramSocket::Udp(socket), Sender::Udp(to, local)) => {
                packet_info::send(socket, bytes, *to, local)
            }
            (DatagramSocket::UnixGram(socket, _, unread), Sender::UnixGram(to)) => {
                let send = || sendto(socket.as_raw_fd(), bytes, to, MsgFlags::MSG_DONTWAIT);
                unread.send(socket, to, bytes.len(), || Ok(send().map(drop)?))
            }
            _ => unreachable!("a sender has the family of its socket"),
        }
    }
}
