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

use std::{io, sync::Arc, time::Duration};

use echogate_proto::{
    framing::Framing,
    ws::{Decoder, Event, frame::close_frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::gateway::{
    bridge,
    test_rig::{self, HOUR, Pipe, PipeState, close_payload, enter, frame, read_frame},
};

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
    bridge::tests::config(Framing::Message)
}

fn pipe(room: usize, role: Role) -> (Pipe, FarEnd) {
    let (near, stream) = duplex(room);
    let (near, state) = Pipe::new(near);
    (near, FarEnd { stream, state, role })
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
        self.send(CLOSE, &close_payload(code, reason)).await;
    }

    /// The next frame, which must have the mask that its sender's role requires.
    async fn frame_in(&mut self) -> Frame {
        self.next().await.expect("a frame, and not the end")
    }

    /// The next frame; None at the end of the stream.
    async fn next(&mut self) -> Option<Frame> {
        let sender = if self.role == Role::Client { Role::Server } else { Role::Client };
        let frame = timeout(HOUR, read_frame(&mut self.stream, sender)).await;
        let (first, _, payload) = frame.expect("it comes within the hour")?;
        Some((first, payload))
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
        self.state.is_reset()
    }

    fn reset(&mut self) {
        self.state.reset();
        self.vanish();
    }

    /// Ends the connection in both directions.
    fn vanish(&mut self) {
        self.stream = duplex(1).0;
    }
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
