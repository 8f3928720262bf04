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
        connected_datagrams::{ConnectedSocket, Udp, Unix},
        datagram_socket::{DatagramSocket, unix_peer},
    },
};

/// Connects the socket to the sender of its first datagram, which stays in the receive queue. Only
/// the datagrams of that sender are received. A sender without an address (an unnamed Unix socket)
/// cannot be connected to: then the datagrams of all senders are received, and none is answered.
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
            (unix_peer(&sender), ConnectedSocket::Unix(Unix::new(socket, file)))
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

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, net, os::unix::net as unix};

    use futures_util::FutureExt;
    use tokio::{io::ReadBuf, net::UdpSocket};

    use super::*;

    /// The datagrams that the first sender's connection receives without waiting.
    async fn received(socket: DatagramSocket) -> Vec<Vec<u8>> {
        let (_, socket) = connect(socket.into()).await.unwrap();
        let mut all = Vec::new();
        loop {
            let mut bytes = [0; 16];
            let mut buffer = ReadBuf::new(&mut bytes);
            let next = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)).now_or_never();
            let Some(next) = next else { return all };
            next.unwrap();
            all.push(buffer.filled().to_vec());
        }
    }

    #[tokio::test]
    async fn datagrams_of_others_that_have_arrived_before_are_dropped() {
        let udp = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let senders = [(); 2].map(|()| {
            let sender = net::UdpSocket::bind("127.0.0.1:0").unwrap();
            sender.connect(udp.local_addr().unwrap()).unwrap();
            sender
        });
        for (sender, datagram) in [(0, b"first"), (1, b"other"), (0, b"again")] {
            senders[sender].send(datagram).unwrap();
        }
        udp.readable().await.unwrap();
        assert_eq!(received(DatagramSocket::udp(udp).unwrap()).await, [b"first", b"again"]);

        let folder = tempfile::tempdir().unwrap();
        let [path, first, other] = ["l", "first", "other"].map(|name| folder.path().join(name));
        let listener = UnixDatagram::bind(&path).unwrap();
        let senders = [first, other].map(|path| unix::UnixDatagram::bind(path).unwrap());
        for (sender, datagram) in [(0, b"first"), (1, b"other"), (0, b"again")] {
            senders[sender].send_to(datagram, &path).unwrap();
        }
        listener.readable().await.unwrap();
        let socket = DatagramSocket::unixgram(listener, None);
        assert_eq!(received(socket).await, [b"first", b"again"]);
    }
}
