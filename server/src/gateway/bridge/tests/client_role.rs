//! The client role: the WebSocket side is the upstream, the stream side its client.

mod ends;
mod framings;
mod sockets;

use std::{
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
};

use echogate_proto::ws::{FrameHeader, OpCode, frame::control_frame, mask};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::*;
use crate::connections::registry::Entry;

/// A stream in memory that records its reset. Its peer can let it fail: then a reset is read instead
/// of the end.
struct Resettable {
    stream: DuplexStream,
    flags: Flags,
}

/// The flags of a [`Resettable`] stream.
#[derive(Clone, Debug, Default)]
struct Flags {
    /// The relay has reset the stream.
    was_reset: Arc<AtomicBool>,
    /// The peer resets the stream at its end.
    resets: Arc<AtomicBool>,
}

impl Transport for Resettable {
    fn has_ended(&self) -> bool {
        false
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    fn reset_on_drop(&mut self) {
        self.flags.was_reset.store(true, Ordering::Relaxed);
    }

    fn reset(&mut self) {
        self.reset_on_drop();
        self.stream = duplex(1).0;
    }
}

impl AsyncRead for Resettable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        let has_ended = read.is_ready() && buf.filled().is_empty();
        if has_ended && self.flags.resets.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        read
    }
}

impl AsyncWrite for Resettable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// A bridge in the client role, with the other end of each of its streams.
struct ClientRig {
    client: DuplexStream,
    upstream: DuplexStream,
    client_flags: Flags,
    upstream_flags: Flags,
    bridge: JoinHandle<End>,
    entry: Arc<Entry>,
    drain: Drain,
    start: Instant,
}

fn client_rig(framing: Framing) -> ClientRig {
    client_rig_with(config(framing), false, 4096)
}

/// Streams that hold `room` bytes each way.
fn client_rig_with(config: BridgeConfig, half_close: bool, room: usize) -> ClientRig {
    let (client, client_end) = duplex(room);
    let (upstream, upstream_end) = duplex(room);
    let (client_flags, upstream_flags) = (Flags::default(), Flags::default());
    let stream = Resettable { stream: client_end, flags: client_flags.clone() };
    let ws = Resettable { stream: upstream_end, flags: upstream_flags.clone() };
    let drain = Drain::new();
    let registered = enter();
    let entry = registered.clone();
    let negotiated = Negotiated { config: config.into(), half_close };
    let bridge = run(Role::Client, ws, stream, b"", negotiated, registered, &drain);
    let bridge = tokio::spawn(bridge);
    let start = Instant::now();
    ClientRig { client, upstream, client_flags, upstream_flags, bridge, entry, drain, start }
}

/// A frame that the upstream received: its first byte, its masking key and its payload.
type Masked = (u8, [u8; 4], Vec<u8>);

impl ClientRig {
    /// Sends a frame as the upstream.
    async fn send(&mut self, first: u8, payload: &[u8]) {
        self.upstream.write_all(&server_frame(first, payload)).await.unwrap();
    }

    /// Sends a Close as the upstream.
    async fn send_close(&mut self, code: u16, reason: &str) {
        self.upstream.write_all(&close(CloseCode(code), reason)).await.unwrap();
    }

    /// The next frame that the upstream receives; the test fails if it is not masked.
    async fn masked_frame(&mut self) -> Masked {
        read_masked(&mut self.upstream).await
    }

    /// The first byte and the payload of the next frame that the upstream receives.
    async fn frame(&mut self) -> (u8, Vec<u8>) {
        let (first, _, payload) = self.masked_frame().await;
        (first, payload)
    }

    /// Reads everything that the client receives to the end of the stream.
    async fn rest_of_client(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        timeout(HOUR, self.client.read_to_end(&mut got)).await.expect("it ends").unwrap();
        got
    }

    /// Whether the upstream has seen the end of the connection.
    async fn upstream_sees_end(&mut self) -> bool {
        let read = timeout(Duration::from_millis(1), self.upstream.read(&mut [0])).await;
        read.is_ok_and(|read| read.unwrap() == 0)
    }

    /// The end of the bridge: close code and reason; and whether the client and the upstream were
    /// reset.
    async fn end(self) -> (u16, String, bool, bool) {
        let end = timeout(HOUR, self.bridge).await.expect("it ends").expect("it does not panic");
        let [client, upstream] = [self.client_flags, self.upstream_flags]
            .map(|flags| flags.was_reset.load(Ordering::Relaxed));
        (end.code.0, end.why.into_owned(), client, upstream)
    }
}

async fn read_masked(stream: &mut DuplexStream) -> Masked {
    let head = exactly(stream, 2).await;
    assert_eq!(head[1] & 0x80, 0x80, "masked");
    let len = match head[1] & 0x7f {
        126 => exactly(stream, 2).await.into_iter().fold(0, |n, byte| n << 8 | usize::from(byte)),
        127 => exactly(stream, 8).await.into_iter().fold(0, |n, byte| n << 8 | usize::from(byte)),
        len => usize::from(len),
    };
    let key: [u8; 4] = exactly(stream, 4).await.try_into().unwrap();
    let mut payload = exactly(stream, len).await;
    mask::apply(&mut payload, &mut key.clone());
    (head[0], key, payload)
}

/// A frame as a server sends it.
fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let opcode = OpCode::from_bits(first & 0xf).unwrap();
    let header = FrameHeader::new(opcode, first & 0x80 != 0, payload.len() as u64);
    [header.as_bytes(), payload].concat()
}

/// The payload of a Close frame.
fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    [&code.to_be_bytes(), reason.as_bytes()].concat()
}

#[tokio::test(start_paused = true)]
async fn each_frame_is_masked_with_a_key_of_its_own() {
    let mut rig = client_rig(Framing::Line);
    let long = "x".repeat(5000);
    let client = std::mem::replace(&mut rig.client, duplex(1).0);
    let mut client = client;
    let lines = format!("one\ntwo\n{long}\n\u{20ac}");
    let cut = lines.len() - 2;
    let sending = tokio::spawn(async move {
        // The last character is split across two writes.
        client.write_all(&lines.as_bytes()[..cut]).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        client.write_all(&lines.as_bytes()[cut..]).await.unwrap();
        client.shutdown().await.unwrap();
        client
    });
    let (mut messages, mut keys) = (Vec::new(), Vec::new());
    let mut open = false;
    loop {
        let (first, key, payload) = rig.masked_frame().await;
        keys.push(key);
        if first == 0x88 {
            assert_eq!(payload, close_payload(1000, "the client ended the stream"));
            break;
        }
        if open {
            let last: &mut Vec<u8> = messages.last_mut().unwrap();
            last.extend(payload);
        } else {
            messages.push(payload);
        }
        open = first & 0x80 == 0;
    }
    let expected = ["one", "two", &*long, "\u{20ac}"].map(|line| line.as_bytes().to_vec());
    assert_eq!(messages, expected);
    assert!(keys.len() >= 5);
    let count = keys.len();
    keys.sort_unstable();
    keys.dedup();
    assert_eq!(keys.len(), count, "no key twice");
    drop(sending.await.unwrap());
}

#[tokio::test(start_paused = true)]
async fn fragments_reach_the_client_in_order_and_control_frames_between_them_are_answered() {
    let mut rig = client_rig(Framing::Bytes);
    rig.send(0x02, b"one ").await;
    rig.send(0x89, b"?").await;
    rig.send(0x00, b"two ").await;
    rig.send(0x8a, b"unasked").await;
    rig.send(0x80, b"three").await;
    rig.send(0x81, b" four").await;
    assert_eq!(exactly(&mut rig.client, 18).await, b"one two three four");
    assert_eq!(rig.frame().await, (0x8a, b"?".to_vec()), "a masked Pong");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_the_client_sees_them() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.write_all(b"request").await.unwrap();
    assert_eq!(rig.frame().await, (0x82, b"request".to_vec()));
    rig.send(0x82, b"the reply").await;
    assert_eq!(exactly(&mut rig.client, 9).await, b"the reply");
    sleep(Duration::from_millis(1)).await;
    let carried = rig.entry.carried();
    assert_eq!((carried.bytes_received, carried.bytes_sent), (7, 9));
    assert_eq!((carried.messages_received, carried.messages_sent), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn the_upstream_gets_masked_pings_and_its_pongs_keep_the_connection() {
    let mut rig = client_rig(Framing::Bytes);
    for _ in 0..3 {
        assert_eq!(rig.frame().await, (0x89, Vec::new()));
        rig.upstream.write_all(&control_frame(OpCode::Pong, b"")).await.unwrap();
    }
    assert_eq!(rig.start.elapsed(), INTERVAL * 3);
}
