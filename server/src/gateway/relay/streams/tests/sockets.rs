//! The ends of a connection, between real sockets on an event loop.

use std::{io, time::Duration};

use echogate_event_loop::EventLoops;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::oneshot,
    time::{sleep, timeout},
};

use super::*;
use crate::net::stream::Stream;

/// A relay on an event loop, with the other end of each of its connections.
pub(super) struct Rig<S> {
    pub(super) client: S,
    pub(super) upstream: S,
    pub(super) entry: Arc<Entry>,
    pub(super) drain: Drain,
    pub(super) end: oneshot::Receiver<End>,
    pub(super) _loops: EventLoops,
}

fn rig_on<S>(client: (S, Stream), upstream: (S, Stream)) -> Rig<S> {
    let loops = EventLoops::start().unwrap();
    let (entry, guard) = enter();
    let (drain, (ended, end)) = (Drain::new(), oneshot::channel());
    let relay = run(client.1, upstream.1, None, guard, &drain);
    loops.spawn(async move {
        ended.send(relay.await).ok();
    });
    Rig { client: client.0, upstream: upstream.0, entry, drain, end, _loops: loops }
}

/// A TCP connection: the peer's end, and the relay's.
async fn tcp() -> (TcpStream, Stream) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let (peer, accepted) = tokio::join!(TcpStream::connect(at), listener.accept());
    let (peer, (accepted, _)) = (peer.unwrap(), accepted.unwrap());
    peer.set_nodelay(true).unwrap();
    (peer, accepted.into())
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

impl<S> Rig<S> {
    /// Waits until the relay has read `len` bytes of the client.
    async fn has_received(&self, len: usize) {
        in_time(async {
            while self.entry.received().bytes() < len as u64 {
                sleep(Duration::from_millis(1)).await;
            }
        })
        .await;
    }
}

/// The end of the relay, for the log.
pub(super) async fn ended(end: oneshot::Receiver<End>) -> String {
    in_time(end).await.unwrap().to_string()
}

pub(super) async fn in_time<T>(what: impl Future<Output = T>) -> T {
    timeout(Duration::from_secs(20), what).await.expect("it happens in time")
}

pub(super) async fn to_end(
    stream: &mut (impl AsyncRead + Unpin),
) -> (Vec<u8>, Result<(), io::ErrorKind>) {
    let mut bytes = Vec::new();
    let end = in_time(stream.read_to_end(&mut bytes)).await;
    (bytes, end.map(drop).map_err(|e| e.kind()))
}

/// Closes the connection by a reset.
fn reset(stream: TcpStream) {
    stream.set_zero_linger().unwrap();
    drop(stream);
}

/// Bytes that differ from place to place.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 7 + at / 251) as u8).collect()
}

const RESET: Result<(), io::ErrorKind> = Err(io::ErrorKind::ConnectionReset);

#[tokio::test]
async fn an_end_of_input_passes_and_the_other_direction_stays_open() {
    let mut rig = rig().await;
    rig.client.write_all(b"question").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(to_end(&mut rig.upstream).await, (b"question".to_vec(), Ok(())));
    rig.upstream.write_all(b"the answer").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(to_end(&mut rig.client).await, (b"the answer".to_vec(), Ok(())));
    let carried = rig.entry.carried();
    assert_eq!((carried.bytes_received, carried.bytes_sent, carried.messages_sent), (8, 10, 0));
    assert_eq!(ended(rig.end).await, "the client ended the stream");
}

#[tokio::test]
async fn an_upstream_that_ends_first_can_still_be_sent_to() {
    let mut rig = rig().await;
    rig.upstream.write_all(b"greeting").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    assert_eq!(to_end(&mut rig.client).await, (b"greeting".to_vec(), Ok(())));
    rig.client.write_all(b"reply").await.unwrap();
    rig.client.shutdown().await.unwrap();
    assert_eq!(to_end(&mut rig.upstream).await, (b"reply".to_vec(), Ok(())));
    assert_eq!(ended(rig.end).await, "the upstream ended the stream");
}

#[tokio::test]
async fn a_reset_of_the_client_resets_the_upstream_after_what_came_before() {
    let mut rig = rig().await;
    let sent = pattern(100_000);
    rig.client.write_all(&sent).await.unwrap();
    rig.has_received(sent.len()).await;
    reset(rig.client);
    let (received, end) = to_end(&mut rig.upstream).await;
    assert!(received == sent, "{} bytes", received.len());
    assert_eq!(end, RESET);
    assert_eq!(ended(rig.end).await, "the client's connection failed: connection reset by peer");
}

#[tokio::test]
async fn a_reset_of_the_upstream_resets_the_client_after_what_came_before() {
    let mut rig = rig().await;
    rig.upstream.write_all(b"the first half").await.unwrap();
    let mut half = [0; 14];
    in_time(rig.client.read_exact(&mut half)).await.unwrap();
    reset(rig.upstream);
    assert_eq!(to_end(&mut rig.client).await, (Vec::new(), RESET));
    assert_eq!(ended(rig.end).await, "the upstream's connection failed: connection reset by peer");
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
    let (received, end) = to_end(&mut rig.upstream).await;
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
        to_end(&mut rig.upstream)
    );
    upload_written.unwrap();
    assert!(received.0 == upload, "{} bytes", received.0.len());
    assert_eq!(received.1, Ok(()));
    let end = ended(rig.end).await;
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
    let end = ended(rig.end).await;
    assert!(end.starts_with("the upstream's connection failed: "), "{end}");
}

#[tokio::test]
async fn a_shutdown_asks_the_upstream_by_the_end_of_input_and_passes_its_answer() {
    let mut rig = rig().await;
    rig.client.write_all(b"question").await.unwrap();
    rig.has_received(8).await;
    rig.drain.advance(Stage::Graceful);
    assert_eq!(to_end(&mut rig.upstream).await, (b"question".to_vec(), Ok(())));
    rig.upstream.write_all(b"answer").await.unwrap();
    drop(rig.upstream);
    assert_eq!(to_end(&mut rig.client).await, (b"answer".to_vec(), Ok(())));
    assert_eq!(ended(rig.end).await, "the server is shutting down");
}

#[tokio::test]
async fn a_connection_that_is_cut_off_with_bytes_owed_is_reset_on_both_sides() {
    let mut rig = rig().await;
    rig.client.write_all(b"begun").await.unwrap();
    rig.has_received(5).await;
    rig.drain.advance(Stage::Cut);
    assert_eq!(to_end(&mut rig.client).await, (Vec::new(), RESET));
    assert_eq!(to_end(&mut rig.upstream).await.1, RESET);
    assert_eq!(ended(rig.end).await, "cut off at the end of the shutdown (--drain)");
}
