//! The parts that the tests of all relays share: streams in memory and over TCP, WebSocket frames,
//! and an entry in a registry.

pub(super) mod script;

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use echogate_event_loop::{EventLoops, InFlight};
use echogate_proto::{
    close::CloseCode,
    ws::{FrameHeader, OpCode, Role, frame::close_frame, mask},
};
use parking_lot::Mutex;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    net::{TcpListener, TcpStream},
    sync::oneshot,
    time::timeout,
};

use self::first::{CLOSE, LAST, MORE};
use crate::{
    connections::{
        registry::{ConnectionInfo, Kind, Peer, Registry, RegistryGuard},
        target::ConnectionTarget,
    },
    net::stream::{Stream, Transport},
};

pub(super) const INTERVAL: Duration = Duration::from_secs(20);
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
pub(super) const HOUR: Duration = Duration::from_secs(3600);

/// A result of [`read_to_end`].
pub(super) const RESET: Result<(), io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

/// An entry in a registry of its own.
pub(super) fn enter() -> RegistryGuard {
    let info = ConnectionInfo {
        kind: Kind::WebSocket,
        peer: Peer::Unknown,
        target: Arc::new(ConnectionTarget::of_service("/test", false)),
        gateway: None,
    };
    Registry::default().enter(info, None)
}

/// The relay's end of a stream in memory.
#[derive(Debug)]
pub(super) struct Pipe {
    stream: DuplexStream,
    state: Arc<PipeState>,
}

/// The state of a pipe, as a socket would have it.
#[derive(Debug)]
pub(super) struct PipeState(Mutex<Known>);

#[derive(Debug)]
struct Known {
    /// The error that a read returns in place of the end of the stream.
    read_error: Option<io::ErrorKind>,
    has_failed: bool,
    in_flight: Option<InFlight>,
    is_reset: bool,
}

impl Pipe {
    /// The relay's end of `stream`, and its state.
    pub(super) fn new(stream: DuplexStream) -> (Pipe, Arc<PipeState>) {
        let state = Arc::<PipeState>::default();
        (Pipe { stream, state: state.clone() }, state)
    }
}

impl Default for PipeState {
    fn default() -> PipeState {
        let in_flight = Some(InFlight::NOTHING);
        let known = Known { read_error: None, has_failed: false, in_flight, is_reset: false };
        PipeState(known.into())
    }
}

impl PipeState {
    /// Makes the stream end with this error.
    pub(super) fn set_read_error(&self, kind: io::ErrorKind) {
        self.0.lock().read_error = Some(kind);
    }

    /// Makes the transport report that the connection has failed.
    pub(super) fn set_failed(&self) {
        self.0.lock().has_failed = true;
    }

    pub(super) fn reset(&self) {
        self.set_failed();
        self.set_read_error(io::ErrorKind::ConnectionReset);
    }

    pub(super) fn set_in_flight(&self, in_flight: Option<InFlight>) {
        self.0.lock().in_flight = in_flight;
    }

    /// Whether the relay ends the connection by a reset.
    pub(super) fn is_reset(&self) -> bool {
        self.0.lock().is_reset
    }
}

impl AsyncRead for Pipe {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buf);
        match self.state.0.lock().read_error {
            Some(kind) if read.is_ready() && buf.filled().len() == before => {
                Poll::Ready(Err(kind.into()))
            }
            _ => read,
        }
    }
}

impl AsyncWrite for Pipe {
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

impl Transport for Pipe {
    fn has_failed(&self) -> bool {
        self.state.0.lock().has_failed
    }

    fn in_flight(&self) -> Option<InFlight> {
        self.state.0.lock().in_flight
    }

    fn reset_on_drop(&mut self) {
        self.state.0.lock().is_reset = true;
    }

    fn reset(&mut self) {
        self.reset_on_drop();
        self.stream = duplex(1).0;
    }
}

/// A TCP connection: the peer's end, and the relay's.
pub(super) async fn tcp() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
    let (peer, (accepted, _)) = (peer.unwrap(), accepted.unwrap());
    peer.set_nodelay(true).unwrap();
    accepted.set_nodelay(true).unwrap();
    (peer, accepted.into())
}

/// A relay on an event loop.
#[derive(Debug)]
pub(super) struct OnEventLoop<E> {
    end: oneshot::Receiver<E>,
    _loops: EventLoops,
}

impl<E: std::fmt::Debug + Send + 'static> OnEventLoop<E> {
    pub(super) fn spawn(relay: impl Future<Output = E> + Send + 'static) -> OnEventLoop<E> {
        let loops = EventLoops::start().unwrap();
        let (ended, end) = oneshot::channel();
        loops.spawn(async move {
            ended.send(relay.await).ok();
        });
        OnEventLoop { end, _loops: loops }
    }

    pub(super) async fn end(self) -> E {
        in_time(self.end).await.unwrap()
    }
}

pub(super) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}

/// Runs a test in paused time: time advances as soon as nothing else can happen.
pub(super) fn in_paused_time(test: impl Future<Output = ()>) {
    let mut runtime = tokio::runtime::Builder::new_current_thread();
    runtime.enable_time().start_paused(true).build().unwrap().block_on(test);
}

pub(super) fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Reads to the end of the stream: the bytes, and the end itself.
pub(super) async fn read_to_end(
    stream: &mut (impl AsyncRead + Unpin),
) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut bytes = Vec::new();
    let end = in_time(stream.read_to_end(&mut bytes)).await;
    (bytes, end.map(drop).map_err(|e| e.kind()))
}

/// Writes `bytes` in pieces of these sizes, in turn.
pub(super) async fn write_in_pieces(
    to: &mut (impl AsyncWrite + Unpin),
    bytes: &[u8],
    sizes: &[usize],
) {
    let (mut rest, mut sizes) = (bytes, sizes.iter().cycle());
    while let (false, Some(&size)) = (rest.is_empty(), sizes.next()) {
        let (piece, behind) = rest.split_at(size.min(rest.len()));
        to.write_all(piece).await.unwrap();
        tokio::task::yield_now().await;
        rest = behind;
    }
}

/// Bytes that differ from place to place, so that losses, repetitions and exchanges show.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

/// The bytes of a frame as an endpoint with this role sends it.
pub(super) fn frame(role: Role, first: u8, payload: &[u8]) -> Vec<u8> {
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

/// A frame as it was received: its first byte, its masking key, and its payload without the mask.
pub(super) type ReceivedFrame = (u8, [u8; 4], Vec<u8>);

/// Reads a frame of an endpoint with this role, which decides whether there is a mask; none at the
/// end of the stream.
pub(super) async fn read_frame(
    stream: &mut (impl AsyncRead + Unpin),
    sender: Role,
) -> Option<ReceivedFrame> {
    let mut head = [0; 2];
    if stream.read(&mut head[..1]).await.unwrap() == 0 {
        return None;
    }
    stream.read_exact(&mut head[1..]).await.expect("the whole frame");
    assert_eq!(head[1] & 0x80 != 0, sender == Role::Client, "the mask");
    let len = match head[1] & 0x7f {
        126 => u64::from(stream.read_u16().await.unwrap()),
        127 => stream.read_u64().await.unwrap(),
        len => len.into(),
    };
    let mut key = [0; 4];
    if sender == Role::Client {
        stream.read_exact(&mut key).await.unwrap();
    }
    let mut payload = vec![0; usize::try_from(len).unwrap()];
    stream.read_exact(&mut payload).await.expect("the whole frame");
    mask::apply(&mut payload, &mut key.clone());
    Some((head[0], key, payload))
}

pub(super) fn close_payload(code: u16, reason: &str) -> Vec<u8> {
    close_frame(CloseCode(code), reason).split_off(2)
}

/// First bytes of frames.
pub(super) mod first {
    pub(in crate::gateway) const MORE: u8 = 0x00;
    pub(in crate::gateway) const TEXT_BEGINS: u8 = 0x01;
    pub(in crate::gateway) const BINARY_BEGINS: u8 = 0x02;
    pub(in crate::gateway) const LAST: u8 = 0x80;
    pub(in crate::gateway) const TEXT: u8 = 0x81;
    pub(in crate::gateway) const BINARY: u8 = 0x82;
    pub(in crate::gateway) const CLOSE: u8 = 0x88;
    pub(in crate::gateway) const PING: u8 = 0x89;
    pub(in crate::gateway) const PONG: u8 = 0x8a;
}

/// The far end of a pipe: a client, or an upstream.
pub(super) struct FarEnd {
    pub(super) stream: DuplexStream,
    pub(super) state: Arc<PipeState>,
    /// The role of this end.
    pub(super) role: Role,
}

/// A pipe that holds `room` bytes each way, with its far end.
pub(super) fn far_end(room: usize, role: Role) -> (Pipe, FarEnd) {
    let (near, stream) = duplex(room);
    let (near, state) = Pipe::new(near);
    (near, FarEnd { stream, state, role })
}

/// A frame as it was received: its first byte, and its payload without the mask.
pub(super) type Frame = (u8, Vec<u8>);

impl FarEnd {
    /// The bytes of a frame as this end sends it.
    pub(super) fn frame(&self, first: u8, payload: &[u8]) -> Vec<u8> {
        frame(self.role, first, payload)
    }

    pub(super) async fn send(&mut self, first: u8, payload: &[u8]) {
        let frame = self.frame(first, payload);
        self.write(&frame).await;
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) {
        timeout(HOUR, self.stream.write_all(bytes)).await.expect("in time").expect("no error");
    }

    pub(super) async fn send_close(&mut self, code: u16, reason: &str) {
        self.send(CLOSE, &close_payload(code, reason)).await;
    }

    /// The next frame, which must have the mask that its sender's role requires.
    pub(super) async fn frame_in(&mut self) -> Frame {
        self.next().await.expect("a frame, and not the end")
    }

    /// The next message in one or more frames: the first byte of the first one, and all payload.
    pub(super) async fn message_in(&mut self) -> Frame {
        let (begins, mut payload) = self.frame_in().await;
        let mut first = begins;
        while first & LAST == 0 {
            let part = self.frame_in().await;
            first = part.0;
            assert_eq!(first & !LAST, MORE, "a Continuation frame");
            payload.extend(part.1);
        }
        (begins, payload)
    }

    /// The next frame; None at the end of the stream.
    pub(super) async fn next(&mut self) -> Option<Frame> {
        self.next_with_key().await.map(|(first, _, payload)| (first, payload))
    }

    pub(super) async fn next_with_key(&mut self) -> Option<ReceivedFrame> {
        let sender = if self.role == Role::Client { Role::Server } else { Role::Client };
        timeout(HOUR, read_frame(&mut self.stream, sender)).await.expect("it comes within the hour")
    }

    /// Asserts that the next frame is a Close with this code and reason, and the stream's end
    /// follows.
    pub(super) async fn is_closed_by(&mut self, code: u16, reason: &str) {
        self.gets_close(code, reason).await;
        assert_eq!(self.next().await, None, "the end of the stream");
    }

    pub(super) async fn gets_close(&mut self, code: u16, reason: &str) {
        let (first, payload) = self.frame_in().await;
        let text = |payload: &[u8]| payload.escape_ascii().to_string();
        assert_eq!((first, text(&payload)), (CLOSE, text(&close_payload(code, reason))));
    }

    /// Asserts that the stream ends without another frame, by a reset.
    pub(super) async fn is_reset(&mut self) {
        assert_eq!(self.next().await, None, "no frame");
        assert!(self.resets(), "a reset, not an end in order");
    }

    /// Whether the relay ends the connection by a reset.
    pub(super) fn resets(&self) -> bool {
        self.state.is_reset()
    }

    pub(super) fn reset(&mut self) {
        self.state.reset();
        self.vanish();
    }

    /// Ends the connection in both directions.
    pub(super) fn vanish(&mut self) {
        self.stream = duplex(1).0;
    }
}
