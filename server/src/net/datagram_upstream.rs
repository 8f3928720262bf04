//! A connected datagram socket as an upstream.

use std::{
    io,
    net::SocketAddr,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_event_loop::InFlight;
use nix::errno::Errno;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Instant, Sleep, sleep},
};

use super::{connected_datagrams::ConnectedSocket, stream::Transport};
use crate::connections::counters::Counters;

/// The silence, after the end of the output, that counts as the end of the input: no datagram marks
/// the end of an exchange, and replies may still be under way.
const LAST_REPLIES: Duration = Duration::from_secs(2);

/// A transport of messages over a connected datagram socket: each read returns one datagram, which
/// may be empty, and each write sends one. For tasks of the runtime, not of an event loop.
///
/// A write never waits: a datagram that the system does not take is dropped and counted. A refusal
/// by the peer's system (ICMP port unreachable, a closed Unix socket) is an error of both
/// directions.
#[derive(Debug)]
pub(crate) struct ConnectedDatagrams {
    socket: ConnectedSocket,
    counters: Arc<Counters>,
    /// The time at which the input ends, once the output has ended.
    end: Option<Pin<Box<Sleep>>>,
    has_read_end: bool,
    /// The error of the last write, for the next read: the system reports an error only once.
    failure: Option<io::Error>,
}

impl ConnectedDatagrams {
    /// The transport over `socket`. Datagrams that are dropped are counted in `counters`.
    pub(crate) fn new(socket: ConnectedSocket, counters: Arc<Counters>) -> ConnectedDatagrams {
        ConnectedDatagrams { socket, counters, end: None, has_read_end: false, failure: None }
    }

    /// The local address of a UDP socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        self.socket.local_addr()
    }
}

/// Whether an error of send(2) concerns this datagram alone: there is no room for it, or it is too
/// long.
pub(crate) fn is_dropped(error: &io::Error) -> bool {
    let number = error.raw_os_error().map(Errno::from_raw);
    error.kind() == io::ErrorKind::WouldBlock
        || matches!(number, Some(Errno::ENOBUFS | Errno::EMSGSIZE))
}

impl AsyncRead for ConnectedDatagrams {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let datagrams = self.get_mut();
        datagrams.has_read_end = false;
        if let Some(failure) = datagrams.failure.take() {
            return Poll::Ready(Err(failure));
        }
        let received = datagrams.socket.poll_receive(cx, buf);
        let Some(end) = &mut datagrams.end else { return received };
        if received.is_ready() {
            end.as_mut().reset(Instant::now() + LAST_REPLIES);
            return received;
        }
        ready!(end.as_mut().poll(cx));
        datagrams.has_read_end = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for ConnectedDatagrams {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let datagrams = self.get_mut();
        match datagrams.socket.try_send(bytes) {
            Ok(()) => {}
            Err(e) if is_dropped(&e) => datagrams.counters.datagram_dropped(),
            Err(e) => {
                datagrams.failure = Some(io::Error::new(e.kind(), e.to_string()));
                return Poll::Ready(Err(e));
            }
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Does nothing: writes are not buffered.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the input after a silence of [`LAST_REPLIES`].
    fn poll_shutdown(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.end.get_or_insert_with(|| Box::pin(sleep(LAST_REPLIES)));
        Poll::Ready(Ok(()))
    }
}

impl Transport for ConnectedDatagrams {
    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    /// Does nothing: datagrams have no reset.
    fn reset_on_drop(&mut self) {}

    fn reads_messages(&self) -> bool {
        true
    }

    fn has_read_end(&self) -> bool {
        self.has_read_end
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::net::UnixDatagram;

    use echogate_proto::endpoint::{Address, Endpoint};
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::UdpSocket,
    };

    use super::*;
    use crate::net::connected_datagrams::Udp;

    /// A transport to a UDP socket, and that socket, connected to it.
    async fn udp() -> (ConnectedDatagrams, UdpSocket) {
        let peer = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let socket = Udp::connect_any(&[peer.local_addr().unwrap()], None).await.unwrap();
        let datagrams = ConnectedDatagrams::new(ConnectedSocket::Udp(socket), Arc::default());
        peer.connect(datagrams.local_addr().unwrap()).await.unwrap();
        (datagrams, peer)
    }

    /// Sends one datagram in one write.
    async fn send(datagrams: &mut ConnectedDatagrams, datagram: &[u8]) -> io::Result<()> {
        assert_eq!(datagrams.write(datagram).await?, datagram.len());
        Ok(())
    }

    #[tokio::test]
    async fn each_write_and_each_read_is_one_datagram_even_an_empty_one() {
        let (mut datagrams, peer) = udp().await;
        let mut buffer = [0; 100];
        for datagram in [&b"first"[..], b"", b"third"] {
            send(&mut datagrams, datagram).await.unwrap();
            let len = peer.recv(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], datagram);
            peer.send(datagram).await.unwrap();
            let len = datagrams.read(&mut buffer).await.unwrap();
            assert_eq!(&buffer[..len], datagram);
            assert!(!datagrams.has_read_end());
        }
    }

    #[tokio::test]
    async fn a_port_without_a_process_is_an_error_of_the_next_read() {
        let (mut datagrams, peer) = udp().await;
        drop(peer);
        send(&mut datagrams, b"anybody?").await.unwrap();
        let error = datagrams.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.to_string(), "port unreachable: no process listens on it");
    }

    #[tokio::test]
    async fn a_refusal_that_a_write_learns_of_is_an_error_of_the_read_as_well() {
        let (mut datagrams, peer) = udp().await;
        drop(peer);
        while send(&mut datagrams, b"anybody?").await.is_ok() {}
        let error = datagrams.read(&mut [0; 10]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn a_datagram_that_the_system_does_not_take_is_dropped_and_counted() {
        let (mut datagrams, _peer) = udp().await;
        send(&mut datagrams, &[0; 65_508]).await.unwrap();
        assert_eq!(datagrams.counters.datagrams_dropped(), 1, "too long");
    }

    #[tokio::test]
    async fn a_unix_socket_has_an_address_for_replies_and_drops_what_its_peers_queue_has_no_room_for()
     {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("socket");
        let peer = UnixDatagram::bind(&path).unwrap();
        let endpoint: Endpoint = format!("unixgram://{}", path.display()).parse().unwrap();
        let Address::UnixGram(path) = endpoint.address else { panic!("{endpoint:?}") };
        let socket = ConnectedSocket::unix(&path).unwrap();
        let mut datagrams = ConnectedDatagrams::new(socket, Arc::default());
        while datagrams.counters.datagrams_dropped() == 0 {
            send(&mut datagrams, b"question").await.unwrap();
        }
        let mut buffer = [0; 100];
        let (len, from) = peer.recv_from(&mut buffer).unwrap();
        assert_eq!(&buffer[..len], b"question");
        peer.send_to_addr(b"reply", &from).unwrap();
        let len = datagrams.read(&mut buffer).await.unwrap();
        assert_eq!(&buffer[..len], b"reply");
        drop(peer);
        let error = send(&mut datagrams, b"nobody").await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
    }

    #[tokio::test]
    async fn the_input_ends_after_a_silence_behind_the_output() {
        let (mut datagrams, peer) = udp().await;
        send(&mut datagrams, b"question").await.unwrap();
        datagrams.shutdown().await.unwrap();
        peer.send(b"late").await.unwrap();
        let mut buffer = [0; 10];
        assert_eq!(datagrams.read(&mut buffer).await.unwrap(), 4);
        let start = Instant::now();
        assert_eq!(datagrams.read(&mut buffer).await.unwrap(), 0);
        assert!(datagrams.has_read_end());
        assert!(start.elapsed() >= LAST_REPLIES.mul_f32(0.9));
    }
}
