//! Connections of datagrams: UDP and Unix datagram sockets, connected with connect(2) to the one
//! peer that they exchange datagrams with. Nothing on the wire marks the end of such a connection.

use std::{
    cell::{Cell, RefCell},
    fmt,
    future::{Future, poll_fn},
    io,
    pin::Pin,
    rc::Rc,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use futures_util::FutureExt;
use tokio::{
    io::{Interest, ReadBuf},
    net::{UdpSocket, UnixDatagram},
    sync::Notify,
    time::timeout,
};

use super::{CHUNK, Received, send_window::SendWindow};

/// The largest payload of a UDP datagram over IPv4, in bytes: 65,535 less both headers.
pub(in crate::client) const MAX_UDP: usize = 65_507;

/// Unanswered datagrams at most. A Unix socket queues 10 by default on Linux, and the server's
/// replies are lost if they find the queue full.
const WINDOW_UDP: usize = 32;
const WINDOW_UNIX: usize = 8;

/// The size of the receive buffer, in bytes: a Unix datagram is limited by the send buffer of its
/// sender, 208 KiB on Linux.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// A connected datagram socket.
#[derive(Debug)]
pub(in crate::client) enum DatagramSocket {
    Udp(Udp),
    Unix {
        socket: UnixDatagram,
        /// The file of the local address, if the address has one.
        _file: Option<SocketFile>,
    },
}

/// A connected UDP socket.
pub(in crate::client) struct Udp {
    socket: Arc<UdpSocket>,
    /// The next ICMP error. It does not make the socket readable, so it is awaited separately.
    icmp_error: RefCell<Pin<Box<dyn Future<Output = io::Error> + Send>>>,
}

/// The file of a socket, which is removed on drop.
#[derive(Debug)]
pub(in crate::client) struct SocketFile(pub(in crate::client) std::path::PathBuf);

impl Drop for SocketFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl DatagramSocket {
    /// Sends a datagram. Only the latest caller is woken.
    pub(in crate::client) fn poll_send(
        &self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<()>> {
        match self {
            DatagramSocket::Udp(udp) => udp.socket.poll_send(cx, bytes).map_err(icmp_error),
            DatagramSocket::Unix { socket, .. } => socket.poll_send(cx, bytes),
        }
        .map_ok(drop)
    }

    /// Receives a datagram, cut to the size of `buffer`. Only the latest caller is woken.
    pub(in crate::client) fn poll_receive(
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
    pub(in crate::client) fn new(socket: UdpSocket) -> Udp {
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

/// The state that both halves share.
#[derive(Debug)]
struct Shared {
    socket: DatagramSocket,
    received: Notify,
    window: RefCell<SendWindow>,
    /// The receiver waits for a datagram, so all that came before are processed.
    receiving: Cell<bool>,
    /// The error of the sender. The system reports an error once, to either half.
    send_error: RefCell<Option<io::Error>>,
    send_failed: Notify,
}

/// The sending half.
#[derive(Debug)]
pub(in crate::client) struct DatagramSender {
    shared: Rc<Shared>,
    /// How long replies are awaited while the send window is full.
    silence: Duration,
}

/// The receiving half.
#[derive(Debug)]
pub(in crate::client) struct DatagramReceiver {
    shared: Rc<Shared>,
    buffer: Box<[u8]>,
}

/// Splits a connected socket. While the send window is full, replies are awaited until nothing has
/// come for `silence`.
pub(super) fn split(
    socket: DatagramSocket,
    silence: Duration,
) -> (DatagramSender, DatagramReceiver) {
    let window = match socket {
        DatagramSocket::Udp(_) => WINDOW_UDP,
        DatagramSocket::Unix { .. } => WINDOW_UNIX,
    };
    let shared = Rc::new(Shared {
        socket,
        received: Notify::new(),
        window: RefCell::new(SendWindow::new(window)),
        receiving: Cell::new(false),
        send_error: RefCell::default(),
        send_failed: Notify::new(),
    });
    let sender = DatagramSender { shared: shared.clone(), silence };
    (sender, DatagramReceiver { shared, buffer: vec![0; RECEIVE_BUFFER].into() })
}

impl DatagramSender {
    pub(super) fn max_chunk(&self) -> usize {
        match self.shared.socket {
            DatagramSocket::Udp(_) => MAX_UDP,
            DatagramSocket::Unix { .. } => CHUNK,
        }
    }

    /// Waits while the send window is full. Replies that do not come count as lost after a
    /// silence, unless the receiver is still busy with earlier ones.
    pub(super) async fn ready(&self) {
        let Shared { received, window, receiving, .. } = &*self.shared;
        while window.borrow().is_full() {
            if timeout(self.silence, received.notified()).await.is_err() && receiving.get() {
                window.borrow_mut().reset();
            }
        }
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.window.borrow_mut().sent(bytes.len());
        let sent = poll_fn(|cx| self.shared.socket.poll_send(cx, bytes)).await;
        sent.map_err(|error| {
            *self.shared.send_error.borrow_mut() = Some(error);
            self.shared.send_failed.notify_one();
            // The receiver reports the error.
            io::ErrorKind::BrokenPipe.into()
        })
    }
}

impl DatagramReceiver {
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        let Shared { socket, received, window, receiving, send_error, send_failed } = &*self.shared;
        let failure = async {
            loop {
                send_failed.notified().await;
                if let Some(error) = send_error.take() {
                    return error;
                }
            }
        };
        receiving.set(true);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        tokio::select! {
            biased;
            received = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)) => received?,
            error = failure => return Err(error),
        }
        receiving.set(false);
        window.borrow_mut().received();
        received.notify_one();
        Ok(Received::Message(Bytes::copy_from_slice(buffer.filled())))
    }
}

#[cfg(test)]
mod tests;
