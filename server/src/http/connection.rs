//! The activity of one HTTP connection, and the deadlines that follow from it. Its stream
//! (`stream`) and its responses (`response`) report the activity.
//!
//! | the connection waits for | at most |
//! | --- | --- |
//! | its first request; the rest of a request's head | `--header-timeout` |
//! | the client to take a part of a response | `--write-timeout` |
//! | the next request | `--keep-alive-timeout` |
//! | a WebSocket, an event stream or an upstream | those have deadlines of their own |

use std::{
    io,
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::Poll,
    time::Duration,
};

use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore},
    time::{Instant, sleep_until},
};

use crate::{
    config::Settings,
    connections::{
        counters::Refusal,
        limits::http::{CountedBy, HttpPermit, Timestamp},
    },
    runtime::drain::Drain,
};

/// The maximum number of responses under way on one connection, WebSocket handshakes excepted.
/// Further requests wait, so that stalled responses of one connection hold a bounded number of
/// files.
const RESPONSES: usize = 32;

/// The time for an orderly end (GOAWAY of HTTP/2, close_notify of TLS) after a deadline.
const CLOSING: Duration = Duration::from_secs(1);

/// Deadlines of a connection, from the settings.
#[derive(Clone, Copy, Debug)]
pub(super) struct Timeouts {
    header: Duration,
    pub(super) write: Duration,
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

/// The activity of one HTTP connection, reported by its stream and its responses.
#[derive(Debug)]
pub(super) struct Activity {
    permit: Arc<HttpPermit>,
    /// The address by which the connection is counted from its first request on.
    counted_by: Option<CountedBy>,
    is_http2: bool,
    /// The start of the wait for the first request.
    since: Instant,
    /// Whether the head of a request has been received.
    has_requests: AtomicBool,
    /// Whether a part of a request's head has been read since the last request (HTTP/1.1).
    has_head: AtomicBool,
    head_begun: Timestamp,
    /// Whether a response that ends by itself is under way (HTTP/1.1).
    owes_response: AtomicBool,
    /// Whether a write waits for the client.
    is_writing: AtomicBool,
    written: Timestamp,
    responses: Arc<Semaphore>,
    /// Notified when the deadline may be earlier than before.
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
            owes_response: AtomicBool::new(false),
            is_writing: AtomicBool::new(false),
            written: Timestamp::now(),
            responses: Arc::new(Semaphore::new(RESPONSES)),
            changed: Notify::new(),
        })
    }

    pub(super) fn permit(&self) -> &Arc<HttpPermit> {
        &self.permit
    }

    pub(super) fn is_http2(&self) -> bool {
        self.is_http2
    }

    /// Waits until the connection may have another request answered, and counts the response until
    /// the permit is dropped.
    pub(super) async fn acquire_response(&self) -> OwnedSemaphorePermit {
        let permit = self.responses.clone().acquire_owned().await;
        permit.expect("the semaphore is never closed")
    }

    /// Reports the client's end to HTTP from now on, since no response that ends by itself is owed.
    pub(super) fn stops_withholding_end(&self) {
        self.owes_response.store(false, Ordering::Relaxed);
        self.changed.notify_one();
    }

    /// Whether the client's end is withheld from HTTP, which would drop a response for which a client
    /// that half-closes still waits.
    pub(super) fn withholds_end(&self) -> bool {
        !self.is_http2 && (self.owes_response.load(Ordering::Relaxed) || self.is_writing())
    }

    pub(super) fn is_writing(&self) -> bool {
        self.is_writing.load(Ordering::Relaxed)
    }

    /// Records that the stream was upgraded: waiting writes no longer belong to HTTP.
    pub(super) fn handed_over(&self) {
        self.is_writing.store(false, Ordering::Relaxed);
    }

    /// Records that the head of a request is complete. `owes_response` is whether the response is
    /// expected to end by itself.
    pub(super) fn request_received(&self, owes_response: bool) {
        self.has_head.store(false, Ordering::Relaxed);
        self.owes_response.store(owes_response, Ordering::Relaxed);
        self.permit.touch();
        if !self.has_requests.swap(true, Ordering::Relaxed) {
            self.permit.establish(self.counted_by);
        }
        self.changed.notify_one();
    }

    /// Records that bytes were read.
    pub(super) fn read(&self) {
        if !self.has_requests.load(Ordering::Relaxed) {
            self.permit.touch();
        } else if !self.is_http2 && !self.has_head.swap(true, Ordering::Relaxed) {
            self.head_begun.touch();
            self.changed.notify_one();
        }
    }

    /// Records the result of a write.
    pub(super) fn wrote(&self, result: &Poll<io::Result<usize>>) {
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
                    // Over HTTP/2 the bytes may be the acknowledgement of a PING.
                    if !self.is_http2 {
                        self.permit.touch();
                    }
                }
            }
        }
    }

    /// The time at which the connection is closed unless there is activity before.
    fn deadline(&self, timeouts: &Timeouts) -> Option<Instant> {
        let progress = self.permit.progress();
        if self.is_writing() {
            return Some(self.written.get() + timeouts.write);
        }
        if self.permit.is_exempt() {
            return None;
        }
        if !self.has_requests.load(Ordering::Relaxed) {
            Some(self.since + timeouts.header)
        } else if self.responses.available_permits() < RESPONSES {
            // Over HTTP/2 each response has its own deadline (`response`).
            (!self.is_http2).then(|| progress + timeouts.write)
        } else if self.has_head.load(Ordering::Relaxed) {
            Some(self.head_begun.get().max(progress) + timeouts.header)
        } else {
            Some(progress + timeouts.keep_alive)
        }
    }

    /// Whether all requests are answered and no further one has begun.
    fn is_idle(&self) -> bool {
        self.has_requests.load(Ordering::Relaxed)
            && !self.has_head.load(Ordering::Relaxed)
            && !self.is_writing()
            && self.responses.available_permits() == RESPONSES
    }
}

/// The end of a connection.
pub(super) enum Ended<T> {
    /// The connection ended by itself.
    Done(T),
    /// The permit was revoked.
    Revoked(Refusal),
    TimedOut,
}

/// Drives a connection to its end. At the shutdown, `close` has it accept no further requests.
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
    // Without a deadline the activity is checked at this interval: the end of an exemption does
    // not notify.
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
