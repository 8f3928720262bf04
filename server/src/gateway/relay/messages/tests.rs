//! The relay between two pipes in memory, in paused time: time advances as soon as nothing else can
//! happen, so that hours pass at once and every moment is exact.

mod close;
mod differential;
mod drain;
mod losses;
mod messages;
mod sockets;
mod timeouts;
mod violations;

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use echogate_proto::{
    framing::{Framing, FramingOptions},
    ws::{Decoder, Event, FrameHeader, OpCode, frame::close_frame, mask},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::connections::registry::{ConnectionInfo, Kind, Peer, Registry};
use echogate_event_loop::InFlight;

const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

/// The relay's end of a pipe.
struct Pipe {
    stream: DuplexStream,
    state: Arc<PipeState>,
}

/// The state of a pipe that a stream in memory does not have.
#[derive(Default)]
struct PipeState {
    /// The peer has reset the connection: a read fails where the stream ends.
    is_broken: AtomicBool,
    /// The relay has the connection end by a reset.
    resets: AtomicBool,
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        if buf.filled().len() == before && self.state.is_broken.load(Ordering::Relaxed) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Pipe {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl Transport for Pipe {
    fn has_ended(&self) -> bool {
        self.has_failed()
    }

    fn has_failed(&self) -> bool {
        self.state.is_broken.load(Ordering::Relaxed)
    }

    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    fn reset_on_drop(&mut self) {
        self.state.resets.store(true, Ordering::Relaxed);
    }
}

/// The far end of a pipe: a client, or an upstream.
struct FarEnd<S = DuplexStream> {
    stream: S,
    state: Arc<PipeState>,
    /// The role of this end.
    role: Role,
}

/// A relay, with the far ends of its two connections.
struct Rig {
    client: FarEnd,
    upstream: FarEnd,
    relay: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

fn config() -> BridgeConfig {
    BridgeConfig {
        framing: Framing::Message,
        framing_options: FramingOptions::default(),
        max_message: 1 << 20,
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        idle_timeout: None,
    }
}

/// An entry in a registry of its own.
fn enter() -> RegistryGuard {
    let arrival = ConnectionInfo {
        kind: Kind::WebSocket,
        peer: Peer::Unknown,
        target: "/test".into(),
        gateway: None,
    };
    Registry::default().enter(arrival, None)
}

fn pipe(room: usize, role: Role) -> (Pipe, FarEnd) {
    let (near, far) = duplex(room);
    let state = Arc::new(PipeState::default());
    (Pipe { stream: near, state: state.clone() }, FarEnd { stream: far, state, role })
}

/// Pipes that hold `room` bytes each way.
fn rig_with(config: BridgeConfig, room: usize, read_ahead: [Vec<u8>; 2]) -> Rig {
    let (client_pipe, client) = pipe(room, Role::Client);
    let (upstream_pipe, upstream) = pipe(room, Role::Server);
    let drain = Drain::new();
    let relay = tokio::spawn({
        let drain = drain.clone();
        async move {
            let ahead = ReadAhead { client: &read_ahead[0], upstream: &read_ahead[1] };
            run(client_pipe, upstream_pipe, ahead, config.into(), enter(), &drain).await
        }
    });
    Rig { client, upstream, relay, drain, start: Instant::now() }
}

fn rig() -> Rig {
    rig_with(config(), 4096, [vec![], vec![]])
}

impl Rig {
    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The end of the relay: close code and reason.
    async fn end(self) -> (u16, String) {
        let end = timeout(HOUR, self.relay).await.expect("it ends").expect("it does not panic");
        (end.code.0, end.why.into_owned())
    }
}

/// A frame as it was received: its first byte, and its payload without the mask.
type Frame = (u8, Vec<u8>);

impl<S: AsyncRead + AsyncWrite + Unpin> FarEnd<S> {
    /// The bytes of a frame as this end sends it.
    fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        frame(self.role, first, payload)
    }

    async fn send(&mut self, first: u8, payload: &[u8]) {
        let frame = self.frame(first, payload);
        self.write(&frame).await;
    }

    async fn write(&mut self, bytes: &[u8]) {
        timeout(HOUR, self.stream.write_all(bytes)).await.expect("in time").expect("no error");
    }

    async fn send_close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, &[&code.to_be_bytes(), reason.as_bytes()].concat()).await;
    }

    /// The next frame, which must have the mask that its sender's role requires.
    async fn frame_in(&mut self) -> Frame {
        self.next().await.expect("a frame, and not the end")
    }

    /// The next frame; None at the end of the stream.
    async fn next(&mut self) -> Option<Frame> {
        timeout(HOUR, self.read_frame()).await.expect("it comes within the hour")
    }

    async fn read_frame(&mut self) -> Option<Frame> {
        let mut head = [0; 2];
        if self.stream.read(&mut head[..1]).await.unwrap() == 0 {
            return None;
        }
        self.stream.read_exact(&mut head[1..]).await.expect("the whole frame");
        assert_eq!(head[1] & 0x80 != 0, self.role == Role::Server, "the mask");
        let len = match head[1] & 0x7f {
            126 => u64::from(self.stream.read_u16().await.unwrap()),
            127 => self.stream.read_u64().await.unwrap(),
            len => len.into(),
        };
        let mut key = [0; 4];
        if self.role == Role::Server {
            self.stream.read_exact(&mut key).await.unwrap();
        }
        let mut payload = vec![0; usize::try_from(len).unwrap()];
        self.stream.read_exact(&mut payload).await.expect("the whole frame");
        mask::apply(&mut payload, &mut key);
        Some((head[0], payload))
    }

    /// Asserts that the next frame is a Close with this code and reason, and the stream's end
    /// follows.
    async fn is_closed_by(&mut self, code: u16, reason: &str) {
        self.gets_close(code, reason).await;
        assert_eq!(self.next().await, None, "the end of the stream");
    }

    async fn gets_close(&mut self, code: u16, reason: &str) {
        let close = close_frame(CloseCode(code), reason);
        let (first, payload) = self.frame_in().await;
        assert_eq!(
            (first, payload.escape_ascii().to_string()),
            (CLOSE, close[2..].escape_ascii().to_string())
        );
    }
}

impl FarEnd {
    /// Asserts that the stream ends without another frame, by a reset.
    async fn is_reset(&mut self) {
        assert_eq!(self.next().await, None, "no frame");
        assert!(self.resets(), "a reset, not an end in order");
    }

    /// Whether the relay ends the connection by a reset.
    fn resets(&self) -> bool {
        self.state.resets.load(Ordering::Relaxed)
    }

    /// Resets the connection.
    fn reset(&mut self) {
        self.state.is_broken.store(true, Ordering::Relaxed);
        self.vanish();
    }

    /// Ends the connection in both directions.
    fn vanish(&mut self) {
        self.stream = duplex(1).0;
    }
}

/// The bytes of a frame as an endpoint with this role sends it.
fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes =
        FrameHeader::new(OpCode::Binary, true, payload.len() as u64).as_bytes().to_vec();
    bytes[0] = first;
    if role == Role::Server {
        return [&bytes, payload].concat();
    }
    bytes[1] |= 0x80;
    let mut key = [0x37, 0xfa, 0x21, payload.len() as u8];
    bytes.extend(key);
    let start = bytes.len();
    bytes.extend_from_slice(payload);
    mask::apply(&mut bytes[start..], &mut key);
    bytes
}

const MORE: u8 = 0x00;
const TEXT_BEGINS: u8 = 0x01;
const BINARY_BEGINS: u8 = 0x02;
const LAST: u8 = 0x80;
const TEXT: u8 = 0x81;
const BINARY: u8 = 0x82;
const CLOSE: u8 = 0x88;
const PING: u8 = 0x89;
const PONG: u8 = 0x8a;

#[test]
fn a_relay_is_small() {
    use crate::net::{
        stream::Stream,
        tapped::{TappedClient, TappedUpstream},
    };
    // Together with its tracking a task fits into an allocation of 512 bytes.
    let size = size_of::<MessageRelay<TappedClient<Stream>, TappedUpstream<Stream>>>();
    assert!(size <= 512 - 2 * size_of::<usize>(), "{size}");
}
