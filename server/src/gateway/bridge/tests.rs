//! The bridge between two streams in memory, in paused time: time advances as soon as nothing
//! else can happen, so that hours pass at once and every moment is exact.

mod client_role;
mod close;
mod datagrams;
mod differential;
mod drain;
mod half_close;
mod heartbeat;
mod idle_timeout;
mod replies;

use echogate_proto::{close::CloseCode, ws::frame::close_frame};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::connections::registry::{ConnectionInfo, Kind, Peer, Registry};
use echogate_event_loop::InFlight;

const INTERVAL: Duration = Duration::from_secs(20);
const TIMEOUT: Duration = Duration::from_secs(15);
const HOUR: Duration = Duration::from_secs(3600);

impl Transport for DuplexStream {
    fn has_ended(&self) -> bool {
        false
    }

    fn has_failed(&self) -> bool {
        false
    }

    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    /// Does nothing: a stream in memory has no reset. Tests with sockets cover it.
    fn reset_on_drop(&mut self) {}
}

/// A bridge, with the other end of each of its streams.
struct Rig {
    client: DuplexStream,
    upstream: DuplexStream,
    bridge: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

fn config(framing: Framing) -> BridgeConfig {
    BridgeConfig {
        framing,
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

/// Streams that hold `room` bytes each way.
fn rig_with(framing: Framing, room: usize, read_ahead: &[u8]) -> Rig {
    rig_on(Negotiated { config: config(framing).into(), half_close: false }, room, read_ahead)
}

fn rig_on(negotiated: Negotiated, room: usize, read_ahead: &[u8]) -> Rig {
    let (client, client_end) = duplex(room);
    let (upstream, upstream_end) = duplex(room);
    let drain = Drain::new();
    let bridge = tokio::spawn({
        let (drain, read_ahead) = (drain.clone(), read_ahead.to_vec());
        async move {
            run(Role::Server, client_end, upstream_end, &read_ahead, negotiated, enter(), &drain)
                .await
        }
    });
    Rig { client, upstream, bridge, drain, start: Instant::now() }
}

fn rig(framing: Framing) -> Rig {
    rig_with(framing, 4096, b"")
}

impl Rig {
    /// The next `len` bytes that the client receives.
    async fn at_client(&mut self, len: usize) -> Vec<u8> {
        exactly(&mut self.client, len).await
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

/// A client's frame; the mask is 0, which changes nothing.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        len @ 0..126 => bytes.push(0x80 | u8::try_from(len).unwrap()),
        len => {
            bytes.push(0xfe);
            bytes.extend(u16::try_from(len).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend_from_slice(payload);
    bytes
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
fn goodbye() -> Vec<u8> {
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
