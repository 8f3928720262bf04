//! The client role: the WebSocket side is the upstream, the stream side its client.

mod ends;
mod framings;

use std::sync::Arc;

use echogate_proto::ws::{OpCode, frame::control_frame};

use super::*;
use crate::{
    connections::registry::Entry,
    gateway::test_rig::{FarEnd, PipeState, close_payload, far_end},
};

/// A bridge in the client role, with the other end of each of its streams.
struct ClientRig {
    client: DuplexStream,
    upstream: FarEnd,
    at_client: Arc<PipeState>,
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
    let (stream, at_client) = Pipe::new(client_end);
    let (ws, upstream) = far_end(room, Role::Server);
    let drain = Drain::new();
    let registered = enter();
    let entry = registered.clone();
    let negotiated = Negotiated { config: config.into(), half_close };
    let bridge = run(Role::Client, ws, stream, b"", negotiated, registered, &drain);
    let bridge = tokio::spawn(bridge);
    let start = Instant::now();
    ClientRig { client, upstream, at_client, bridge, entry, drain, start }
}

impl ClientRig {
    /// Reads everything that the client receives to the end of the stream.
    async fn rest_of_client(&mut self) -> Vec<u8> {
        let mut got = Vec::new();
        timeout(HOUR, self.client.read_to_end(&mut got)).await.expect("it ends").unwrap();
        got
    }

    /// Whether the upstream has seen the end of the connection.
    async fn upstream_sees_end(&mut self) -> bool {
        let read = timeout(Duration::from_millis(1), self.upstream.stream.read(&mut [0])).await;
        read.is_ok_and(|read| read.unwrap() == 0)
    }

    /// The end of the bridge: close code and reason; and whether the client and the upstream were
    /// reset.
    async fn end(self) -> (u16, String, bool, bool) {
        let end = timeout(HOUR, self.bridge).await.expect("it ends").expect("it does not panic");
        let (client, upstream) = (self.at_client.is_reset(), self.upstream.resets());
        (end.code.0, end.why.into_owned(), client, upstream)
    }
}

/// A frame as a server sends it.
fn server_frame(first: u8, payload: &[u8]) -> Vec<u8> {
    test_rig::frame(Role::Server, first, payload)
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
        let (first, key, payload) = rig.upstream.next_with_key().await.expect("no end before");
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
    rig.upstream.send(0x02, b"one ").await;
    rig.upstream.send(0x89, b"?").await;
    rig.upstream.send(0x00, b"two ").await;
    rig.upstream.send(0x8a, b"unasked").await;
    rig.upstream.send(0x80, b"three").await;
    rig.upstream.send(0x81, b" four").await;
    assert_eq!(exactly(&mut rig.client, 18).await, b"one two three four");
    assert_eq!(rig.upstream.frame_in().await, (0x8a, b"?".to_vec()), "a masked Pong");
}

#[tokio::test(start_paused = true)]
async fn bytes_are_counted_as_the_client_sees_them() {
    let mut rig = client_rig(Framing::Bytes);
    rig.client.write_all(b"request").await.unwrap();
    assert_eq!(rig.upstream.frame_in().await, (0x82, b"request".to_vec()));
    rig.upstream.send(0x82, b"the reply").await;
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
        assert_eq!(rig.upstream.frame_in().await, (0x89, Vec::new()));
        rig.upstream.write(&control_frame(OpCode::Pong, b"")).await;
    }
    assert_eq!(rig.start.elapsed(), INTERVAL * 3);
}
