//! The ends of a connection, between real sockets on an event loop.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpStream, UnixStream},
    time::timeout,
};

use super::*;
use crate::{
    gateway::test_rig::{OnEventLoop, RESET, in_time, pattern, read_to_end, reset, tcp},
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
    assert!(end.ends_with("bytes not delivered to the client: 15"), "{end}");
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
async fn a_client_that_failed_first_is_named_although_its_upstream_ended_first() {
    let mut rig = unix_rig();
    socket2::SockRef::from(&rig.client).shutdown(std::net::Shutdown::Read).unwrap();
    rig.upstream.write_all(b"nobody reads it").await.unwrap();
    in_time(async {
        while rig.entry.sent().bytes() < 15 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    drop(rig.upstream);
    in_time(async { while rig.client.write_all(b"more").await.is_ok() {} }).await;
    let end = rig.relay.end().await.to_string();
    assert!(end.starts_with("the client's connection failed: "), "{end}");
}
