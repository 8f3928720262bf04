//! The peer of a datagram listener: the sender of the first datagram.

use std::{
    io::{self, IoSliceMut},
    os::fd::AsRawFd,
    sync::Arc,
};

use nix::sys::socket::{self, MsgFlags, SockaddrLike, UnixAddr};
use tokio::{io::Interest, net::UnixDatagram};

use crate::{
    connections::registry::Peer,
    net::{
        connected_datagrams::{ConnectedSocket, Udp},
        datagram_socket::{DatagramSocket, unix_peer},
    },
};

/// Connects the socket to the sender of its first datagram, which stays in the receive queue. From
/// then on the system queues no datagrams of other senders. A sender without an address (an unnamed
/// Unix socket) cannot be connected to: then the datagrams of all senders are received, and none is
/// answered.
pub(in crate::client) async fn connect(
    socket: Arc<DatagramSocket>,
) -> io::Result<(Peer, ConnectedSocket)> {
    let socket = Arc::try_unwrap(socket).map_err(|_| io::Error::other("the socket is in use"))?;
    Ok(match socket {
        DatagramSocket::Udp(socket) => {
            let sender = socket.peek_sender().await?;
            socket.connect(sender).await?;
            (Peer::Address(sender), ConnectedSocket::Udp(Udp::new(socket)))
        }
        DatagramSocket::UnixGram(socket, file, _) => {
            let sender = peek_sender(&socket).await?;
            // A sender without an address cannot be answered.
            if sender.path().is_some() || sender.as_abstract().is_some() {
                socket::connect(socket.as_raw_fd(), &sender)?;
            }
            let socket = ConnectedSocket::Unix { socket, _file: file };
            (unix_peer(&sender), socket)
        }
    })
}

/// The sender of the next datagram, which stays in the receive queue.
async fn peek_sender(socket: &UnixDatagram) -> io::Result<UnixAddr> {
    let peek = || {
        let mut byte = [0];
        let mut buffers = [IoSliceMut::new(&mut byte)];
        let fd = socket.as_raw_fd();
        let peeked = socket::recvmsg::<UnixAddr>(fd, &mut buffers, None, MsgFlags::MSG_PEEK)?;
        // The system returns no address, of length 0, for a socket without one.
        let address = peeked.address.filter(|address| address.len() > 0);
        Ok(address.unwrap_or_else(UnixAddr::new_unnamed))
    };
    socket.async_io(Interest::READABLE, peek).await
}
