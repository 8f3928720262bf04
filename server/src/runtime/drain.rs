//! What wakes a connection that waits, beside its sockets: the end of serving, in two
//! steps that every connection sees, and its own alarm.
//!
//! An idle connection pays for both with two entries in tables that all share, a
//! third of what a timer and a list of its own would take.

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

/// How far the end of serving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// Nothing ends yet.
    Serving,
    /// A connection answers what has arrived and ends when nothing is owed.
    WhenQuiet,
    /// A connection ends at the next place where it can be ended cleanly.
    Now,
    /// A connection ends at once: by a reset where something is owed.
    Cut,
}

/// Tells connections to end, and wakes them when they asked to be. Clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    stage: AtomicU8,
    start: Instant,
    /// When somebody looked at the clock last, and since when the process has been running
    /// without a break: both in milliseconds since the start.
    looked: AtomicU64,
    running_since: AtomicU64,
    watches: Mutex<Watches>,
    /// There is a new earliest alarm, or nobody left to be woken.
    changed: Arc<Notify>,
}

/// Those who watch.
#[derive(Debug, Default)]
struct Watches {
    wakers: Slab<Waker>,
    /// Who is to be woken when; one alarm each at the most.
    alarms: BTreeSet<Alarm>,
}

/// A time, in milliseconds since the start, above the 24 bits of whose alarm it is: a
/// third of the memory that an [`Instant`] and a key would take.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Alarm(u64);

impl Drain {
    /// One that serves; the task that wakes for its alarms ends with it.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    pub(crate) fn new() -> Drain {
        let changed = Arc::new(Notify::new());
        let inner = Arc::new(Inner {
            stage: AtomicU8::new(Stage::Serving as u8),
            start: Instant::now(),
            looked: AtomicU64::new(0),
            running_since: AtomicU64::new(0),
            watches: Mutex::default(),
            changed: changed.clone(),
        });
        tokio::spawn(ring(Arc::downgrade(&inner), changed));
        Drain(inner)
    }

    /// Where serving stands.
    pub(crate) fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::WhenQuiet,
            2 => Stage::Now,
            _ => Stage::Cut,
        }
    }

    /// Moves on to `stage` and wakes everyone who watches.
    pub(crate) fn advance(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.0.watches().wakers.iter().for_each(|(_, waker)| waker.wake_by_ref());
    }

    /// A view for one task.
    pub(crate) fn watch(&self) -> Watch {
        Watch { drain: self.clone(), key: NO_KEY, alarm: None }
    }
}

impl Inner {
    /// No code panics while it holds the lock.
    fn watches(&self) -> MutexGuard<'_, Watches> {
        self.watches.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at the clock, and says since when the process has been running without a break:
    /// while there are alarms somebody looks each [`TICK`], so that a much longer time means
    /// that the process was stopped (SIGSTOP, a virtual machine that was paused).
    fn running_since(&self, now: Instant) -> Instant {
        let millis = now.saturating_duration_since(self.start).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let looked = self.looked.load(Ordering::Acquire);
        if millis.saturating_sub(looked) >= BREAK.as_millis() as u64 {
            self.running_since.fetch_max(millis, Ordering::AcqRel);
        }
        self.looked.fetch_max(millis, Ordering::AcqRel);
        self.start + Duration::from_millis(self.running_since.load(Ordering::Acquire))
    }

    /// Wakes those whose alarm has come, and says when the next will.
    fn ring_due(&self) -> Option<Instant> {
        let now = Instant::now();
        self.running_since(now);
        let Watches { wakers, alarms } = &mut *self.watches();
        while let Some(alarm) = alarms.first() {
            let at = self.start + Duration::from_millis(alarm.0 >> Alarm::KEY_BITS);
            if at > now {
                return Some(at);
            }
            wakers[alarm.key()].wake_by_ref();
            alarms.pop_first();
        }
        None
    }

    /// The alarm at `at`, or within the millisecond after it.
    fn alarm(&self, at: Instant, key: usize) -> Alarm {
        let after = at.saturating_duration_since(self.start) + Duration::from_nanos(999_999);
        // No later than in 34 years.
        let millis = after.as_millis().min(u128::from(u64::MAX >> Alarm::KEY_BITS)) as u64;
        Alarm(millis << Alarm::KEY_BITS | key as u64)
    }
}

impl Alarm {
    /// More than a process can have connections.
    const KEY_BITS: u32 = 24;

    fn key(self) -> usize {
        (self.0 & ((1 << Alarm::KEY_BITS) - 1)) as usize
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.changed.notify_one();
    }
}

async fn ring(inner: Weak<Inner>, changed: Arc<Notify>) {
    while let Some(next) = inner.upgrade().map(|inner| inner.ring_due()) {
        match next {
            None => changed.notified().await,
            Some(next) => tokio::select! {
                () = sleep_until(next.min(Instant::now() + TICK)) => {}
                () = changed.notified() => {}
            },
        }
    }
}

/// How often somebody looks at the clock while there are alarms.
const TICK: Duration = Duration::from_millis(500);

/// A time without a look at the clock after which the process is taken not to have run.
const BREAK: Duration = Duration::from_secs(1);

/// No place in the tables. (An `Option` would take twice the memory.)
const NO_KEY: usize = usize::MAX;

/// A task's view of a [`Drain`]: looking costs one atomic load. The tables, which all
/// connections share, are touched at the first look and for an alarm only.
#[derive(Debug)]
pub(crate) struct Watch {
    drain: Drain,
    /// Where its waker is, from the first look on: [`NO_KEY`] until then.
    key: usize,
    /// The alarm that is set, or was.
    alarm: Option<Instant>,
}

impl Watch {
    /// The stage, and no wake-up.
    pub(crate) fn stage(&self) -> Stage {
        self.drain.stage()
    }

    /// The stage, and a wake-up at each that follows, for the task that looks first.
    pub(crate) fn poll(&mut self, cx: &Context<'_>) -> Stage {
        self.key(cx);
        self.drain.stage()
    }

    /// Since when the process has been running without a break. Time in which it did not run
    /// is nobody's silence.
    pub(crate) fn running_since(&self, now: Instant) -> Instant {
        self.drain.0.running_since(now)
    }

    /// Waits until serving ends.
    pub(crate) async fn draining(&mut self) {
        poll_fn(|cx| match self.poll(cx) {
            Stage::Serving => Poll::Pending,
            Stage::WhenQuiet | Stage::Now | Stage::Cut => Poll::Ready(()),
        })
        .await;
    }

    /// Asks for a wake-up at `at` or, if one was asked for before, between `now` and
    /// then: alarms mostly move away, and are then left as they are.
    pub(crate) fn wake_at(&mut self, cx: &Context<'_>, now: Instant, at: Instant) {
        if self.alarm.is_some_and(|alarm| now < alarm && alarm <= at) {
            return;
        }
        let key = self.key(cx);
        let table = &*self.drain.0;
        let mut watches = table.watches();
        if let Some(before) = self.alarm.replace(at) {
            watches.alarms.remove(&table.alarm(before, key));
        }
        let alarm = table.alarm(at, key);
        watches.alarms.insert(alarm);
        if watches.alarms.first() == Some(&alarm) {
            table.changed.notify_one();
        }
    }

    #[inline]
    fn key(&mut self, cx: &Context<'_>) -> usize {
        if self.key == NO_KEY {
            self.enter(cx);
        }
        self.key
    }

    #[cold]
    fn enter(&mut self, cx: &Context<'_>) {
        self.key = self.drain.0.watches().wakers.insert(cx.waker().clone());
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        let key = self.key;
        if key == NO_KEY {
            return;
        }
        let mut watches = self.drain.0.watches();
        if let Some(alarm) = self.alarm {
            watches.alarms.remove(&self.drain.0.alarm(alarm, key));
        }
        let waker = watches.wakers.remove(key);
        // It may be what keeps a task alive, which may hold a watch of its own.
        drop(watches);
        drop(waker);
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::Poll};

    use super::*;

    /// How many seconds from now a task that asks to be woken then is.
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
    async fn alarms_ring_at_their_time() {
        let drain = Drain::new();
        let all = tokio::join!(
            woken_after(&drain, &[30]),
            woken_after(&drain, &[10]),
            woken_after(&drain, &[20, 25]),
            woken_after(&drain, &[20, 5]),
        );
        assert_eq!(all, (30, 10, 20, 5));
        let watches = drain.0.watches();
        assert!(watches.alarms.is_empty() && watches.wakers.is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn an_alarm_that_is_too_far_away_does_not_ring() {
        // Five seconds more than there is room for.
        const FAR: u64 = (1 << 40) / 1000 + 5;
        let drain = Drain::new();
        let far = tokio::spawn({
            let drain = drain.clone();
            async move { woken_after(&drain, &[FAR]).await }
        });
        assert_eq!(woken_after(&drain, &[10]).await, 10);
        assert!(!far.is_finished());
    }

    #[tokio::test(start_paused = true)]
    async fn a_stage_wakes_everyone() {
        let drain = Drain::new();
        let tasks = [1, 2].map(|_| {
            let mut watch = drain.watch();
            tokio::spawn(poll_fn(move |cx| match watch.poll(cx) {
                Stage::Serving => Poll::Pending,
                stage => Poll::Ready(stage),
            }))
        });
        tokio::task::yield_now().await;
        drain.advance(Stage::WhenQuiet);
        for task in tasks {
            assert_eq!(task.await.unwrap(), Stage::WhenQuiet);
        }
        drain.advance(Stage::Serving);
        assert_eq!(drain.stage(), Stage::WhenQuiet, "there is no way back");
    }
}
