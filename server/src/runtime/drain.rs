//! Shutdown stages and timers: what wakes a connection besides its sockets.
//!
//! ```text
//! Serving --> Graceful --> Immediate --> Cut
//! ```
//!
//! All connections of a group share one [`Drain`] with two tables, of wakers and of timers. An
//! idle connection has one entry in each, a third of the memory that a tokio timer and a
//! notification of its own would take.

use std::{
    collections::BTreeSet,
    future::poll_fn,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, Weak,
        atomic::{AtomicU8, AtomicU64, Ordering},
    },
    task::{Context, Poll, Waker},
    time::Duration,
};

use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, sleep_until},
};

/// How far the shutdown of a group of connections is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// No shutdown.
    Serving,
    /// A connection answers what has arrived and ends when nothing is owed.
    Graceful,
    /// A connection ends at the next message boundary.
    Immediate,
    /// A connection ends at once: by a reset where something is owed.
    Cut,
}

/// The interval at which the clock is looked at while there are timers.
const TICK: Duration = Duration::from_millis(500);

/// A time without a look at the clock after which the process is taken to have been stopped.
const STOPPED: Duration = Duration::from_secs(1);

/// The key of a watch that is not in the tables. (An `Option` would take twice the memory.)
const NO_KEY: usize = usize::MAX;

/// The shutdown stage of a group of connections, and their timers. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stage: AtomicU8,
    start: Instant,
    /// The last look at the clock, and the time since which the process has been running
    /// without a break: both in milliseconds since `start`.
    last_look: AtomicU64,
    running_since: AtomicU64,
    tables: Mutex<Tables>,
    /// There is a new earliest timer, or the last handle was dropped.
    changed: Arc<Notify>,
}

#[derive(Debug, Default)]
struct Tables {
    wakers: Slab<Waker>,
    /// At most one timer for each waker.
    timers: BTreeSet<Timer>,
}

/// A time, in milliseconds since the start of the group, and behind it, in the lowest
/// [`KEY_BITS`], the key of a waker: a third of the memory of both apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Timer(u64);

/// The bits of a waker's key in a [`Timer`]: more than a process can have connections. The bits
/// in front of them are enough for eight years.
const KEY_BITS: u32 = 26;

impl Timer {
    /// The timer that expires when `after` has passed since the start, rounded up.
    fn new(after: Duration, key: usize) -> Timer {
        let millis = after.as_secs() * 1000 + u64::from(after.subsec_nanos().div_ceil(1_000_000));
        Timer(millis << KEY_BITS | key as u64)
    }

    /// The time since the start.
    fn after(self) -> Duration {
        Duration::from_millis(self.0 >> KEY_BITS)
    }

    fn key(self) -> usize {
        (self.0 & ((1 << KEY_BITS) - 1)) as usize
    }
}

impl Drain {
    /// A group that is not being shut down. The task that runs its timers ends with it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new() -> Drain {
        let changed = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            stage: AtomicU8::new(Stage::Serving as u8),
            start: Instant::now(),
            last_look: AtomicU64::new(0),
            running_since: AtomicU64::new(0),
            tables: Mutex::default(),
            changed: changed.clone(),
        });
        tokio::spawn(run_timers(Arc::downgrade(&inner), changed));
        Drain(inner)
    }

    /// The current stage.
    pub(crate) fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::Graceful,
            2 => Stage::Immediate,
            _ => Stage::Cut,
        }
    }

    /// Moves on to `stage`, never back, and wakes all watching tasks.
    pub(crate) fn advance(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.0.tables().wakers.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// A view for one task.
    pub(crate) fn watch(&self) -> ShutdownWatch {
        ShutdownWatch { drain: self.clone(), key: NO_KEY, timer: None }
    }
}

impl Inner {
    /// No code panics while it holds the lock.
    fn tables(&self) -> MutexGuard<'_, Tables> {
        self.tables.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The time since which the process has been running without a break. While there are
    /// timers the clock is looked at every [`TICK`], so that a much longer time between two
    /// looks means that the process was stopped (SIGSTOP, a paused virtual machine).
    fn running_since(&self, now: Instant) -> Instant {
        let millis = now.saturating_duration_since(self.start).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let last_look = self.last_look.load(Ordering::Acquire);
        if millis.saturating_sub(last_look) >= STOPPED.as_millis() as u64 {
            self.running_since.fetch_max(millis, Ordering::AcqRel);
        }
        self.last_look.fetch_max(millis, Ordering::AcqRel);
        self.start + Duration::from_millis(self.running_since.load(Ordering::Acquire))
    }

    /// The timer that expires `at` this time.
    fn timer(&self, at: Instant, key: usize) -> Timer {
        Timer::new(at.saturating_duration_since(self.start), key)
    }

    /// Wakes the tasks whose timers have expired, and returns the time of the next timer.
    fn run_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        self.running_since(now);
        let Tables { wakers, timers } = &mut *self.tables();
        while let Some(timer) = timers.first() {
            let at = self.start + timer.after();
            if at > now {
                return Some(at);
            }
            wakers[timer.key()].wake_by_ref();
            timers.pop_first();
        }
        None
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn run_timers(inner: Weak<Inner>, changed: Arc<Notify>) {
    while let Some(next) = inner.upgrade().map(|inner| inner.run_expired()) {
        match next {
            None => changed.notified().await,
            Some(next) => tokio::select! {
                () = sleep_until(next.min(Instant::now() + TICK)) => {}
                () = changed.notified() => {}
            },
        }
    }
}

/// A task's view of a [`Drain`]. A poll costs one atomic load; the shared tables are touched at
/// the first poll and to set a timer only.
#[derive(Debug)]
pub(crate) struct ShutdownWatch {
    drain: Drain,
    /// The key of its waker, which the first poll registers; [`NO_KEY`] until then.
    key: usize,
    /// The timer that is set, or was.
    timer: Option<Instant>,
}

impl ShutdownWatch {
    /// The current stage, without a wake-up at the next.
    pub(crate) fn stage(&self) -> Stage {
        self.drain.stage()
    }

    /// The current stage. The task that polls first is woken at each further stage.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Stage {
        self.ensure_registered(cx);
        self.drain.stage()
    }

    /// The time since which the process has been running without a break. Time in which it was
    /// stopped does not count as a peer's silence.
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

    /// Sets the timer to `at`. A timer that expires between `now` and then stays as it is:
    /// deadlines mostly move away, and the early wake-up sets the timer again.
    pub(crate) fn wake_at(&mut self, cx: &Context<'_>, now: Instant, at: Instant) {
        if self.timer.is_some_and(|timer| now < timer && timer <= at) {
            return;
        }
        self.ensure_registered(cx);
        let (before, timer) = (self.table_entry(), self.drain.0.timer(at, self.key));
        self.timer = Some(at);
        let mut tables = self.drain.0.tables();
        if let Some(before) = before {
            tables.timers.remove(&before);
        }
        tables.timers.insert(timer);
        if tables.timers.first() == Some(&timer) {
            self.drain.0.changed.notify_one();
        }
    }

    /// The timer in the table, if it has not expired.
    fn table_entry(&self) -> Option<Timer> {
        self.timer.map(|at| self.drain.0.timer(at, self.key))
    }

    /// Puts the task's waker into the table, unless it is there.
    #[inline]
    fn ensure_registered(&mut self, cx: &Context<'_>) {
        if self.key == NO_KEY {
            self.register(cx);
        }
    }

    #[cold]
    fn register(&mut self, cx: &Context<'_>) {
        self.key = self.drain.0.tables().wakers.insert(cx.waker().clone());
    }
}

impl Drop for ShutdownWatch {
    fn drop(&mut self) {
        let key = self.key;
        if key == NO_KEY {
            return;
        }
        let timer = self.table_entry();
        let mut tables = self.drain.0.tables();
        if let Some(timer) = timer {
            tables.timers.remove(&timer);
        }
        let waker = tables.wakers.remove(key);
        // The waker may be the last owner of a task that holds a watch: drop it unlocked.
        drop(tables);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    /// The seconds after which a task is woken that sets its timer to each of `asked` in turn.
    async fn woken_after(drain: &Drain, asked: &'static [u64]) -> u64 {
        let mut watch = drain.watch();
        let start = Instant::now();
        let task = tokio::spawn(async move {
            let mut first = true;
            poll_fn(|cx| {
                if !std::mem::take(&mut first) {
                    return Poll::Ready(());
                }
                for &after in asked {
                    watch.wake_at(cx, start, start + Duration::from_secs(after));
                }
                Poll::Pending
            })
            .await;
        });
        task.await.unwrap();
        start.elapsed().as_secs()
    }

    #[tokio::test(start_paused = true)]
    async fn timers_expire_at_their_time() {
        let drain = Drain::new();
        let all = tokio::join!(
            woken_after(&drain, &[30]),
            woken_after(&drain, &[10]),
            woken_after(&drain, &[20, 25]),
            woken_after(&drain, &[20, 5]),
        );
        assert_eq!(all, (30, 10, 20, 5));
        let tables = drain.0.tables();
        assert!(tables.timers.is_empty() && tables.wakers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_wakes_all_tasks() {
        let drain = Drain::new();
        let tasks = [1, 2].map(|_| {
            let mut watch = drain.watch();
            tokio::spawn(poll_fn(move |cx| match watch.poll(cx) {
                Stage::Serving => Poll::Pending,
                stage => Poll::Ready(stage),
            }))
        });
        tokio::task::yield_now().await;
        drain.advance(Stage::Graceful);
        for task in tasks {
            assert_eq!(task.await.unwrap(), Stage::Graceful);
        }
        drain.advance(Stage::Serving);
        assert_eq!(drain.stage(), Stage::Graceful, "stages never go back");
    }
}
