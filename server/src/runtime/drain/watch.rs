//! A task's view of the shutdown stage of its group, with its timer.

use std::{
    borrow::Cow,
    future::poll_fn,
    sync::atomic::Ordering,
    task::{Context, Poll},
    time::Duration,
};

use echogate_event_loop::InFlight;
use echogate_proto::reason;
use tokio::time::{Instant, sleep};

use super::{Drain, EndRequest, HAS_REQUESTS, ServerClose, Stage, Watcher};
use crate::runtime::idle_timeout::IdleTimeout;

/// The bit in the key of a watch that is not in the tables; the other bits are the identifier of its
/// connection. An enum would take twice the memory.
const UNREGISTERED: usize = 1 << (usize::BITS - 1);

/// The time without progress after which a connection that was asked to end is ended: by a reset if
/// bytes are owed.
pub(crate) const END_TIMEOUT: Duration = Duration::from_secs(5);

/// A task's view of a [`Drain`]. A poll costs one atomic load; the shared tables are touched at
/// the first poll and to set a timer only.
#[derive(Debug)]
pub(crate) struct ShutdownWatch {
    drain: Drain,
    /// The key of its watcher, which the first poll registers; [`UNREGISTERED`] and the identifier
    /// of the connection until then.
    key: usize,
    /// The last timer that was set; it may have expired.
    timer: Option<Instant>,
}

impl ShutdownWatch {
    pub(super) fn new(drain: Drain, id: u64) -> ShutdownWatch {
        ShutdownWatch { drain, key: UNREGISTERED | id as usize, timer: None }
    }

    /// The current stage, without a wake-up at the next.
    #[inline]
    pub(crate) fn stage(&self) -> Stage {
        match self.drain.0.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            bits => self.drain.0.stage_of(self.key, bits),
        }
    }

    /// The request to end this connection, if there is one.
    pub(crate) fn request(&self) -> Option<EndRequest> {
        if self.drain.0.stage.load(Ordering::Acquire) & HAS_REQUESTS == 0 {
            return None;
        }
        self.drain.0.tables.lock().requests.get(&self.key).cloned()
    }

    pub(crate) fn is_asked_to_end(&self) -> bool {
        self.drain.0.stage.load(Ordering::Acquire) & HAS_REQUESTS != 0
            && self.drain.0.tables.lock().requests.contains_key(&self.key)
    }

    /// The Close for a WebSocket peer whose connection the server ends.
    pub(crate) fn close(&self) -> ServerClose {
        match self.request() {
            Some(request) => request.close,
            None => self.drain.0.tables.lock().close.clone().unwrap_or(ServerClose::SHUTDOWN),
        }
    }

    /// The reason for which this connection is to be reset, if that was requested.
    fn reset_reason(&self) -> Option<Cow<'static, str>> {
        let request = self.request().filter(|request| request.stage == Stage::Cut)?;
        Some(request.close.reason)
    }

    /// Limits the idle timeout of a connection that was asked to end to [`END_TIMEOUT`]. Costs one
    /// comparison while the group is serving.
    #[inline]
    pub(crate) fn limit_idle(&self, stage: Stage, idle: &mut Option<Box<IdleTimeout>>) {
        if stage >= Stage::Immediate && self.is_asked_to_end() {
            IdleTimeout::limit(idle, END_TIMEOUT);
        }
    }

    /// Whether the idle timeout of the connection, if it has one, has passed: nothing was delivered,
    /// and of the bytes that are `in_flight` to its peers none was acknowledged. The kernel is asked
    /// for these only when nothing was `delivered` in time.
    #[inline]
    pub(crate) fn is_idle<const PEERS: usize>(
        &self,
        idle: &mut Option<Box<IdleTimeout>>,
        now: Instant,
        delivered: u64,
        in_flight: impl FnOnce() -> [Option<InFlight>; PEERS],
    ) -> bool {
        let Some(idle) = idle else { return false };
        if now < idle.deadline(now, delivered) {
            return false;
        }
        let moving = in_flight().into_iter().flatten().filter(|bytes| !bytes.is_nothing());
        let acknowledged = moving.map(|bytes| bytes.acknowledged).reduce(|sum, more| sum + more);
        idle.is_over(now, self.running_since(now), acknowledged)
    }

    /// The Close of a connection whose idle timeout has passed: that of the request to end it, if
    /// there is one.
    pub(crate) fn idle_close(&self) -> ServerClose {
        self.request().map_or(ServerClose::IDLE, |request| request.close)
    }

    /// Whether a reset of this connection was requested.
    pub(crate) fn is_reset_requested(&self) -> bool {
        self.reset_reason().is_some()
    }

    /// The reason in the log for a connection that reached [`Stage::Cut`].
    pub(crate) fn cut_reason(&self) -> Cow<'static, str> {
        self.reset_reason().unwrap_or(reason::CUT_OFF_BY_SHUTDOWN.into())
    }

    /// The current stage. The task that polls first is woken at each further stage.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Stage {
        self.ensure_registered(cx);
        self.stage()
    }

    /// The time since which the process has been running without interruption. Time in which the
    /// process was suspended does not count as a peer's silence.
    pub(crate) fn running_since(&self, now: Instant) -> Instant {
        self.drain.0.running_since(now)
    }

    /// Waits until the shutdown begins.
    pub(crate) async fn draining(&mut self) {
        poll_fn(|cx| match self.poll(cx) {
            Stage::Serving => Poll::Pending,
            Stage::Graceful | Stage::Immediate | Stage::Cut => Poll::Ready(()),
        })
        .await;
    }

    /// Waits until the shutdown has lasted for `time`.
    pub(crate) async fn draining_for(&mut self, time: Duration) {
        self.draining().await;
        sleep(time).await;
    }

    /// Sets the timer to `at`. A timer that expires between `now` and `at` is left as it is: most
    /// deadlines are postponed often, and the task sets the timer again at the early wake-up.
    pub(crate) fn wake_at(&mut self, cx: &Context<'_>, now: Instant, at: Instant) {
        if self.timer.is_some_and(|timer| now < timer && timer <= at) {
            return;
        }
        self.ensure_registered(cx);
        let timer = (at, self.key);
        let before = self.timer.replace(at);
        let mut tables = self.drain.0.tables.lock();
        if let Some(before) = before {
            tables.timers.remove(&(before, self.key));
        }
        tables.timers.insert(timer);
        if tables.timers.first() == Some(&timer) {
            self.drain.0.changed.notify_one();
        }
    }

    /// Puts the task's waker into the table, unless it is there.
    #[inline]
    fn ensure_registered(&mut self, cx: &Context<'_>) {
        if self.key & UNREGISTERED != 0 {
            self.register(cx);
        }
    }

    #[cold]
    fn register(&mut self, cx: &Context<'_>) {
        let id = (self.key & !UNREGISTERED) as u64;
        self.key =
            self.drain.0.tables.lock().watchers.insert(Watcher { waker: cx.waker().clone(), id });
        self.drain.0.registered.notify_waiters();
    }
}

impl Drop for ShutdownWatch {
    fn drop(&mut self) {
        let key = self.key;
        if key & UNREGISTERED != 0 {
            return;
        }
        let mut tables = self.drain.0.tables.lock();
        if let Some(timer) = self.timer {
            tables.timers.remove(&(timer, key));
        }
        let waker = tables.watchers.remove(key);
        if tables.requests.remove(&key).is_some() && tables.requests.is_empty() {
            self.drain.0.stage.fetch_and(!HAS_REQUESTS, Ordering::AcqRel);
        }
        // The waker may be the last owner of a task that holds a watch: drop it unlocked.
        drop(tables);
        drop(waker);
    }
}
