//! One HTTP connection: its deadlines, and the stream and the answers by which its progress
//! is seen.
//!
//! | the connection waits for | at most |
//! | --- | --- |
//! | its first request; the rest of a request's head | `--header-timeout` |
//! | the client to take a part of an answer | `--write-timeout` |
//! | the next request | `--keep-alive-timeout` |
//! | a WebSocket, a watcher or an upstream | those have deadlines of their own |

use std::{
    io::{self, IoSlice},
    mem,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use axum::body::{Body, Bytes};
use hyper::{
    body::{Body as HttpBody, Frame, SizeHint},
    rt::Executor,
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{
    config::Settings,
    connections::{
        counters::Refusal,
        limits::http::{CountedBy, HttpPermit, Timestamp},
    },
    net::stream::{Stream, Transport},
    runtime::drain::Drain,
};
use echogate_event_loop::StreamSocket;

/// Requests of one connection that are answered at once, WebSocket handshakes aside. Further
/// ones wait, so that stalled answers of one connection hold a bounded number of files.
const ANSWERS: usize = 32;

/// The largest part of an answer that is handed over to HTTP/2 at once, in bytes. A client that
/// takes so much of each answer within `--write-timeout` does not stall.
const PART: usize = 16 * 1024;

/// The time that a connection whose deadline has passed has for an orderly end (HTTP/2's
/// GOAWAY, TLS's close_notify).
const CLOSING: Duration = Duration::from_secs(1);

/// Deadlines of a connection, from the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    header: Duration,
    write: Duration,
    keep_alive: Duration,
}

impl From<&Settings> for Timeouts {
    fn from(settings: &Settings) -> Timeouts {
        Timeouts {
            header: settings.header_timeout,
            write: settings.write_timeout,
            keep_alive: settings.keep_alive_timeout,
        }
    }
}

/// The activity of one connection.
#[derive(Debug)]
pub(super) struct Activity {
    permit: Arc<HttpPermit>,
    /// The address by which the connection is counted from its first request on.
    counted_by: Option<CountedBy>,
    is_http2: bool,
    /// When the first request was waited for.
    since: Instant,
    /// A request has come.
    has_requests: AtomicBool,
    /// A part of a request's head has been read since the last request (HTTP/1.1).
    has_head: AtomicBool,
    head_begun: Timestamp,
    /// A write waits for the client.
    is_writing: AtomicBool,
    written: Timestamp,
    answers: Arc<Semaphore>,
    /// An earlier deadline may hold.
    changed: Notify,
}

impl Activity {
    pub(super) fn new(
        permit: Arc<HttpPermit>,
        counted_by: Option<CountedBy>,
        is_http2: bool,
        since: Instant,
    ) -> Arc<Activity> {
        Arc::new(Activity {
            permit,
            counted_by,
            is_http2,
            since,
            has_requests: AtomicBool::new(false),
            has_head: AtomicBool::new(false),
            head_begun: Timestamp::now(),
            is_writing: AtomicBool::new(false),
            written: Timestamp::now(),
            answers: Arc::new(Semaphore::new(ANSWERS)),
            changed: Notify::new(),
        })
    }

    pub(super) fn permit(&self) -> &Arc<HttpPermit> {
        &self.permit
    }

    /// Notes that the head of a request is complete.
    pub(super) fn request_came(&self) {
        self.has_head.store(false, Ordering::Relaxed);
        self.permit.touch();
        if !self.has_requests.swap(true, Ordering::Relaxed) {
            self.permit.establish(self.counted_by);
        }
        self.changed.notify_one();
    }

    /// Waits until the connection may have another request answered.
    pub(super) async fn answer(self: Arc<Self>) -> Answering {
        let permit = self.answers.clone().acquire_owned().await;
        Answering {
            _permit: permit.expect("the semaphore is never closed"),
            activity: self,
            progress: PROGRESS.try_with(Arc::clone).ok(),
        }
    }

    /// Notes that bytes came.
    fn read(&self) {
        if !self.has_requests.load(Ordering::Relaxed) {
            self.permit.touch();
        } else if !self.is_http2 && !self.has_head.swap(true, Ordering::Relaxed) {
            self.head_begun.touch();
            self.changed.notify_one();
        }
    }

    /// Notes what became of a write.
    fn wrote(&self, result: &Poll<io::Result<usize>>) {
        match result {
            Poll::Pending => {
                if !self.is_writing.swap(true, Ordering::Relaxed) {
                    self.written.touch();
                    self.changed.notify_one();
                }
            }
            Poll::Ready(n) => {
                self.is_writing.store(false, Ordering::Relaxed);
                if n.as_ref().is_ok_and(|&n| n > 0) {
                    self.written.touch();
                    // Over HTTP/2 it may be the answer to a PING.
                    if !self.is_http2 {
                        self.permit.touch();
                    }
                }
            }
        }
    }

    /// The instant at which the connection is closed unless something happens.
    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let progress = self.permit.progress();
        if self.is_writing.load(Ordering::Relaxed) {
            return Some(self.written.get() + timeouts.write);
        }
        if self.permit.is_exempt() {
            return None;
        }
        if !self.has_requests.load(Ordering::Relaxed) {
            Some(self.since + timeouts.header)
        } else if self.answers.available_permits() < ANSWERS {
            // Over HTTP/2 each has its own.
            (!self.is_http2).then(|| progress + timeouts.write)
        } else if self.has_head.load(Ordering::Relaxed) {
            Some(self.head_begun.get().max(progress) + timeouts.header)
        } else {
            Some(progress + timeouts.keep_alive)
        }
    }

    /// Whether everything that was asked has been answered, and nothing more is begun.
    fn is_idle(&self) -> bool {
        self.has_requests.load(Ordering::Relaxed)
            && !self.has_head.load(Ordering::Relaxed)
            && !self.is_writing.load(Ordering::Relaxed)
            && self.answers.available_permits() == ANSWERS
    }
}

/// The end of a connection.
pub(super) enum Ended<T> {
    /// By itself.
    Done(T),
    /// Its permit was taken away.
    Revoked(Refusal),
    /// A deadline has passed.
    TimedOut,
}

/// Drives a connection to its end. When the server ends, `close` tells it to take no more
/// requests.
pub(super) async fn drive<C: Future>(
    connection: C,
    activity: &Activity,
    timeouts: Timeouts,
    drain: &Drain,
    close: impl Fn(Pin<&mut C>),
) -> Ended<C::Output> {
    let mut connection = pin!(connection);
    let mut watch = drain.watch();
    let mut is_draining = false;
    let mut is_closing = false;
    // Without a deadline the connection looks for one now and then: the end of an exemption is
    // not notified.
    let idle = timeouts.header.min(timeouts.write).min(timeouts.keep_alive);
    let next = |now: Instant| activity.deadline(&timeouts).unwrap_or(now + idle);
    let mut timer = pin!(sleep_until(next(Instant::now())));
    loop {
        tokio::select! {
            biased;
            ended = connection.as_mut() => return Ended::Done(ended),
            () = watch.draining(), if !is_draining => {
                is_draining = true;
                close(connection.as_mut());
            }
            reason = activity.permit.revoked() => return Ended::Revoked(reason),
            () = activity.changed.notified(), if !is_closing => {
                timer.as_mut().reset(next(Instant::now()));
            }
            () = timer.as_mut() => {
                let now = Instant::now();
                if !is_closing && next(now) > now {
                    timer.as_mut().reset(next(now));
                } else if !is_closing && activity.is_idle() {
                    is_closing = true;
                    close(connection.as_mut());
                    timer.as_mut().reset(now + CLOSING);
                } else {
                    return Ended::TimedOut;
                }
            }
        }
    }
}

tokio::task_local! {
    /// The progress of the answer on the HTTP/2 stream whose task is polled.
    static PROGRESS: Arc<AnswerProgress>;
}

/// The progress of one answer on an HTTP/2 connection.
#[derive(Debug)]
struct AnswerProgress {
    /// A part of the answer waits to be taken by the client.
    has_pending_part: AtomicBool,
    /// The time when the last part was taken, or the first one began to wait.
    last: Timestamp,
    /// A part waits where none did before.
    part_pending: Notify,
}

impl AnswerProgress {
    fn new() -> AnswerProgress {
        AnswerProgress {
            has_pending_part: AtomicBool::new(false),
            last: Timestamp::now(),
            part_pending: Notify::new(),
        }
    }

    /// Notes that a part waits for the client, which has taken the one before.
    fn next_part(&self) {
        self.last.touch();
        if !self.has_pending_part.swap(true, Ordering::Relaxed) {
            self.part_pending.notify_one();
        }
    }

    /// Notes that the client has taken all parts that there are so far.
    fn no_part(&self) {
        self.has_pending_part.store(false, Ordering::Relaxed);
    }

    /// Waits until the client has taken no part for the time `within` although one waits.
    async fn stalled(&self, within: Duration) {
        loop {
            let deadline = self.last.get() + within;
            if !self.has_pending_part.load(Ordering::Relaxed) {
                self.part_pending.notified().await;
            } else if deadline > Instant::now() {
                sleep_until(deadline).await;
            } else {
                return;
            }
        }
    }
}

/// Spawns the tasks of an HTTP/2 connection. The task of a stream whose answer the client does not
/// take within `--write-timeout` is dropped, which resets the stream and leaves the others alone.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    write: Duration,
}

impl From<Timeouts> for StreamExecutor {
    fn from(timeouts: Timeouts) -> StreamExecutor {
        StreamExecutor { write: timeouts.write }
    }
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let (within, progress) = (self.write, Arc::new(AnswerProgress::new()));
        tokio::spawn(PROGRESS.scope(progress.clone(), async move {
            tokio::select! {
                biased;
                () = stream => {}
                () = progress.stalled(within) => {
                    tracing::debug!("an answer over HTTP/2 was not taken within {within:?}");
                }
            }
        }));
    }
}

/// A request that is being answered.
#[derive(Debug)]
pub(super) struct Answering {
    _permit: OwnedSemaphorePermit,
    activity: Arc<Activity>,
    /// Of an HTTP/2 stream.
    progress: Option<Arc<AnswerProgress>>,
}

impl Answering {
    /// The answer's body, whose end is the end of answering.
    pub(super) fn with(self, body: Body) -> Answer {
        if let Some(progress) = &self.progress {
            progress.next_part();
        }
        Answer { body, rest: None, answering: Some(self) }
    }
}

impl Drop for Answering {
    fn drop(&mut self) {
        self.activity.changed.notify_one();
    }
}

/// The body of an answer. Each part of it that HTTP takes is progress; over HTTP/2, where no
/// other sign shows that the client takes an answer, parts are of limited size.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// The rest of the last part.
    rest: Option<Bytes>,
    answering: Option<Answering>,
}

impl From<Body> for Answer {
    fn from(body: Body) -> Answer {
        Answer { body, rest: None, answering: None }
    }
}

impl HttpBody for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let answer = self.get_mut();
        let frame = match answer.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            None => Pin::new(&mut answer.body).poll_frame(cx),
        };
        let Some(Answering { activity, progress, .. }) = &answer.answering else { return frame };
        if frame.is_ready() {
            activity.permit.touch();
        }
        if let Some(progress) = progress {
            match frame {
                Poll::Ready(_) => progress.next_part(),
                Poll::Pending => progress.no_part(),
            }
        }
        if !activity.is_http2 {
            return frame;
        }
        frame.map_ok(|frame| match frame.into_data() {
            Ok(mut data) => {
                if data.len() > PART {
                    answer.rest = Some(data.split_off(PART));
                }
                Frame::data(data)
            }
            Err(trailers) => trailers,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let rest = self.rest.as_ref().map_or(0, |rest| rest.len() as u64);
        let of_body = self.body.size_hint();
        let mut hint = SizeHint::new();
        hint.set_lower(of_body.lower() + rest);
        if let Some(upper) = of_body.upper() {
            hint.set_upper(upper + rest);
        }
        hint
    }
}

/// The stream under an HTTP connection. What is read and written on it is noted; a connection
/// that is dropped while a write waits is reset, so that the kernel does not keep the bytes of
/// a client that does not read.
#[derive(Debug)]
pub(super) struct HttpStream {
    stream: Stream,
    activity: Arc<Activity>,
}

impl HttpStream {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>) -> HttpStream {
        HttpStream { stream, activity }
    }

    /// The stream itself.
    pub(super) fn into_inner(mut self) -> Stream {
        self.activity.is_writing.store(false, Ordering::Relaxed);
        mem::replace(&mut self.stream, Stream::Plain(StreamSocket::Failed))
    }
}

impl Drop for HttpStream {
    fn drop(&mut self) {
        if self.activity.is_writing.load(Ordering::Relaxed) {
            self.stream.reset_on_drop();
        }
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        result
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.wrote(&map_len(&result));
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.activity.wrote(&map_len(&result));
        result
    }
}

/// The result of a flush as that of a write without bytes.
fn map_len(result: &Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
    match result {
        Poll::Pending => Poll::Pending,
        Poll::Ready(_) => Poll::Ready(Ok(0)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WITHIN: Duration = Duration::from_secs(2);

    #[tokio::test(start_paused = true)]
    async fn an_answer_stalls_only_while_a_part_of_it_waits_for_the_client() {
        let progress = Arc::new(AnswerProgress::new());
        let watched = progress.clone();
        let stalled = tokio::spawn(async move {
            watched.stalled(WITHIN).await;
            Instant::now()
        });
        tokio::time::sleep(2 * WITHIN).await;
        assert!(!stalled.is_finished(), "nothing is due");
        progress.next_part();
        tokio::time::sleep(WITHIN / 2).await;
        progress.next_part();
        tokio::time::sleep(WITHIN / 2).await;
        progress.no_part();
        tokio::time::sleep(2 * WITHIN).await;
        assert!(!stalled.is_finished(), "all was taken");
        progress.next_part();
        let last = Instant::now();
        assert_eq!(stalled.await.unwrap(), last + WITHIN);
    }
}
