//! The bridge between two streams in memory, in paused time: it goes on by itself as
//! soon as nothing else can happen, so that hours pass at once and every moment is
//! exact.

use echogate_proto::{
    framing::Newline,
    ws::{
        OpCode,
        frame::{close_frame, control_frame},
    },
};
use proptest::prelude::*;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
    task::JoinHandle,
    time::{advance, sleep, timeout},
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

    /// A stream in memory knows no reset: tests with sockets show it.
    fn reset_on_drop(&mut self) {}
}

/// A bridge with both other ends in the test's hands.
struct Rig {
    client: DuplexStream,
    upstream: DuplexStream,
    bridge: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

fn options(framing: Framing) -> Options {
    Options {
        framing,
        framing_options: FramingOptions::default(),
        max_message: 1 << 20,
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        idle_timeout: None,
    }
}

/// A place in a registry of its own.
fn enter() -> Registered {
    let arrival = ConnectionInfo {
        kind: Kind::WebSocket,
        peer: Peer::Unknown,
        target: "/test".into(),
        gateway: None,
    };
    Registry::default().enter(arrival, None)
}

/// Streams that hold `room` bytes each way.
fn rig_with(framing: Framing, room: usize, early: &[u8]) -> Rig {
    rig_on(Terms { options: options(framing).into(), half_close: false }, room, early)
}

fn rig_on(terms: Terms, room: usize, early: &[u8]) -> Rig {
    let (client, client_end) = duplex(room);
    let (upstream, upstream_end) = duplex(room);
    let drain = Drain::new();
    let bridge = tokio::spawn({
        let (drain, early) = (drain.clone(), early.to_vec());
        async move { run(client_end, upstream_end, &early, terms, enter(), &drain).await }
    });
    Rig { client, upstream, bridge, drain, start: Instant::now() }
}

fn rig(framing: Framing) -> Rig {
    rig_with(framing, 4096, b"")
}

impl Rig {
    /// Exactly `len` bytes that the client gets.
    async fn at_client(&mut self, len: usize) -> Vec<u8> {
        exactly(&mut self.client, len).await
    }

    async fn at_upstream(&mut self, len: usize) -> Vec<u8> {
        exactly(&mut self.upstream, len).await
    }

    fn elapsed(&self) -> Duration {
        self.start.elapsed()
    }

    /// How the bridge ended, and when, to the second.
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

/// What the client gets when the server shuts down.
fn goodbye() -> Vec<u8> {
    close(CloseCode::GOING_AWAY, "the server is shutting down")
}

// Half-close

/// A bridge with half-close agreed on.
fn half_close_rig(framing: Framing) -> Rig {
    rig_on(Terms { options: options(framing).into(), half_close: true }, 4096, b"")
}

/// An empty binary message, from the server.
const END: [u8; 2] = [0x82, 0];

#[tokio::test(start_paused = true)]
async fn with_half_close_the_client_may_end_first() {
    let mut rig = half_close_rig(Framing::Bytes);
    let sent = [frame(0x82, b"all"), frame(0x82, b"")].concat();
    rig.client.write_all(&sent).await.unwrap();
    assert_eq!(rig.at_upstream(3).await, b"all");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
    sleep(Duration::from_secs(10)).await;
    rig.upstream.write_all(b"late").await.unwrap();
    assert_eq!(rig.at_client(6).await, b"\x82\x04late");
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    let goodbye = close(CloseCode::NORMAL, "both sides ended the stream");
    assert_eq!(rig.at_client(goodbye.len()).await, goodbye);
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.end().await.0, 1000);
}

#[tokio::test(start_paused = true)]
async fn with_half_close_the_upstream_may_end_first() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.upstream.write_all(b"all").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(7).await, [&b"\x82\x03all"[..], &END].concat());
    sleep(Duration::from_secs(10)).await;
    rig.client.write_all(&frame(0x81, b"late")).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"late");
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    let goodbye = close(CloseCode::NORMAL, "both sides ended the stream");
    assert_eq!(rig.at_client(goodbye.len()).await, goodbye);
}

#[tokio::test(start_paused = true)]
async fn with_half_close_fragments_make_no_difference_to_the_end_of_input() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = half_close_rig(framing);
        let empty = [frame(0x02, b""), frame(0x00, b""), frame(0x80, b"")].concat();
        let all = [frame(0x02, b""), frame(0x80, b"all")].concat();
        rig.client.write_all(&[all, empty].concat()).await.unwrap();
        assert_eq!(rig.at_upstream(3).await, b"all", "{framing}");
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input ({framing})");
        rig.upstream.write_all(b"ALL").await.unwrap();
        assert_eq!(rig.at_client(5).await, b"\x82\x03ALL", "{framing}");
        rig.upstream.shutdown().await.unwrap();
        assert_eq!(rig.at_client(2).await, END, "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn with_half_close_nothing_may_follow_the_end() {
    for more in [frame(0x82, b"more"), frame(0x82, b""), frame(0x01, b"")] {
        let mut rig = half_close_rig(Framing::Bytes);
        let sent = [frame(0x82, b""), more].concat();
        rig.client.write_all(&sent).await.unwrap();
        let reason = "a message after the end of input (half-close)";
        let goodbye = close(CloseCode::PROTOCOL_ERROR, reason);
        assert_eq!(rig.at_client(goodbye.len()).await, goodbye);
    }
}

#[tokio::test(start_paused = true)]
async fn with_half_close_an_empty_text_is_a_message() {
    let mut rig = half_close_rig(Framing::Line);
    rig.client.write_all(&frame(0x81, b"")).await.unwrap();
    assert_eq!(rig.at_upstream(1).await, b"\n");
}

#[tokio::test(start_paused = true)]
async fn without_half_close_an_empty_binary_message_is_one() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    rig.client.write_all(&frame(0x82, b"x")).await.unwrap();
    assert_eq!(rig.at_upstream(1).await, b"x");
}

#[tokio::test(start_paused = true)]
async fn a_drain_ends_what_is_half_closed() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, END);
    rig.drain.advance(Stage::WhenQuiet);
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
}

#[tokio::test(start_paused = true)]
async fn after_its_close_the_client_is_told_of_no_end_of_input() {
    let mut rig = half_close_rig(Framing::Bytes);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.client.write_all(&client_close(1000)).await.unwrap();
    drop(rig.upstream);
    let mut rest = Vec::new();
    rig.client.read_to_end(&mut rest).await.unwrap();
    assert_eq!(rest, close(CloseCode::NORMAL, ""));
}

// Idle time

#[tokio::test(start_paused = true)]
async fn what_carries_nothing_is_ended_where_that_is_asked_for() {
    let options = Options {
        framing: Framing::Bytes,
        framing_options: FramingOptions::default(),
        max_message: 1 << 20,
        ping_interval: INTERVAL,
        ping_timeout: TIMEOUT,
        idle_timeout: Some(Duration::from_secs(50)),
    };
    let mut rig = rig_on(Terms { options: options.into(), half_close: false }, 4096, b"");
    sleep(Duration::from_secs(10)).await;
    rig.client.write_all(&frame(0x82, b"x")).await.unwrap();
    // Pongs are signs of life, and no payload.
    for _ in 0..2 {
        assert_eq!(rig.at_client(2).await, PING);
        rig.client.write_all(&PONG).await.unwrap();
    }
    let goodbye = close(CloseCode::GOING_AWAY, "nothing was carried for too long (--idle-timeout)");
    assert_eq!(rig.at_client(goodbye.len()).await, goodbye);
    assert_eq!(rig.elapsed().as_secs(), 60);
}

// Heartbeat

#[tokio::test(start_paused = true)]
async fn a_silent_client_is_asked_and_then_dropped() {
    let mut rig = rig(Framing::Bytes);
    assert_eq!(rig.at_client(2).await, PING);
    assert_eq!(rig.elapsed().as_secs(), 20);
    assert_eq!(rig.end().await, (1006, "the client did not answer a Ping".to_owned(), 35));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_is_asked_again_and_never_dropped() {
    let mut rig = rig(Framing::Bytes);
    for _ in 0..100 {
        assert_eq!(rig.at_client(2).await, PING);
        sleep(Duration::from_secs(1)).await;
        rig.client.write_all(&PONG).await.unwrap();
    }
    assert!(!rig.bridge.is_finished());
    assert_eq!(rig.elapsed().as_secs(), 100 * 21);
}

#[tokio::test(start_paused = true)]
async fn an_answer_at_the_very_moment_of_the_question_counts() {
    let mut rig = rig(Framing::Bytes);
    for _ in 0..5 {
        assert_eq!(rig.at_client(2).await, PING);
        rig.client.write_all(&PONG).await.unwrap();
    }
    assert!(!rig.bridge.is_finished());
}

#[tokio::test(start_paused = true)]
async fn any_byte_is_a_sign_of_life() {
    let mut rig = rig(Framing::Bytes);
    // One message, a byte of it every 19 seconds: no Ping is due.
    for byte in frame(0x82, b"slowly") {
        sleep(Duration::from_secs(19)).await;
        rig.client.write_all(&[byte]).await.unwrap();
    }
    assert_eq!(rig.at_upstream(6).await, b"slowly");
    // And after a Ping any byte will do.
    assert_eq!(rig.at_client(2).await, PING);
    sleep(Duration::from_secs(14)).await;
    rig.client.write_all(&[0x82]).await.unwrap();
    assert_eq!(rig.at_client(2).await, PING);
}

#[tokio::test(start_paused = true)]
async fn what_the_upstream_sends_is_no_sign_of_the_clients_life() {
    let mut rig = rig(Framing::Bytes);
    let mut upstream = rig.upstream;
    let chatter = tokio::spawn(async move {
        while upstream.write_all(b"still here").await.is_ok() {
            sleep(Duration::from_secs(1)).await;
        }
    });
    rig.upstream = duplex(1).0;
    assert_eq!(rig.end().await.1, "the client did not answer a Ping");
    chatter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_dropped() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
        async move { upstream.write_all(&[7; 1 << 20]).await }
    });
    let (_, why, seconds) = rig.end().await;
    assert_eq!((why.as_str(), seconds), ("the client did not answer a Ping", 35));
    assert!(flood.await.unwrap().is_err(), "it was held back");
}

#[tokio::test(start_paused = true)]
async fn a_slow_transfer_that_moves_is_never_cut() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
        async move { upstream.write_all(&[7; 1 << 20]).await }
    });
    // The client says nothing and takes a few bytes now and then.
    for _ in 0..200 {
        sleep(Duration::from_secs(14)).await;
        rig.at_client(50).await;
    }
    assert!(!rig.bridge.is_finished(), "{:?}", rig.bridge.await);
    drop(rig.client);
    flood.await.unwrap().ok();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_is_not_read_for_the_upstreams_sake_is_not_given_up() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = rig(framing);
        let sending = tokio::spawn({
            let (mut read, mut write) = tokio::io::split(rig.client);
            async move {
                let bytes = frame(0x82, &[7; 10_000]).repeat(20);
                write.write_all(&bytes).await.unwrap();
                // It answers nothing, because nothing that it sends is read.
                let mut got = vec![];
                read.read_to_end(&mut got).await.unwrap();
            }
        });
        sleep(HOUR * 5).await;
        assert!(!rig.bridge.is_finished(), "{framing}");
        // The upstream comes to life, and all is there.
        let mut upstream = rig.upstream;
        let mut got = vec![0; 200_000];
        upstream.read_exact(&mut got).await.unwrap();
        assert!(got.iter().all(|byte| *byte == 7));
        drop(upstream);
        rig.client = duplex(1).0;
        rig.bridge.abort();
        sending.abort();
    }
}

#[tokio::test(start_paused = true)]
async fn control_frames_pass_between_the_parts_of_a_reply() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x82, &[7; 100])).await.unwrap();
    rig.at_upstream(100).await;
    // Half the reply, and then a long pause.
    rig.upstream.write_all(&[7; 50]).await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x02, 50], "a fragment of what has come");
    rig.at_client(50).await;
    assert_eq!(rig.at_client(2).await, PING);
    rig.client.write_all(&PONG).await.unwrap();
    rig.client.write_all(&frame(0x89, b"?")).await.unwrap();
    assert_eq!(rig.at_client(3).await, control_frame(OpCode::Pong, b"?"));
    rig.upstream.write_all(&[7; 50]).await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x80, 50], "the last fragment");
    rig.at_client(50).await;
}

#[tokio::test(start_paused = true)]
async fn each_ping_of_a_batch_is_answered_in_order() {
    let mut rig = rig(Framing::Message);
    let pings: Vec<u8> = (0..10).flat_map(|n| frame(0x89, &[n])).collect();
    rig.client.write_all(&pings).await.unwrap();
    let pongs: Vec<u8> = (0..10).flat_map(|n| control_frame(OpCode::Pong, &[n])).collect();
    assert_eq!(rig.at_client(pongs.len()).await, pongs);
}

// Endings

#[tokio::test(start_paused = true)]
async fn a_client_that_closes_is_answered_at_once_when_nothing_is_owed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&client_close(3000)).await.unwrap();
    assert_eq!(rig.at_client(4).await, close(CloseCode(3000), ""));
    assert_eq!(rig.elapsed(), Duration::ZERO);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "and the end");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the upstream too");
    assert_eq!(rig.end().await, (3000, "the client closed".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn replies_that_are_owed_come_before_the_answer_to_a_close() {
    let mut rig = rig(Framing::Message);
    let bytes = [frame(0x81, b"ab"), client_close(1000)].concat();
    rig.client.write_all(&bytes).await.unwrap();
    assert_eq!(rig.at_upstream(2).await, b"ab");
    sleep(Duration::from_millis(1900)).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_never_ends_is_left_after_a_grace() {
    for framing in [Framing::Bytes, Framing::Message] {
        let mut rig = rig(framing);
        let bytes = [frame(0x81, b"ab"), client_close(1000)].concat();
        rig.client.write_all(&bytes).await.unwrap();
        assert_eq!(rig.at_upstream(2).await, b"ab");
        assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
        assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
        assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 2), "{framing}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_talks_on_forever_is_left_after_a_grace() {
    let mut rig = rig(Framing::Bytes);
    let mut upstream = std::mem::replace(&mut rig.upstream, duplex(1).0);
    let chatter = tokio::spawn(async move {
        while upstream.write_all(b"and another thing").await.is_ok() {
            sleep(Duration::from_millis(10)).await;
        }
    });
    rig.client.write_all(&client_close(1000)).await.unwrap();
    let mut got = vec![];
    rig.client.read_to_end(&mut got).await.unwrap();
    assert!(got.ends_with(&close(CloseCode::NORMAL, "")), "{}", got.escape_ascii());
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 2));
    chatter.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_answers_a_close_is_left_after_a_while() {
    let mut rig = rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    let expected = close(CloseCode::NORMAL, "the upstream ended the stream");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    let (code, why, seconds) = rig.end().await;
    assert_eq!((code, why.as_str(), seconds), (1000, "the upstream ended the stream", 5));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_answers_a_close_is_seen_off_at_once() {
    let mut rig = rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    let expected = close(CloseCode::NORMAL, "the upstream ended the stream");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.end().await.2, 0);
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_ends_and_does_not_read_lets_the_client_end() {
    let mut rig = rig(Framing::Bytes);
    // More than the upstream's stream holds: the rest waits in the bridge.
    let payload = vec![7; 6000];
    rig.client.write_all(&frame(0x82, &payload[..3000])).await.unwrap();
    rig.client.write_all(&frame(0x82, &payload[..3000])).await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.upstream.shutdown().await.unwrap();
    let expected = close(CloseCode::NORMAL, "the upstream ended the stream");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    // Its Close is read although the upstream does not take what waits before it.
    rig.client.write_all(&frame(0x82, b"more")).await.unwrap();
    rig.client.write_all(&client_close(1000)).await.unwrap();
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "the end");
    assert_eq!(rig.elapsed().as_secs(), 0, "at once");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_goes_takes_the_upstream_along() {
    let mut rig = rig(Framing::Bytes);
    rig.client.write_all(&frame(0x82, b"last")).await.unwrap();
    rig.client.shutdown().await.unwrap();
    let mut got = vec![];
    rig.upstream.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last");
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.end().await, (1006, "the client went away without a Close".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_ends_without_a_close_gets_the_replies_that_it_is_owed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"ab")).await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.at_upstream(2).await, b"ab");
    sleep(Duration::from_secs(10)).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "and the end");
    assert_eq!(rig.end().await, (1006, "the client went away without a Close".to_owned(), 10));
}

#[tokio::test(start_paused = true)]
async fn what_came_before_a_breach_is_answered_before_the_close() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&[frame(0x81, b"ab"), frame(0x83, b"bad")].concat()).await.unwrap();
    assert_eq!(rig.at_upstream(2).await, b"ab");
    sleep(Duration::from_secs(1)).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    let expected = close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    assert_eq!(rig.elapsed().as_secs(), 1);
}

#[tokio::test(start_paused = true)]
async fn what_a_client_sent_before_its_close_is_owed_as_long_as_the_upstream_takes_it() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "it is answered");
    // Some bytes each 50 s: the client has long gone.
    for _ in 0..20 {
        sleep(Duration::from_secs(50)).await;
        rig.at_upstream(50).await;
    }
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
    assert_eq!(rig.end().await, (1000, "the client closed".to_owned(), 1002));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_takes_nothing_is_given_up_and_the_log_says_what_is_lost() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    assert_eq!(rig.at_client(4).await, close(CloseCode::NORMAL, ""));
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0, "it is answered");
    let (code, why, seconds) = rig.end().await;
    assert_eq!(code, 1000);
    assert_eq!(why, "the client closed; 900 bytes were not delivered to the upstream");
    assert_eq!(seconds, 2 + 60, "after the client's end");
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_the_framing_is_read_on_so_that_it_takes_the_rest() {
    let sent = [&[b'x'; 500][..], b"\xff", &[b'y'; 500]].concat();
    let frames = [frame(0x82, &sent), client_close(1000)].concat();
    let Rig { mut client, mut upstream, start, .. } = rig_with(Framing::Text, 100, &frames);
    let client = tokio::spawn(async move { client.read_to_end(&mut Vec::new()).await });
    // It echoes, and takes nothing more while its echo is not taken.
    let (mut got, mut buf) = (Vec::<u8>::new(), [0; 50]);
    while let Ok(n @ 1..) = upstream.read(&mut buf).await {
        got.extend(&buf[..n]);
        // At the end nobody takes it any more.
        upstream.write_all(&buf[..n]).await.ok();
    }
    assert_eq!(got, sent);
    client.await.unwrap().unwrap();
    assert!(start.elapsed() < Duration::from_secs(5));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_breaks_off_with_bytes_owed_to_it_is_told_to_the_client() {
    let sent = [frame(0x82, &[7; 1000]), client_close(1000)].concat();
    let mut rig = rig_with(Framing::Bytes, 100, &sent);
    sleep(Duration::from_secs(1)).await;
    drop(rig.upstream);
    rig.upstream = duplex(1).0;
    let (code, reason) = (CloseCode::INTERNAL_ERROR, "the upstream reset the connection");
    let expected = close(code, reason);
    assert_eq!(rig.at_client(expected.len()).await, expected);
    let (code, why, _) = rig.end().await;
    assert_eq!(code, 1011);
    assert_eq!(why, format!("{reason}; 900 bytes were not delivered to the upstream"));
}

#[tokio::test(start_paused = true)]
async fn bytes_behind_the_clients_close_are_read_and_thrown_away() {
    let mut rig = rig(Framing::Bytes);
    rig.upstream.shutdown().await.unwrap();
    let expected = close(CloseCode::NORMAL, "the upstream ended the stream");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    let bytes = [client_close(1000), vec![0xff; 100_000]].concat();
    rig.client.write_all(&bytes).await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.end().await, (1000, "the upstream ended the stream".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_breach_is_answered_and_what_follows_it_thrown_away() {
    let mut rig = rig(Framing::Bytes);
    let bytes = [frame(0x82, b"good"), frame(0x83, b"bad"), vec![0xff; 100_000]].concat();
    rig.client.write_all(&bytes).await.unwrap();
    let expected = close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3");
    assert_eq!(rig.at_client(expected.len()).await, expected);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.at_upstream(4).await, b"good");
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.end().await, (1002, "reserved opcode 3".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_floods_after_its_breach_is_left_after_a_while() {
    let mut rig = rig(Framing::Bytes);
    let flood = tokio::spawn({
        let (mut read, mut write) =
            tokio::io::split(std::mem::replace(&mut rig.client, duplex(1).0));
        async move {
            write.write_all(&frame(0x83, b"")).await.unwrap();
            while write.write_all(&[0; 1000]).await.is_ok() {
                sleep(Duration::from_millis(10)).await;
            }
            let mut got = vec![];
            read.read_to_end(&mut got).await.unwrap();
            got
        }
    });
    assert_eq!(rig.end().await, (1002, "reserved opcode 3".to_owned(), 5));
    assert_eq!(flood.await.unwrap(), close(CloseCode::PROTOCOL_ERROR, "reserved opcode 3"));
}

#[tokio::test(start_paused = true)]
async fn a_reply_that_turns_out_not_to_be_text_is_never_completed() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"abcdef")).await.unwrap();
    rig.at_upstream(6).await;
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x01, 2, b'A', b'B']);
    // A wrong byte within the reply, and then as many right ones as would complete it.
    rig.upstream.write_all(b"\xff").await.unwrap();
    sleep(Duration::from_millis(1)).await;
    rig.upstream.write_all(b"CDEF").await.ok();
    let mut rest = vec![];
    rig.client.read_to_end(&mut rest).await.unwrap();
    let expected =
        close(CloseCode::INVALID_PAYLOAD, "the upstream sent text that is not valid UTF-8");
    assert_eq!(rest, expected, "nothing that could pass for the rest of the reply");
    assert_eq!(rig.end().await.0, 1007);
}

#[tokio::test(start_paused = true)]
async fn a_character_that_an_empty_last_fragment_cuts_off_is_an_error() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x01, b"a")).await.unwrap();
    rig.at_upstream(1).await;
    // A beginning of a character in place of a letter.
    rig.upstream.write_all(b"\xe2").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x01, 1, 0xe2]);
    let expected =
        close(CloseCode::INVALID_PAYLOAD, "the upstream sent text that is not valid UTF-8");
    rig.client.write_all(&frame(0x80, b"")).await.unwrap();
    assert_eq!(rig.at_client(expected.len()).await, expected);
}

#[tokio::test(start_paused = true)]
async fn bytes_read_with_the_handshake_come_first() {
    let early = [frame(0x81, b"one "), frame(0x81, b"two ")].concat();
    for cut in 0..=early.len() {
        let mut rig = rig_with(Framing::Message, 4096, &early[..cut]);
        rig.client.write_all(&early[cut..]).await.unwrap();
        rig.client.write_all(&frame(0x81, b"three")).await.unwrap();
        assert_eq!(rig.at_upstream(13).await, b"one two three", "cut at {cut}");
    }
}

// Drain

#[tokio::test(start_paused = true)]
async fn a_quiet_client_is_told_of_the_servers_end_at_once() {
    let mut rig = rig(Framing::Message);
    sleep(Duration::from_millis(1)).await;
    rig.drain.advance(Stage::WhenQuiet);
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
    // What it sends before its answer still goes to the upstream.
    rig.client.write_all(&frame(0x82, b"last")).await.unwrap();
    rig.client.write_all(&client_close(1001)).await.unwrap();
    assert_eq!(rig.at_upstream(4).await, b"last");
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the upstream too");
    assert_eq!(rig.end().await, (1001, "the server is shutting down".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn a_bridge_that_begins_in_a_drain_ends_as_well() {
    let (client, client_end) = duplex(4096);
    let (_upstream, upstream_end) = duplex(4096);
    let drain = Drain::new();
    drain.advance(Stage::WhenQuiet);
    let terms = Terms { options: options(Framing::Message).into(), half_close: false };
    drop(client);
    let end = timeout(HOUR, run(client_end, upstream_end, &[], terms, enter(), &drain)).await;
    assert!(end.is_ok());
}

#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_replies_and_for_messages_begun() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&frame(0x81, b"ab")).await.unwrap();
    rig.at_upstream(2).await;
    rig.drain.advance(Stage::WhenQuiet);
    sleep(Duration::from_secs(1)).await;
    rig.client.write_all(&frame(0x01, b"c")).await.unwrap();
    rig.upstream.write_all(b"AB").await.unwrap();
    assert_eq!(rig.at_client(4).await, [0x81, 2, b'A', b'B']);
    assert_eq!(rig.at_upstream(1).await, b"c");
    rig.upstream.write_all(b"C").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x01, 1, b'C']);
    sleep(Duration::from_secs(1)).await;
    rig.client.write_all(&frame(0x80, b"d")).await.unwrap();
    assert_eq!(rig.at_upstream(1).await, b"d");
    rig.upstream.write_all(b"D").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x80, 1, b'D']);
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_hurries_ends_within_a_reply() {
    let mut rig = rig(Framing::Message);
    rig.client.write_all(&[frame(0x82, b"ab"), frame(0x82, b"cd")].concat()).await.unwrap();
    rig.at_upstream(4).await;
    rig.upstream.write_all(b"A").await.unwrap();
    assert_eq!(rig.at_client(3).await, [0x02, 1, b'A']);
    rig.drain.advance(Stage::Now);
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_is_over_cuts_everything_off() {
    let mut rig = rig_with(Framing::Bytes, 100, b"");
    rig.client.write_all(&frame(0x82, &[7; 90])).await.unwrap();
    rig.client.write_all(&frame(0x82, &[7; 90])).await.unwrap();
    sleep(Duration::from_secs(1)).await;
    rig.drain.advance(Stage::Cut);
    assert_eq!(rig.end().await, (1006, "cut off by the server's end".to_owned(), 1));
}

#[tokio::test(start_paused = true)]
async fn a_drain_hears_an_upstream_out_that_keeps_no_count() {
    let mut rig = rig(Framing::Bytes);
    sleep(Duration::from_millis(1)).await;
    rig.drain.advance(Stage::WhenQuiet);
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0, "the end of input");
    sleep(Duration::from_secs(3)).await;
    rig.upstream.write_all(b"last words").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(12).await, *b"\x82\x0alast words");
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
    assert_eq!(rig.elapsed().as_secs(), 3);
}

#[tokio::test(start_paused = true)]
async fn a_drain_that_hurries_does_not_wait_for_the_upstream() {
    let mut rig = rig(Framing::Bytes);
    sleep(Duration::from_millis(1)).await;
    rig.drain.advance(Stage::WhenQuiet);
    sleep(Duration::from_secs(5)).await;
    rig.drain.advance(Stage::Now);
    assert_eq!(rig.at_client(goodbye().len()).await, goodbye());
    assert_eq!(rig.elapsed().as_secs(), 5);
}

// Differential: whatever is sent, tungstenite on the other side understands the same.

/// A step of a client's script.
#[derive(Clone, Debug)]
enum Step {
    Text(String),
    Binary(Vec<u8>),
    /// Cut in fragments of these sizes, with a Ping behind each.
    Fragments(bool, Vec<usize>),
    Ping(Vec<u8>),
    /// Time passes.
    Wait(u8),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => ".{0,40}".prop_map(Step::Text),
        3 => proptest::collection::vec(any::<u8>(), 0..300).prop_map(Step::Binary),
        1 => (0..140_000_usize).prop_map(|len| Step::Binary(vec![b'z'; len])),
        2 => (any::<bool>(), proptest::collection::vec(0..400_usize, 1..5))
            .prop_map(|(text, sizes)| Step::Fragments(text, sizes)),
        1 => proptest::collection::vec(any::<u8>(), 0..125).prop_map(Step::Ping),
        1 => (0..50_u8).prop_map(Step::Wait),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn every_script_gets_its_replies_as_tungstenite_reads_them(
        script in proptest::collection::vec(step(), 0..20),
        room in prop_oneof![1..20_usize, 100..5_000_usize, Just(1 << 20)],
        pause in 1..3_000_usize,
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(play(script, room, pause));
    }
}

/// Plays `script` against an upstream that echoes in upper case, resting after each
/// `pause` bytes.
async fn play(script: Vec<Step>, room: usize, pause: usize) {
    use futures_util::{SinkExt, StreamExt};
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{
            Bytes, Message,
            protocol::{
                Role,
                frame::{
                    Frame,
                    coding::{Data, OpCode as Op},
                },
            },
        },
    };

    let Rig { client, mut upstream, bridge, .. } = rig_with(Framing::Message, room, b"");
    let echo = tokio::spawn(async move {
        let mut buf = vec![0; pause];
        loop {
            match upstream.read(&mut buf).await {
                Ok(0) | Err(_) => break,
                Ok(n) => {
                    buf[..n].make_ascii_uppercase();
                    upstream.write_all(&buf[..n]).await.unwrap();
                    tokio::task::yield_now().await;
                }
            }
        }
    });
    let client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let (mut to, mut from) = client.split();
    let mut expected = Vec::new();
    let mut last_ping = None;
    for step in &script {
        match step {
            Step::Text(text) => expected.push(Message::text(text.to_ascii_uppercase())),
            Step::Binary(bytes) => expected.push(Message::binary(bytes.to_ascii_uppercase())),
            Step::Fragments(text, sizes) => {
                let whole = vec![b'F'; sizes.iter().sum()];
                expected.push(if *text {
                    Message::text(String::from_utf8(whole).unwrap())
                } else {
                    Message::binary(whole)
                });
                last_ping = Some(Bytes::from_static(b"between"));
            }
            Step::Ping(payload) => last_ping = Some(payload.clone().into()),
            Step::Wait(_) => {}
        }
    }
    let sending = tokio::spawn(async move {
        for step in script {
            match step {
                Step::Text(text) => to.send(Message::text(text)).await.unwrap(),
                Step::Binary(bytes) => to.send(Message::binary(bytes)).await.unwrap(),
                Step::Ping(payload) => to.send(Message::Ping(payload.into())).await.unwrap(),
                Step::Wait(ms) => sleep(Duration::from_millis(ms.into())).await,
                Step::Fragments(text, sizes) => {
                    for (i, &size) in sizes.iter().enumerate() {
                        let opcode = match (i, text) {
                            (0, true) => Data::Text,
                            (0, false) => Data::Binary,
                            _ => Data::Continue,
                        };
                        let fin = i + 1 == sizes.len();
                        let frame = Frame::message(vec![b'f'; size], Op::Data(opcode), fin);
                        to.send(Message::Frame(frame)).await.unwrap();
                        to.send(Message::Ping("between".into())).await.unwrap();
                    }
                }
            }
        }
        to
    });
    let (mut got, mut last_pong) = (Vec::new(), None);
    while got.len() < expected.len() || last_pong != last_ping {
        let message = timeout(HOUR, from.next()).await;
        match message.expect("in time").expect("no end").expect("no error") {
            Message::Pong(payload) => last_pong = Some(payload),
            Message::Ping(_) => {}
            message => got.push(message),
        }
    }
    assert!(got == expected, "{got:?} and not {expected:?}");
    let mut to = sending.await.unwrap();
    to.send(Message::Close(None)).await.unwrap();
    loop {
        match timeout(HOUR, from.next()).await.expect("in time") {
            Some(Ok(Message::Close(frame))) => assert!(frame.is_none()),
            Some(Ok(Message::Pong(_))) => {}
            None => break,
            other => panic!("{other:?} after the Close"),
        }
    }
    let end = timeout(HOUR, bridge).await.expect("it ends").unwrap();
    assert_eq!(end.code, CloseCode::NO_STATUS, "{end}");
    echo.await.unwrap();
    advance(Duration::ZERO).await;
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_an_upstream_sends_arrives_as_tungstenite_reads_it(
        text in ".{0,2000}",
        cuts in proptest::collection::vec(1..200_usize, 0..40),
        room in prop_oneof![1..20_usize, 100..5_000_usize],
        framing in prop_oneof![Just(Framing::Bytes), Just(Framing::Text), Just(Framing::Line)],
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(deliver(text, cuts, room, framing));
    }
}

async fn deliver(text: String, cuts: Vec<usize>, room: usize, framing: Framing) {
    use futures_util::StreamExt;
    use tokio_tungstenite::{
        WebSocketStream,
        tungstenite::{Message, protocol::Role},
    };

    let Rig { client, mut upstream, bridge, .. } = rig_with(framing, room, b"");
    let sent = text.clone();
    tokio::spawn(async move {
        let mut rest = sent.as_bytes();
        for cut in cuts {
            let (piece, behind) = rest.split_at(cut.min(rest.len()));
            upstream.write_all(piece).await.unwrap();
            rest = behind;
            sleep(Duration::from_millis(1)).await;
        }
        upstream.write_all(rest).await.unwrap();
        upstream.shutdown().await.unwrap();
        upstream.read_to_end(&mut vec![]).await.unwrap();
    });
    let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
    let mut got: Vec<Message> = Vec::new();
    let code = loop {
        match timeout(HOUR, client.next()).await.expect("in time").expect("a Close").unwrap() {
            Message::Close(frame) => break frame.map(|frame| u16::from(frame.code)),
            message => got.push(message),
        }
    };
    assert_eq!(code, Some(1000));
    assert!(got.iter().all(|message| message.is_binary() == (framing == Framing::Bytes)));
    let got = got.into_iter().map(Message::into_data);
    if framing == Framing::Line {
        let mut lines: Vec<&str> = text.split('\n').collect();
        if lines.last() == Some(&"") {
            lines.pop();
        }
        let last = lines.len().saturating_sub(1);
        let ended = text.ends_with('\n');
        let lines = lines.iter().enumerate().map(|(i, line)| match line.strip_suffix('\r') {
            Some(line) if i < last || ended => line,
            _ => line,
        });
        assert!(lines.map(str::as_bytes).eq(got));
    } else {
        assert!(got.flatten().eq(text.bytes()));
    }
    while client.next().await.is_some() {}
    bridge.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_has_ended_its_side_owes_no_replies() {
    let terms = Terms { options: options(Framing::Message).into(), half_close: true };
    let mut rig = rig_on(terms, 4096, b"");
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(rig.at_client(2).await, [0x82, 0], "the end of the upstream's side");
    let frames = frame(0x82, b"x").repeat(3000);
    let taken = timeout(HOUR, rig.client.write_all(&frames)).await;
    taken.expect("they are taken within the hour").unwrap();
    assert_eq!(rig.at_upstream(3000).await, vec![b'x'; 3000]);
    rig.client.write_all(&frame(0x82, b"")).await.unwrap();
    assert_eq!(rig.at_client(4).await[..1], [0x88], "a Close, since both sides have ended");
    assert_eq!(rig.elapsed(), Duration::ZERO);
}

/// A message of framing `line` as the upstream gets it with `newline=crlf`.
fn with_crlf(message: &str) -> String {
    let ended = if message.ends_with('\n') { message.to_owned() } else { format!("{message}\n") };
    ended.replace("\r\n", "\n").replace('\n', "\r\n")
}

proptest! {
    #[test]
    fn with_crlf_every_line_ending_is_one_in_any_fragments(
        messages in proptest::collection::vec(proptest::collection::vec("[a\r\n]{0,4}", 1..4), 1..8),
    ) {
        tokio::runtime::Builder::new_current_thread()
            .enable_time()
            .start_paused(true)
            .build()
            .unwrap()
            .block_on(async {
                let mut options = options(Framing::Line);
                options.framing_options.newline = Newline::CrLf;
                let terms = Terms { options: options.into(), half_close: false };
                let mut rig = rig_on(terms, 4096, b"");
                let (mut sent, mut expected) = (Vec::new(), String::new());
                for fragments in &messages {
                    for (i, fragment) in fragments.iter().enumerate() {
                        let opcode = if i == 0 { 0x01 } else { 0x00 };
                        let fin = if i + 1 == fragments.len() { 0x80 } else { 0x00 };
                        sent.extend(frame(fin | opcode, fragment.as_bytes()));
                    }
                    expected += &with_crlf(&fragments.concat());
                }
                rig.client.write_all(&sent).await.unwrap();
                let got = rig.at_upstream(expected.len()).await;
                assert_eq!(String::from_utf8(got).unwrap(), expected);
            });
    }
}

#[test]
fn a_bridge_is_small() {
    use crate::net::stream::Stream;
    // With what tracks it, it fits into a place of 448 bytes.
    let size = size_of::<Bridge<Stream, Stream>>();
    assert!(size <= 448 - 2 * size_of::<usize>(), "{size}");
}
