//! Streams in memory, in paused time: time advances as soon as nothing else can happen.

use std::io;

use echogate_event_loop::InFlight;
use echogate_proto::close::CloseCode;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf, duplex},
    task::JoinHandle,
    time::{sleep, timeout},
};

use super::*;
use crate::{
    gateway::test_rig::{HOUR, Pipe, PipeState},
    runtime::drain::{EndRequest, ServerClose},
};

struct Rig {
    client: DuplexStream,
    upstream: DuplexStream,
    relay: Control,
}

/// A relay, and what its streams report.
struct Control {
    at_client: Arc<PipeState>,
    at_upstream: Arc<PipeState>,
    task: JoinHandle<End>,
    drain: Drain,
    start: Instant,
}

/// A relay whose streams hold `room` bytes each way.
fn rig(room: usize, idle_timeout: Option<Duration>) -> Rig {
    let (client, client_end) = duplex(room);
    let (upstream, upstream_end) = duplex(room);
    let (client_end, at_client) = Pipe::new(client_end);
    let (upstream_end, at_upstream) = Pipe::new(upstream_end);
    let drain = Drain::new();
    let task = tokio::spawn(run(client_end, upstream_end, idle_timeout, enter(), &drain));
    let relay = Control { at_client, at_upstream, task, drain, start: Instant::now() };
    Rig { client, upstream, relay }
}

impl Control {
    /// The end of the relay, the seconds until then, and whether client and upstream were reset.
    async fn end(self) -> (String, u64, (bool, bool)) {
        let end = timeout(2 * HOUR, self.task).await.expect("it ends");
        let resets = (self.at_client.is_reset(), self.at_upstream.is_reset());
        (end.expect("no panic").to_string(), self.start.elapsed().as_secs(), resets)
    }
}

/// Lets the relay run until it waits.
async fn settle() {
    sleep(Duration::from_millis(1)).await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_ends_in_order_after_the_idle_timeout() {
    let mut rig = rig(64, Some(Duration::from_secs(50)));
    for _ in 0..2 {
        sleep(Duration::from_secs(40)).await;
        rig.upstream.write_all(b"x").await.unwrap();
        rig.client.read_exact(&mut [0]).await.unwrap();
    }
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    let expected = ("idle timeout (--idle-timeout)".to_owned(), 130, (false, false));
    assert_eq!(rig.relay.end().await, expected);
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_that_owes_bytes_is_reset_on_both_sides() {
    let mut rig = rig(64, Some(Duration::from_secs(50)));
    rig.client.write_all(&[0; 100]).await.unwrap();
    let why = "idle timeout (--idle-timeout); bytes not delivered to the upstream: 36";
    assert_eq!(rig.relay.end().await, (why.to_owned(), 50, (true, true)));
}

fn request_end(relay: &Control) {
    let close = ServerClose { code: CloseCode(4000), reason: "enough".into() };
    assert!(relay.drain.request_end(1, EndRequest { stage: Stage::Immediate, close }));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_requested_does_not_wait_for_an_upstream_that_stays_silent() {
    let mut rig = rig(64, None);
    settle().await;
    request_end(&rig.relay);
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.client.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(rig.relay.end().await, ("enough".to_owned(), 5, (false, false)));
}

#[tokio::test(start_paused = true)]
async fn an_end_that_was_requested_resets_both_sides_if_one_does_not_take_its_bytes() {
    let mut rig = rig(64, None);
    rig.client.write_all(&[0; 100]).await.unwrap();
    settle().await;
    request_end(&rig.relay);
    let why = "enough; bytes not delivered to the upstream: 36";
    assert_eq!(rig.relay.end().await, (why.to_owned(), 5, (true, true)));
}

#[tokio::test(start_paused = true)]
async fn slow_progress_is_activity() {
    let mut rig = rig(8, Some(Duration::from_secs(50)));
    rig.client.write_all(&[0; 16]).await.unwrap();
    for _ in 0..8 {
        sleep(Duration::from_secs(40)).await;
        rig.upstream.read_exact(&mut [0]).await.unwrap();
    }
    assert!(!rig.relay.task.is_finished());
}

#[tokio::test(start_paused = true)]
async fn a_delivery_is_given_up_after_a_minute_without_progress_once_the_sender_is_gone() {
    let mut rig = rig(64, None);
    rig.client.write_all(&[0; 100]).await.unwrap();
    sleep(Duration::from_secs(600)).await;
    // The connection fails; the relay is not reading it.
    rig.relay.at_client.set_failed();
    rig.relay.at_client.set_read_error(io::ErrorKind::ConnectionReset);
    drop(rig.client);
    // Each byte that is taken counts as progress.
    rig.upstream.read_exact(&mut [0]).await.unwrap();
    sleep(Duration::from_secs(50)).await;
    rig.upstream.read_exact(&mut [0]).await.unwrap();
    let why = "no progress for 60 s in the delivery of last bytes; bytes not delivered to the upstream: 34";
    let (end, seconds, resets) = rig.relay.end().await;
    assert_eq!((&*end, resets), (why, (true, true)));
    assert!((710..=711).contains(&seconds), "{seconds}");
}

#[tokio::test(start_paused = true)]
async fn a_client_that_has_ended_its_input_waits_for_its_answer_without_a_limit() {
    let mut rig = rig(64, None);
    rig.client.write_all(&[0; 100]).await.unwrap();
    rig.client.shutdown().await.unwrap();
    sleep(Duration::from_secs(3600)).await;
    let mut received = Vec::new();
    rig.upstream.read_to_end(&mut received).await.unwrap();
    assert_eq!(received.len(), 100);
    rig.upstream.write_all(b"answer").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    received.clear();
    rig.client.read_to_end(&mut received).await.unwrap();
    assert_eq!(received, b"answer");
    let expected = ("the client ended the stream".to_owned(), 3600, (false, false));
    assert_eq!(rig.relay.end().await, expected);
}

#[tokio::test(start_paused = true)]
async fn a_reset_waits_until_bytes_in_flight_have_arrived() {
    let mut rig = rig(64, None);
    rig.client.write_all(b"last").await.unwrap();
    settle().await;
    rig.relay.at_upstream.set_in_flight(Some(InFlight::unfinished(4)));
    rig.relay.at_client.set_read_error(io::ErrorKind::UnexpectedEof);
    drop(rig.client);
    sleep(Duration::from_secs(30)).await;
    assert!(!rig.relay.task.is_finished());
    rig.relay.at_upstream.set_in_flight(Some(InFlight::NOTHING));
    let (end, seconds, resets) = rig.relay.end().await;
    assert_eq!(
        (&*end, resets),
        ("the client's connection failed: unexpected end of file", (true, true))
    );
    assert_eq!(seconds, 30);
}

#[tokio::test(start_paused = true)]
async fn bytes_in_flight_of_which_the_system_reports_nothing_have_a_moment_to_arrive() {
    let mut rig = rig(64, None);
    rig.relay.at_upstream.set_in_flight(None);
    rig.relay.at_client.set_read_error(io::ErrorKind::ConnectionReset);
    rig.client.write_all(b"last").await.unwrap();
    let start = rig.relay.start;
    drop(rig.client);
    rig.relay.end().await;
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[tokio::test(start_paused = true)]
async fn a_client_that_fails_after_its_end_of_input_resets_the_upstream() {
    let mut rig = rig(64, None);
    rig.client.shutdown().await.unwrap();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.relay.at_client.set_failed();
    // As readiness does on an event loop.
    rig.upstream.write_all(b"x").await.unwrap();
    let (end, _, resets) = rig.relay.end().await;
    assert!(resets.1, "{end}");
}

/// Relays a message of the client and the upstream's reply.
async fn exchange(rig: &mut Rig) {
    rig.client.write_all(b"ask").await.unwrap();
    rig.upstream.read_exact(&mut [0; 3]).await.unwrap();
    rig.upstream.write_all(b"reply").await.unwrap();
    rig.client.read_exact(&mut [0; 5]).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_asks_an_upstream_that_spoke_last_once_its_client_is_silent() {
    let mut rig = rig(64, None);
    exchange(&mut rig).await;
    rig.relay.drain.advance(Stage::Graceful);
    for _ in 0..10 {
        sleep(Duration::from_millis(400)).await;
        exchange(&mut rig).await;
    }
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    // The upstream may still have something to send.
    sleep(Duration::from_secs(10)).await;
    rig.upstream.write_all(b"the last").await.unwrap();
    rig.upstream.shutdown().await.unwrap();
    let mut last = Vec::new();
    rig.client.read_to_end(&mut last).await.unwrap();
    assert_eq!(last, b"the last");
    assert_eq!(
        rig.relay.end().await,
        ("the server is shutting down".to_owned(), 14, (false, false))
    );
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_asks_no_upstream_whose_last_bytes_have_not_arrived() {
    let mut rig = rig(64, None);
    exchange(&mut rig).await;
    rig.relay.at_client.set_in_flight(Some(InFlight::unfinished(0)));
    rig.relay.drain.advance(Stage::Graceful);
    timeout(HOUR, rig.upstream.read(&mut [0])).await.expect_err("no end of input");
    rig.relay.at_client.set_in_flight(Some(InFlight::NOTHING));
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_never_ends_the_input_of_a_client_that_spoke_last() {
    let mut rig = rig(64, None);
    exchange(&mut rig).await;
    rig.client.write_all(b"a part").await.unwrap();
    rig.relay.drain.advance(Stage::Graceful);
    rig.upstream.read_exact(&mut [0; 6]).await.unwrap();
    timeout(HOUR, rig.upstream.read(&mut [0])).await.expect_err("no end of input");
    rig.relay.drain.advance(Stage::Cut);
    let why = "cut off at the end of the shutdown (--drain)".to_owned();
    assert_eq!(rig.relay.end().await, (why, 3600, (true, true)));
}

/// An upstream that answers each write before the write returns, as one on another core may, and
/// ends after its input.
#[derive(Debug, Default)]
struct PromptEcho {
    reply: Vec<u8>,
    input_has_ended: bool,
}

impl AsyncRead for PromptEcho {
    fn poll_read(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.reply.is_empty() && !self.input_has_ended {
            return Poll::Pending;
        }
        buf.put_slice(&std::mem::take(&mut self.reply));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for PromptEcho {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.reply.extend_from_slice(bytes);
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.input_has_ended = true;
        cx.waker().wake_by_ref();
        Poll::Ready(Ok(()))
    }
}

impl Transport for PromptEcho {
    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    fn reset_on_drop(&mut self) {}
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_answers_at_once_spoke_last() {
    let (mut client, client_end) = duplex(64);
    let (client_end, _) = Pipe::new(client_end);
    let drain = Drain::new();
    let relay = tokio::spawn(run(client_end, PromptEcho::default(), None, enter(), &drain));
    client.write_all(b"hello").await.unwrap();
    client.read_exact(&mut [0; 5]).await.unwrap();
    drain.advance(Stage::Graceful);
    assert_eq!(timeout(HOUR, client.read(&mut [0])).await.unwrap().unwrap(), 0);
    client.shutdown().await.unwrap();
    assert_eq!(relay.await.unwrap().to_string(), "the server is shutting down");
}

#[tokio::test(start_paused = true)]
async fn bytes_after_the_end_of_the_upstreams_input_reset_both_sides_and_are_counted() {
    let mut rig = rig(64, None);
    exchange(&mut rig).await;
    rig.relay.drain.advance(Stage::Graceful);
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    rig.client.write_all(b"late").await.unwrap();
    let why = "the server is shutting down; bytes not delivered to the upstream: 4".to_owned();
    assert_eq!(rig.relay.end().await, (why, 0, (true, true)));
}

#[tokio::test(start_paused = true)]
async fn a_busy_connection_that_was_asked_to_end_is_reset() {
    let mut rig = rig(64, None);
    settle().await;
    request_end(&rig.relay);
    let sends = async {
        while rig.client.write_all(b"more").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let reads = async { while rig.upstream.read(&mut [0; 64]).await.is_ok_and(|len| len > 0) {} };
    let (end, ..) = tokio::join!(rig.relay.end(), sends, reads);
    assert_eq!(end, ("enough".to_owned(), 10, (true, true)));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_goes_on_after_it_was_asked_to_end_is_reset_with_its_client() {
    let mut rig = rig(64, None);
    settle().await;
    request_end(&rig.relay);
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    let sends = async {
        while rig.upstream.write_all(b"more").await.is_ok() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    let reads = async { while rig.client.read(&mut [0; 64]).await.is_ok_and(|len| len > 0) {} };
    let (end, ..) = tokio::join!(rig.relay.end(), sends, reads);
    assert_eq!((&*end.0, end.1, end.2.0), ("enough", 10, true));
}

#[tokio::test(start_paused = true)]
async fn a_shutdown_does_not_ask_an_upstream_in_the_middle_of_a_download() {
    let mut rig = rig(64, None);
    settle().await;
    rig.relay.drain.advance(Stage::Graceful);
    for _ in 0..10 {
        sleep(Duration::from_millis(400)).await;
        rig.upstream.write_all(b"a part").await.unwrap();
        rig.client.read_exact(&mut [0; 6]).await.unwrap();
    }
    let start = Instant::now();
    assert_eq!(rig.upstream.read(&mut [0]).await.unwrap(), 0);
    assert_eq!(start.elapsed().as_millis(), 500);
}

#[tokio::test(start_paused = true)]
async fn what_is_lost_at_the_end_of_a_shutdown_is_counted() {
    let mut rig = rig(64, None);
    rig.upstream.write_all(&[0; 100]).await.unwrap();
    settle().await;
    rig.relay.drain.advance(Stage::Cut);
    let why = "cut off at the end of the shutdown (--drain); bytes not delivered to the client: 36";
    assert_eq!(rig.relay.end().await, (why.to_owned(), 0, (true, true)));
}

#[tokio::test(start_paused = true)]
async fn an_upstream_that_failed_first_is_named_although_its_client_ended_first() {
    let mut rig = rig(64, None);
    rig.upstream.write_all(&[0; 100]).await.unwrap();
    rig.client.write_all(&[0; 100]).await.unwrap();
    rig.client.shutdown().await.unwrap();
    settle().await;
    drop(rig.upstream);
    settle().await;
    rig.relay.at_client.set_failed();
    rig.client.read_exact(&mut [0]).await.unwrap();
    let (end, ..) = rig.relay.end().await;
    assert!(end.starts_with("the upstream's connection failed: "), "{end}");
}
