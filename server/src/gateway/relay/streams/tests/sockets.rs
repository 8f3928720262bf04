//! The ends of a connection, between real sockets on an event loop.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::*;
use crate::{
    gateway::test_rig::{
        OnEventLoop, RESET, has_received, in_time, pattern, read_to_end, reset, tcp,
    },
    net::stream::Stream,
};

/// A relay on an event loop, with the other end of each of its connections.
pub(super) struct Rig<S> {
    pub(super) client: S,
    pub(super) upstream: S,
    pub(super) entry: Arc<Entry>,
    pub(super) drain: Drain,
    pub(super) relay: OnEventLoop<End>,
}

fn rig_on<S>(client: (S, Stream), upstream: (S, Stream)) -> Rig<S> {
    let (guard, drain) = (enter(), Drain::new());
    let entry = guard.clone();
    let relay = OnEventLoop::spawn(run(client.1, upstream.1, None, guard, &drain));
    Rig { client: client.0, upstream: upstream.0, entry, drain, relay }
}

pub(super) async fn rig() -> Rig<TcpStream> {
    rig_on(tcp().await, tcp().await)
}

pub(super) fn unix_rig() -> Rig<UnixStream> {
    let pair = || {
        let (peer, ours) = UnixStream::pair().unwrap();
        (peer, Stream::from(ours))
    };
    rig_on(pair(), pair())
}

#[tokio::test]
async fn an_end_of_input_passes_and_the_other_direction_stays_open() {
    let mut rig = rig().await;
    rig.client.write_all(b"question").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut rig.upstream).await, (b"question".to_vec(), Ok(())));
    rig.upstream.write_all(b"the answer").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut rig.client).await, (b"the answer".to_vec(), Ok(())));
    let carried = rig.entry.carried();
    assert_eq!((carried.bytes_received, carried.bytes_sent, carried.messages_sent), (8, 10, 0));
    assert_eq!(rig.relay.end().await.to_string(), "the client ended the stream");
}

#[tokio::test]
async fn an_upstream_that_ends_first_can_still_be_sent_to() {
    let mut rig = rig().await;
    rig.upstream.write_all(b"greeting").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut rig.client).await, (b"greeting".to_vec(), Ok(())));
    rig.client.write_all(b"reply").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(read_to_end(&mut rig.upstream).await, (b"reply".to_vec(), Ok(())));
    assert_eq!(rig.relay.end().await.to_string(), "the upstream ended the stream");
}

#[tokio::test]
async fn a_reset_of_the_client_resets_the_upstream_after_what_came_before() {
    let mut rig = rig().await;
    let sent = pattern(100_000);
    rig.client.write_all(&sent).await.unwrap();
    has_received(&rig.entry, sent.len()).await;
    reset(rig.client);
    let (received, end) = read_to_end(&mut rig.upstream).await;
    assert!(received == sent, "{} bytes", received.len());
    assert_eq!(end, RESET);
    assert_eq!(
        rig.relay.end().await.to_string(),
        "the client's connection failed: connection reset by peer"
    );
}

#[tokio::test]
async fn a_reset_of_the_upstream_resets_the_client_after_what_came_before() {
    let mut rig = rig().await;
    rig.upstream.write_all(b"the first half").await.unwrap();
    let mut half = [0; 14];
    in_time(rig.client.read_exact(&mut half)).await.unwrap();
    reset(rig.upstream);
    assert_eq!(read_to_end(&mut rig.client).await, (Vec::new(), RESET));
    assert_eq!(
        rig.relay.end().await.to_string(),
        "the upstream's connection failed: connection reset by peer"
    );
}

/// The client's upload is larger than all buffers on the way, and the upstream reads it only after
/// the client has been reset. What the relay's kernel has received is delivered.
#[tokio::test]
async fn bytes_before_a_reset_are_delivered_to_an_upstream_that_reads_late() {
    let mut rig = rig().await;
    let sent = pattern(64 << 20);
    let mut written = 0;
    // Until nothing more is accepted: the upstream does not read.
    while let Ok(Ok(n)) = timeout(
        Duration::from_millis(300),
        rig.client.write(&sent[written..(written + 65_536).min(sent.len())]),
    )
    .await
    {
        written += n;
    }
    assert!(written < sent.len(), "backpressure");
    let held = rig.entry.received().bytes();
    reset(rig.client);
    let (received, end) = read_to_end(&mut rig.upstream).await;
    assert!(received.len() as u64 >= held, "{} of {held}", received.len());
    assert!(sent.starts_with(&received));
    assert_eq!(end, RESET);
}

#[tokio::test]
async fn a_side_that_reads_nothing_more_is_still_read_to_its_end() {
    let mut rig = unix_rig();
    socket2::SockRef::from(&rig.client).shutdown(std::net::Shutdown::Read).unwrap();
    rig.client.write_all(b"first").await.unwrap();
    let mut first = [0; 5];
    in_time(rig.upstream.read_exact(&mut first)).await.unwrap();
    rig.upstream.write_all(b"nobody reads it").await.unwrap();
    let upload = pattern(3 << 20);
    let (upload_written, received) = tokio::join!(
        async {
            rig.client.write_all(&upload).await.unwrap();
            rig.client.shutdown().await
        },
        read_to_end(&mut rig.upstream)
    );
    upload_written.unwrap();
    assert!(received.0 == upload, "{} bytes", received.0.len());
    assert_eq!(received.1, Ok(()));
    let end = rig.relay.end().await.to_string();
    assert!(end.ends_with("15 bytes were not delivered to the client"), "{end}");
}

/// An upstream that has closed its side answers further bytes with a reset, as it would answer the
/// client itself.
#[tokio::test]
async fn bytes_to_an_upstream_that_has_closed_reset_the_client_after_the_upstreams_last_bytes() {
    let mut rig = rig().await;
    rig.upstream.write_all(b"goodbye").await.unwrap();
    drop(rig.upstream);
    let mut last = [0; 7];
    in_time(rig.client.read_exact(&mut last)).await.unwrap();
    assert_eq!(in_time(rig.client.read(&mut last)).await.unwrap(), 0, "its end");
    rig.client.write_all(b"more").await.unwrap();
    in_time(async { while rig.client.write_all(b"more").await.is_ok() {} }).await;
    let end = rig.relay.end().await.to_string();
    assert!(end.starts_with("the upstream's connection failed: "), "{end}");
}

#[tokio::test]
async fn a_shutdown_asks_the_upstream_by_the_end_of_input_and_passes_its_answer() {
    let mut rig = rig().await;
    rig.client.write_all(b"question").await.unwrap();
    has_received(&rig.entry, 8).await;
    rig.drain.advance(Stage::Graceful);
    assert_eq!(read_to_end(&mut rig.upstream).await, (b"question".to_vec(), Ok(())));
    rig.upstream.write_all(b"answer").await.unwrap();
    drop(rig.upstream);
    assert_eq!(read_to_end(&mut rig.client).await, (b"answer".to_vec(), Ok(())));
    assert_eq!(rig.relay.end().await.to_string(), "the server is shutting down");
}

#[tokio::test]
async fn a_connection_that_is_cut_off_with_bytes_owed_is_reset_on_both_sides() {
    let mut rig = rig().await;
    rig.client.write_all(b"begun").await.unwrap();
    has_received(&rig.entry, 5).await;
    rig.drain.advance(Stage::Cut);
    assert_eq!(read_to_end(&mut rig.client).await, (Vec::new(), RESET));
    assert_eq!(read_to_end(&mut rig.upstream).await.1, RESET);
    assert_eq!(rig.relay.end().await.to_string(), "cut off at the end of the shutdown (--drain)");
}
