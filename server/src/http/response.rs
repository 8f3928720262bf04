//! The body of a response. Each part that the client takes counts as activity of the connection.
//! Over HTTP/2, the stream of a response that the client does not take is reset.

use std::{
    pin::Pin,
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
    sync::{Notify, OwnedSemaphorePermit},
    time::{Instant, sleep_until},
};
use tokio_util::task::TaskTracker;

use super::connection::Activity;
use crate::connections::limits::http::Timestamp;

/// The largest part of a response that is handed over to HTTP/2 at once, in bytes. A client that
/// takes so much of each response within `--write-timeout` does not stall.
const PART: usize = 16 * 1024;

tokio::task_local! {
    /// The progress of the response on the HTTP/2 stream whose task is polled.
    static PROGRESS: Arc<ResponseProgress>;
}

/// The progress of one response on an HTTP/2 connection.
#[derive(Debug)]
struct ResponseProgress {
    /// Whether a part of the response waits to be taken by the client.
    has_pending_part: AtomicBool,
    /// The time when the last part was taken, or the first one began to wait.
    last: Timestamp,
    /// Notified when a part waits and none did before.
    part_pending: Notify,
}

impl ResponseProgress {
    fn new() -> ResponseProgress {
        ResponseProgress {
            has_pending_part: AtomicBool::new(false),
            last: Timestamp::now(),
            part_pending: Notify::new(),
        }
    }

    /// Records that the client has taken all previous parts, and another one waits.
    fn next_part(&self) {
        self.last.touch();
        if !self.has_pending_part.swap(true, Ordering::Relaxed) {
            self.part_pending.notify_one();
        }
    }

    /// Records that the client has taken all parts that exist so far.
    fn no_part(&self) {
        self.has_pending_part.store(false, Ordering::Relaxed);
    }

    /// Waits until a part has waited for the time `within` while the client has taken none.
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

/// Spawns the tasks of an HTTP/2 connection. The task of a stream whose response the client does not
/// take within `--write-timeout` is dropped, which resets the stream and leaves the others alone.
#[derive(Clone, Debug)]
pub(super) struct StreamExecutor {
    pub(super) write_timeout: Duration,
    /// The tasks of HTTP connections.
    pub(super) tasks: TaskTracker,
}

impl<F: Future<Output = ()> + Send + 'static> Executor<F> for StreamExecutor {
    fn execute(&self, stream: F) {
        let (within, progress) = (self.write_timeout, Arc::new(ResponseProgress::new()));
        self.tasks.spawn(PROGRESS.scope(progress.clone(), async move {
            tokio::select! {
                biased;
                () = stream => {}
                () = progress.stalled(within) => {
                    tracing::debug!("a response over HTTP/2 was not taken within {within:?}");
                }
            }
        }));
    }
}

/// The response to a request, until its end.
#[derive(Debug)]
pub(super) struct PendingResponse {
    permit: Option<OwnedSemaphorePermit>,
    activity: Arc<Activity>,
    /// The progress on an HTTP/2 stream; none over HTTP/1.1.
    progress: Option<Arc<ResponseProgress>>,
}

impl PendingResponse {
    /// Waits until the connection may have another request answered.
    pub(super) async fn begin(activity: Arc<Activity>) -> PendingResponse {
        let permit = activity.acquire_response().await;
        PendingResponse {
            permit: Some(permit),
            activity,
            progress: PROGRESS.try_with(Arc::clone).ok(),
        }
    }

    /// Stops counting the response, since an event stream lasts as long as its client likes, and
    /// has a limit of its own.
    pub(super) fn stop_counting(&mut self) {
        self.permit = None;
        self.activity.stops_withholding_end();
    }

    /// The body of the response. The response is pending until the body is dropped.
    pub(super) fn with(self, body: Body) -> ResponseBody {
        if let Some(progress) = &self.progress {
            progress.next_part();
        }
        ResponseBody { body, rest: None, pending: Some(self) }
    }
}

impl Drop for PendingResponse {
    fn drop(&mut self) {
        self.activity.stops_withholding_end();
    }
}

/// The body of a response. Each part that hyper takes counts as activity. Over HTTP/2 parts have a
/// limited size, since nothing else shows that the client takes a response.
#[derive(Debug)]
pub(super) struct ResponseBody {
    body: Body,
    /// The rest of the last part.
    rest: Option<Bytes>,
    pending: Option<PendingResponse>,
}

impl From<Body> for ResponseBody {
    fn from(body: Body) -> ResponseBody {
        ResponseBody { body, rest: None, pending: None }
    }
}

impl HttpBody for ResponseBody {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let response = self.get_mut();
        let frame = match response.rest.take() {
            Some(rest) => Poll::Ready(Some(Ok(Frame::data(rest)))),
            None => Pin::new(&mut response.body).poll_frame(cx),
        };
        let Some(PendingResponse { activity, progress, .. }) = &response.pending else {
            return frame;
        };
        if frame.is_ready() {
            activity.permit().touch();
        }
        if let Some(progress) = progress {
            match frame {
                Poll::Ready(_) => progress.next_part(),
                Poll::Pending => progress.no_part(),
            }
        }
        if !activity.is_http2() {
            return frame;
        }
        frame.map_ok(|frame| match frame.into_data() {
            Ok(mut data) => {
                if data.len() > PART {
                    response.rest = Some(data.split_off(PART));
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

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;
    use tokio::sync::oneshot;

    use super::*;

    const WITHIN: Duration = Duration::from_secs(2);

    #[tokio::test]
    async fn the_task_of_an_http2_stream_is_tracked() {
        let (tasks, (end, ended)) = (TaskTracker::new(), oneshot::channel::<()>());
        let executor = StreamExecutor { write_timeout: WITHIN, tasks: tasks.clone() };
        executor.execute(ended.map(drop));
        assert_eq!(tasks.len(), 1);
        drop(end);
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_response_stalls_only_while_a_part_of_it_waits_for_the_client() {
        let progress = Arc::new(ResponseProgress::new());
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
