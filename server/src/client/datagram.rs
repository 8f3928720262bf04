//! Connections of datagrams: UDP and Unix datagram sockets. There is no connection,
//! only an address that is sent to and alone heard; and no end but our own.

use std::{
    cell::{Cell, RefCell},
    future::poll_fn,
    io,
    rc::Rc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use tokio::{io::ReadBuf, net::UnixDatagram, sync::Notify, time::timeout};

use super::{
    flow::Flow,
    link::{CHUNK, Inbound, Outbound, Received},
    udp::Udp,
};

/// The most that a datagram of UDP over IPv4 can hold: 65,535 less both headers.
pub(super) const LARGEST_UDP: usize = 65_507;

/// Datagrams of a pipe that may await their replies. A Unix socket holds 10 on Linux, unless
/// it is told otherwise, and those of an answer that find no room are lost.
const MOST_UDP: usize = 32;
const MOST_UNIX: usize = 8;

/// Room for the largest datagram that may come: a Unix socket's is bounded by the
/// sender's buffer, 208 KiB on Linux.
const LARGEST: usize = 256 * 1024;

/// A socket that is connected to its peer.
#[derive(Debug)]
pub(super) enum Datagrams {
    Udp(Udp),
    /// With our own address, if that is a file.
    Unix {
        socket: UnixDatagram,
        _file: Option<OwnFile>,
    },
}

/// A socket's file, removed with it.
#[derive(Debug)]
pub(super) struct OwnFile(pub(super) std::path::PathBuf);

impl Drop for OwnFile {
    fn drop(&mut self) {
        std::fs::remove_file(&self.0).ok();
    }
}

impl Datagrams {
    /// Sends a datagram. Only the latest caller is woken.
    pub(super) fn poll_send(&self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<()>> {
        match self {
            Datagrams::Udp(socket) => socket.poll_send(cx, bytes),
            Datagrams::Unix { socket, .. } => socket.poll_send(cx, bytes).map_ok(drop),
        }
    }

    /// Receives a datagram, or as much of it as `buffer` takes. Only the latest caller is
    /// woken.
    pub(super) fn poll_receive(
        &self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self {
            Datagrams::Udp(socket) => socket.poll_receive(cx, buffer),
            Datagrams::Unix { socket, .. } => socket.poll_recv(cx, buffer),
        }
    }
}

/// What both halves share.
#[derive(Debug)]
struct Shared {
    socket: Datagrams,
    /// A datagram has come.
    came: Notify,
    flow: RefCell<Flow>,
    /// A datagram is waited for: what has come is through.
    listening: Cell<bool>,
    /// Why sending failed. The system reports a failure once, to either half.
    failed: RefCell<Option<io::Error>>,
    /// Sending has failed.
    over: Notify,
}

/// The half that sends.
#[derive(Debug)]
pub(super) struct DatagramOutbound {
    shared: Rc<Shared>,
    /// How long replies are waited for before more is sent.
    silence: Duration,
}

/// The half that receives.
#[derive(Debug)]
pub(super) struct DatagramInbound {
    shared: Rc<Shared>,
    buffer: Box<[u8]>,
}

/// The two halves of a socket. Before more is sent than the peer can be expected to take,
/// replies are waited for until nothing comes for `silence`.
pub(super) fn halves(socket: Datagrams, silence: Duration) -> (DatagramOutbound, DatagramInbound) {
    let most = match socket {
        Datagrams::Udp(_) => MOST_UDP,
        Datagrams::Unix { .. } => MOST_UNIX,
    };
    let shared = Rc::new(Shared {
        socket,
        came: Notify::new(),
        flow: RefCell::new(Flow::new(most)),
        listening: Cell::new(false),
        failed: RefCell::default(),
        over: Notify::new(),
    });
    let outbound = DatagramOutbound { shared: shared.clone(), silence };
    (outbound, DatagramInbound { shared, buffer: vec![0; LARGEST].into() })
}

impl DatagramOutbound {
    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.flow.borrow_mut().sent(bytes.len());
        let sent = poll_fn(|cx| self.shared.socket.poll_send(cx, bytes)).await;
        sent.map_err(|error| {
            *self.shared.failed.borrow_mut() = Some(error);
            self.shared.over.notify_one();
            // How it ended is for the inbound half to say.
            io::ErrorKind::BrokenPipe.into()
        })
    }
}

impl Outbound for DatagramOutbound {
    fn largest(&self) -> usize {
        match self.shared.socket {
            Datagrams::Udp(_) => LARGEST_UDP,
            Datagrams::Unix { .. } => CHUNK,
        }
    }

    fn half_closes(&self) -> bool {
        false
    }

    /// Waits for replies while too many are owed. Those that keep out are given up after a
    /// silence, but not while nobody listens.
    async fn room(&mut self) {
        let Shared { came, flow, listening, .. } = &*self.shared;
        while flow.borrow().is_full() {
            if timeout(self.silence, came.notified()).await.is_err() && listening.get() {
                flow.borrow_mut().give_up();
            }
        }
    }

    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.send(&bytes).await
    }

    /// Sends the line as one datagram, without a newline: where it ends is said already.
    async fn send_line(&mut self, line: String) -> io::Result<()> {
        self.send(line.as_bytes()).await
    }

    async fn finish(&mut self) -> io::Result<()> {
        Ok(())
    }

    async fn abandon(&mut self, _: CloseCode) -> io::Result<()> {
        Ok(())
    }
}

impl Inbound for DatagramInbound {
    async fn receive(&mut self) -> io::Result<Received> {
        let Shared { socket, came, flow, listening, failed, over } = &*self.shared;
        let failure = async {
            loop {
                over.notified().await;
                if let Some(error) = failed.take() {
                    return error;
                }
            }
        };
        listening.set(true);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        tokio::select! {
            biased;
            received = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)) => received?,
            error = failure => return Err(error),
        }
        listening.set(false);
        flow.borrow_mut().came();
        came.notify_one();
        Ok(Received::Message(Bytes::copy_from_slice(buffer.filled())))
    }
}

#[cfg(test)]
mod tests;
