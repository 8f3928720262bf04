//! Connections of datagrams: UDP and Unix datagram sockets that are connected to their only peer
//! with connect(2). Nothing on the wire marks the end of such a connection.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::recording::{Opened, TapPoint};
use tokio::{io::ReadBuf, sync::Notify, time::timeout};

use super::{CHUNK, Received, send_window::SendWindow};
use crate::{
    client::recording::{ConnectionRecorder, TO_CLIENT, TO_SERVER},
    net::connected_datagrams::{ConnectedSocket, MAX_UDP},
    recording::wire::WireEvent,
};

/// The most unanswered datagrams over UDP.
const WINDOW_UDP: usize = 32;

/// The most unanswered datagrams over a Unix socket. On Linux a socket queues 10 by default, and
/// the server loses replies that find the queue full.
const WINDOW_UNIX: usize = 8;

/// The size of the receive buffer, in bytes: a Unix datagram is limited by the send buffer of its
/// sender, 208 KiB on Linux.
const RECEIVE_BUFFER: usize = 256 * 1024;

/// The socket with the state that both halves share.
#[derive(Debug)]
struct SharedSocket {
    socket: ConnectedSocket,
    received: Notify,
    window: RefCell<SendWindow>,
    /// Whether the receiver waits for a datagram, so that all earlier ones are processed.
    receiving: Cell<bool>,
    /// The error of the sender. The system reports an error once, to either half.
    send_error: RefCell<Option<io::Error>>,
    send_failed: Notify,
    recorded: RefCell<Option<ConnectionRecorder>>,
}

/// The sending half.
#[derive(Debug)]
pub(in crate::client) struct DatagramSender {
    shared: Rc<SharedSocket>,
    /// The silence after which outstanding replies count as lost, while the send window is full.
    silence: Duration,
}

/// The receiving half.
#[derive(Debug)]
pub(in crate::client) struct DatagramReceiver {
    shared: Rc<SharedSocket>,
    buffer: Box<[u8]>,
}

/// Splits a connected socket. While the send window is full, the sender waits for replies until
/// nothing has come for `silence`.
pub(super) fn split(
    socket: ConnectedSocket,
    silence: Duration,
    recorded: Option<(ConnectionRecorder, Opened)>,
) -> (DatagramSender, DatagramReceiver) {
    let window = match socket {
        ConnectedSocket::Udp(_) => WINDOW_UDP,
        ConnectedSocket::Unix(_) => WINDOW_UNIX,
    };
    let recorded = recorded.map(|(mut connection, opened)| {
        connection.add(WireEvent::Opened(opened.into()));
        connection
    });
    let shared = Rc::new(SharedSocket {
        socket,
        received: Notify::new(),
        window: RefCell::new(SendWindow::new(window)),
        receiving: Cell::new(false),
        send_error: RefCell::default(),
        send_failed: Notify::new(),
        recorded: recorded.into(),
    });
    let sender = DatagramSender { shared: shared.clone(), silence };
    (sender, DatagramReceiver { shared, buffer: vec![0; RECEIVE_BUFFER].into() })
}

impl SharedSocket {
    fn record(&self, point: TapPoint, bytes: &[u8]) {
        if let Some(connection) = &mut *self.recorded.borrow_mut() {
            connection.add(WireEvent::Datagram(point, Bytes::copy_from_slice(bytes)));
        }
    }
}

impl DatagramSender {
    pub(super) fn max_chunk(&self) -> usize {
        match self.shared.socket {
            ConnectedSocket::Udp(_) => MAX_UDP,
            ConnectedSocket::Unix(_) => CHUNK,
        }
    }

    /// Waits while the send window is full. Replies that do not come count as lost after a
    /// silence, unless the receiver is still busy with earlier ones.
    pub(super) async fn ready(&self) {
        let SharedSocket { received, window, receiving, .. } = &*self.shared;
        while window.borrow().is_full() {
            if timeout(self.silence, received.notified()).await.is_err() && receiving.get() {
                window.borrow_mut().reset();
            }
        }
    }

    pub(super) async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.window.borrow_mut().sent(bytes.len());
        let sent = poll_fn(|cx| self.shared.socket.poll_send(cx, bytes)).await;
        if sent.is_ok() {
            self.shared.record(TO_SERVER, bytes);
        }
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
        let SharedSocket { socket, received, window, receiving, send_error, send_failed, .. } =
            &*self.shared;
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
        self.shared.record(TO_CLIENT, buffer.filled());
        window.borrow_mut().received();
        received.notify_one();
        Ok(Received::Message(Bytes::copy_from_slice(buffer.filled())))
    }
}

#[cfg(test)]
mod tests;
