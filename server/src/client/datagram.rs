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
use tokio::{io::ReadBuf, net::UnixDatagram, sync::Notify};

use super::{
    flow::Flow,
    link::{CHUNK, Inbound, Outbound, Received},
    owed::Owed,
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
    owed: Owed,
    flow: RefCell<Flow>,
    /// A datagram is waited for: what has come is through.
    listening: Cell<bool>,
    /// Why sending failed. The system reports a failure once, to either half.
    failed: RefCell<Option<io::Error>>,
    /// Nothing more will be sent, or sending has failed.
    over: Notify,
}

/// The half that sends.
#[derive(Debug)]
pub(super) struct DatagramOutbound {
    shared: Rc<Shared>,
    silence: Duration,
}

/// The half that receives.
#[derive(Debug)]
pub(super) struct DatagramInbound {
    shared: Rc<Shared>,
    buffer: Box<[u8]>,
    silence: Duration,
}

/// The two halves of a socket. After the last datagram is sent it ends when as many
/// have come, or nothing comes for `silence`.
pub(super) fn halves(socket: Datagrams, silence: Duration) -> (DatagramOutbound, DatagramInbound) {
    let most = match socket {
        Datagrams::Udp(_) => MOST_UDP,
        Datagrams::Unix { .. } => MOST_UNIX,
    };
    let shared = Rc::new(Shared {
        socket,
        owed: Owed::default(),
        flow: RefCell::new(Flow::new(most)),
        listening: Cell::new(false),
        failed: RefCell::default(),
        over: Notify::new(),
    });
    let outbound = DatagramOutbound { shared: shared.clone(), silence };
    (outbound, DatagramInbound { shared, buffer: vec![0; LARGEST].into(), silence })
}

impl DatagramOutbound {
    async fn send(&self, bytes: &[u8]) -> io::Result<()> {
        self.shared.owed.sent();
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

    /// Waits for replies while too many are owed. Those that keep out are given up after a
    /// silence, but not while nobody listens.
    async fn room(&mut self) {
        let Shared { owed, flow, listening, .. } = &*self.shared;
        while flow.borrow().is_full() {
            if !owed.another(self.silence).await && listening.get() {
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
        self.shared.over.notify_one();
        Ok(())
    }

    async fn abandon(&mut self, _: CloseCode) -> io::Result<()> {
        Ok(())
    }
}

impl Inbound for DatagramInbound {
    async fn receive(&mut self) -> io::Result<Received> {
        let Shared { socket, owed, flow, listening, failed, over } = &*self.shared;
        let ended = async {
            over.notified().await;
            // For the next call, if this one is dropped or a datagram comes first.
            over.notify_one();
            match failed.take() {
                Some(error) => Err(error),
                None => {
                    owed.paid_or_silent(self.silence).await;
                    Ok(())
                }
            }
        };
        listening.set(true);
        let mut buffer = ReadBuf::new(&mut self.buffer);
        tokio::select! {
            biased;
            received = poll_fn(|cx| socket.poll_receive(cx, &mut buffer)) => received?,
            ended = ended => match ended {
                Ok(()) => return Ok(Received::End("no more replies".to_owned())),
                Err(error) => return Err(error),
            },
        }
        listening.set(false);
        flow.borrow_mut().came();
        owed.came(1);
        Ok(Received::Message(Bytes::copy_from_slice(buffer.filled())))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use tokio::{net::UdpSocket, time::timeout};

    use super::*;

    const SILENCE: Duration = Duration::from_millis(50);

    /// Our halves and the peer.
    async fn connected() -> (DatagramOutbound, DatagramInbound, UdpSocket) {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = Udp::new([peer.local_addr().unwrap()]).unwrap();
        peer.connect(socket.local_addr().unwrap()).await.unwrap();
        let (outbound, inbound) = halves(Datagrams::Udp(socket), SILENCE);
        (outbound, inbound, peer)
    }

    fn message(text: &'static str) -> Received {
        Received::Message(Bytes::from_static(text.as_bytes()))
    }

    fn end() -> Received {
        Received::End("no more replies".to_owned())
    }

    #[tokio::test]
    async fn each_line_is_a_datagram_without_a_newline_and_so_is_each_reply() {
        let (mut outbound, mut inbound, peer) = connected().await;
        outbound.send_line("hello".to_owned()).await.unwrap();
        outbound.send_line("again".to_owned()).await.unwrap();
        let mut buffer = [0; 64];
        assert_eq!(peer.recv(&mut buffer).await.unwrap(), 5);
        assert_eq!(&buffer[..5], b"hello");
        peer.send(b"HELLO").await.unwrap();
        peer.send(b"").await.unwrap();
        outbound.finish().await.unwrap();
        assert_eq!(inbound.receive().await.unwrap(), message("HELLO"));
        assert_eq!(inbound.receive().await.unwrap(), message(""));
        assert_eq!(inbound.receive().await.unwrap(), end());
    }

    #[tokio::test]
    async fn a_reply_that_does_not_come_is_not_waited_for_without_end() {
        let (mut outbound, mut inbound, _peer) = connected().await;
        outbound.send_line("hello".to_owned()).await.unwrap();
        outbound.finish().await.unwrap();
        assert_eq!(inbound.receive().await.unwrap(), end());
    }

    #[tokio::test]
    async fn after_many_without_a_reply_each_reply_makes_room_and_so_does_silence() {
        let (mut outbound, mut inbound, peer) = connected().await;
        for _ in 0..MOST_UDP {
            outbound.room().await;
            outbound.send_line("hello".to_owned()).await.unwrap();
        }
        let start = Instant::now();
        peer.send(b"HELLO").await.unwrap();
        let (reply, ()) = tokio::join!(inbound.receive(), outbound.room());
        assert_eq!(reply.unwrap(), message("HELLO"));
        outbound.send_line("hello".to_owned()).await.unwrap();
        tokio::select! {
            () = outbound.room() => assert!(start.elapsed() >= SILENCE),
            received = inbound.receive() => panic!("{received:?}"),
        }
    }

    #[tokio::test]
    async fn a_reply_that_is_not_taken_away_is_no_silence() {
        let (mut outbound, mut inbound, peer) = connected().await;
        for _ in 0..=MOST_UDP {
            outbound.send_line("hello".to_owned()).await.unwrap();
        }
        peer.send(b"HELLO").await.unwrap();
        inbound.receive().await.unwrap();
        outbound.send_line("hello".to_owned()).await.unwrap();
        timeout(4 * SILENCE, outbound.room()).await.unwrap_err();
    }

    #[tokio::test]
    async fn a_port_that_nobody_has_is_named_whichever_half_hears_of_it() {
        let (mut outbound, mut inbound, peer) = connected().await;
        drop(peer);
        // The first is answered by ICMP, which the second or the reader hears of.
        outbound.send_line("one".to_owned()).await.unwrap();
        outbound.send_line("two".to_owned()).await.unwrap_err();
        let error = inbound.receive().await.unwrap_err();
        assert_eq!(error.to_string(), "port unreachable: nobody listens there");
    }
}
