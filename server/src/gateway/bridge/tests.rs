//! The bridge between two streams in memory, in paused time: time advances as soon as nothing
//! else can happen, so that hours pass at once and every moment is exact.

mod client_role;
mod close;
mod datagrams;
mod differential;
mod drain;
mod half_close;
mod idle_timeout;
mod pings;
mod replies;
mod requested_end;

use echogate_proto::{close::CloseCode, ws::frame::close_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::gateway::test_rig::{self, HOUR, INTERVAL, Pipe, PipeState, TIMEOUT, enter};

/// A bridge, with the other end of each of its streams.
struct Rig {
    client: DuplexStream,
    upstream: DuplexStream,
    /// The state that the bridge's transport to the client reports: failures, bytes in flight, resets.
    at_client: Arc<PipeState>,
    /// The same for the transport to the upstream.
    at_upstream: Arc<PipeState>,
    bridge: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

/// The settings of a relay with a WebSocket side, for tests.
pub(in crate::gateway) fn config(framing: Framing) -> BridgeConfig {
    BridgeConfig {
        framing,
        framing_options: FramingOptions::default(),
        max_message: 1 << 20,
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        idle_timeout: None,
    }
}

/// Streams that hold `room` bytes each way.
fn rig_with(framing: Framing, room: usize, read_ahead: &[u8]) -> Rig {
    rig_on(Negotiated { config: config(framing).into(), half_close: false }, room, read_ahead)
}

fn rig_on(negotiated: Negotiated, room: usize, read_ahead: &[u8]) -> Rig {
    rig_between(negotiated, [room; 2], read_ahead)
}

/// Streams to the client and to the upstream that hold so many bytes each way.
fn rig_between(negotiated: Negotiated, rooms: [usize; 2], read_ahead: &[u8]) -> Rig {
    let [(client, client_end), (upstream, upstream_end)] = rooms.map(duplex);
    let drain = Drain::new();
    let (client_end, at_client) = Pipe::new(client_end);
    let (upstream_end, at_upstream) = Pipe::new(upstream_end);
    let bridge = tokio::spawn({
        let (drain, read_ahead) = (drain.clone(), read_ahead.to_vec());
        async move {
            run(Role::Server, client_end, upstream_end, &read_ahead, negotiated, enter(), &drain)
                .await
        }
    });
    Rig { client, upstream, at_client, at_upstream, bridge, drain, start: Instant::now() }
}

fn rig(framing: Framing) -> Rig {
    rig_with(framing, 4096, b"")
}

impl Rig {
    /// The next `len` bytes that the client receives.
    async fn at_client(&mut self, len: usize) -> Vec<u8> {
        exactly(&mut self.client, len).await
    }

    async fn gets_close(&mut self, code: CloseCode, reason: &str) {
        let expected = close(code, reason);
        assert_eq!(self.at_client(expected.len()).await, expected);
    }

    async fn at_upstream(&mut self, len: usize) -> Vec<u8> {
        exactly(&mut self.upstream, len).await
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// The end of the bridge: close code, reason, and the seconds until then.
    async fn end(self) -> (u16, String, u64) {
        let end = timeout(HOUR, self.bridge).await.expect("it ends").expect("it does not panic");
        (end.code.0, end.why.into_owned(), self.start.elapsed().as_secs())
    }
}

async fn exactly(stream: &mut DuplexStream, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len];
    let read = timeout(HOUR, stream.read_exact(&mut bytes)).await;
    read.expect("it comes within the hour").expect("no end before");
    bytes
}

/// A client's frame.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    test_rig::frame(Role::Client, first, payload)
}

fn client_close(code: u16) -> Vec<u8> {
    frame(0x88, &code.to_be_bytes())
}

fn close(code: CloseCode, reason: &str) -> Vec<u8> {
    close_frame(code, reason)
}

const PING: [u8; 2] = [0x89, 0];
const PONG: [u8; 6] = [0x8a, 0x80, 0, 0, 0, 0];

/// The Close that the client receives when the server shuts down.
fn shutdown_close() -> Vec<u8> {
    close(CloseCode::GOING_AWAY, "the server is shutting down")
}

/// A bridge with half-close negotiated.
fn half_close_rig(framing: Framing) -> Rig {
    rig_on(Negotiated { config: config(framing).into(), half_close: true }, 4096, b"")
}

/// An empty binary message from the server: the end of input with half-close.
const END: [u8; 2] = [0x82, 0];

#[test]
fn a_bridge_is_small() {
    use crate::net::{
        stream::Stream,
        tapped::{TappedClient, TappedUpstream},
    };
    // Together with its tracking a task fits into an allocation of 448 bytes.
    let size = size_of::<Bridge<TappedClient<Stream>, TappedUpstream<Stream>>>();
    assert!(size <= 448 - 2 * size_of::<usize>(), "{size}");
}
