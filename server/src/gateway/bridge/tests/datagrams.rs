//! Datagrams at the stream side.

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use echogate_event_loop::InFlight;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel},
};

use super::*;

/// A transport of datagrams in memory.
struct Datagrams {
    from: UnboundedReceiver<io::Result<Vec<u8>>>,
    to: UnboundedSender<Vec<u8>>,
    /// No datagram is taken.
    is_full: Arc<AtomicBool>,
}

impl Transport for Datagrams {
    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    fn reset_on_drop(&mut self) {}

    fn reads_messages(&self) -> bool {
        true
    }

    fn has_read_end(&self) -> bool {
        false
    }
}

impl AsyncRead for Datagrams {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.from.poll_recv(cx) {
            Poll::Ready(Some(datagram)) => Poll::Ready(datagram.map(|bytes| buf.put_slice(&bytes))),
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }
}

impl AsyncWrite for Datagrams {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_full.load(Ordering::Relaxed) {
            return Poll::Pending;
        }
        self.to.send(bytes.to_vec()).ok();
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A bridge in the server role to an upstream of datagrams.
struct DatagramRig {
    client: DuplexStream,
    upstream: UnboundedSender<io::Result<Vec<u8>>>,
    received: UnboundedReceiver<Vec<u8>>,
    is_full: Arc<AtomicBool>,
    bridge: JoinHandle<End>,
    drain: Drain,
}

fn datagram_rig() -> DatagramRig {
    let (client, client_end) = duplex(4096);
    let (upstream, from) = unbounded_channel();
    let (to, received) = unbounded_channel();
    let is_full = Arc::default();
    let datagrams = Datagrams { from, to, is_full: Arc::clone(&is_full) };
    let negotiated = Negotiated { config: config(Framing::Datagrams).into(), half_close: false };
    let drain = Drain::new();
    let client_end = Pipe::new(client_end).0;
    let bridge = run(Role::Server, client_end, datagrams, b"", negotiated, enter(), &drain);
    DatagramRig { client, upstream, received, is_full, bridge: tokio::spawn(bridge), drain }
}

impl DatagramRig {
    async fn datagram(&mut self) -> Vec<u8> {
        timeout(HOUR, self.received.recv()).await.expect("it comes").expect("the bridge lives")
    }

    async fn end(self) -> String {
        timeout(HOUR, self.bridge).await.expect("it ends").unwrap().to_string()
    }
}

#[tokio::test(start_paused = true)]
async fn each_message_is_a_datagram_and_each_datagram_a_message() {
    let mut rig = datagram_rig();
    let frames = [
        frame(0x82, b"one"),
        frame(0x81, b"two"),
        frame(0x82, b""),
        frame(0x02, b"in "),
        frame(0x89, b"?"),
        frame(0x80, b"pieces"),
    ];
    rig.client.write_all(&frames.concat()).await.unwrap();
    for expected in [&b"one"[..], b"two", b"", b"in pieces"] {
        assert_eq!(rig.datagram().await, expected);
    }
    assert_eq!(exactly(&mut rig.client, 3).await, b"\x8a\x01?");
    for datagram in [&b"one"[..], b"", b"two"] {
        rig.upstream.send(Ok(datagram.to_vec())).unwrap();
    }
    assert_eq!(exactly(&mut rig.client, 12).await, b"\x82\x03one\x82\x00\x82\x03two");
}

#[tokio::test(start_paused = true)]
async fn a_datagram_that_is_not_taken_at_once_is_dropped() {
    let mut rig = datagram_rig();
    rig.is_full.store(true, Ordering::Relaxed);
    rig.client.write_all(&frame(0x82, b"lost")).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.is_full.store(false, Ordering::Relaxed);
    rig.client.write_all(&frame(0x82, b"next")).await.unwrap();
    assert_eq!(rig.datagram().await, b"next");
}

#[tokio::test(start_paused = true)]
async fn the_longest_datagram_passes_and_a_longer_message_is_refused() {
    let mut rig = datagram_rig();
    // Frames of more than 65,535 bytes are not needed here.
    rig.client.write_all(&frame(0x82, &[7; 65_507])).await.unwrap();
    assert_eq!(rig.datagram().await, [7; 65_507]);
    rig.upstream.send(Ok(vec![7; 65_507])).unwrap();
    assert_eq!(exactly(&mut rig.client, 4 + 65_507).await[..4], [0x82, 126, 0xff, 0xe3]);
    rig.client.write_all(&frame(0x02, &[7; 65_000])).await.unwrap();
    rig.client.write_all(&frame(0x80, &[7; 508])).await.unwrap();
    let expected = close(CloseCode::TOO_BIG, "a message is larger than 65507 bytes");
    assert_eq!(exactly(&mut rig.client, expected.len()).await, expected);
    assert!(rig.received.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_close_is_answered_at_once_and_a_refusal_of_the_upstream_is_told() {
    let start = Instant::now();
    let mut rig = datagram_rig();
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(exactly(&mut rig.client, 4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.end().await, "the client closed (1000)");
    assert_eq!(start.elapsed(), Duration::ZERO);
    let mut rig = datagram_rig();
    rig.upstream.send(Err(io::ErrorKind::ConnectionRefused.into())).unwrap();
    let expected = close(CloseCode::INTERNAL_ERROR, "the upstream failed: connection refused");
    assert_eq!(exactly(&mut rig.client, expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_a_client_of_datagrams_once_both_are_silent() {
    let mut rig = datagram_rig();
    sleep(Duration::from_millis(1)).await;
    let start = Instant::now();
    rig.drain.advance(Stage::Graceful);
    assert_eq!(exactly(&mut rig.client, shutdown_close().len()).await, shutdown_close());
    assert_eq!(start.elapsed().as_millis(), 500);
}
