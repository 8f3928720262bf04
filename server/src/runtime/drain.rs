//! Shutdown stages, timers and requests to end, which wake the task of a connection.
//!
//! ```text
//! Serving --> Graceful --> Immediate --> Cut
//! ```
//!
//! All connections of a group share one [`Drain`] with two tables, of watchers and of timers. An
//! idle connection has one entry in each, which take less memory than a tokio timer and a
//! notification for each connection.
//!
//! A group moves from stage to stage as a whole, or evenly over a time ([`Drain::advance_evenly`]).
//! A single connection can be asked to end at any time ([`Drain::request_end`]).

mod end_request;
mod silence;
#[cfg(test)]
mod tests;
mod watch;

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Weak,
        atomic::{AtomicU8, AtomicU64, AtomicUsize, Ordering},
    },
    task::Waker,
    time::Duration,
};

use parking_lot::Mutex;
use slab::Slab;
use tokio::{
    sync::Notify,
    time::{Instant, sleep, sleep_until},
};

pub(crate) use self::{
    end_request::{EndRequest, ServerClose, request_end_of},
    silence::Silence,
    watch::{END_TIMEOUT, ShutdownWatch},
};

/// The stage of the shutdown of a group of connections.
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

/// The interval at which the clock is read while there are timers.
const TICK: Duration = Duration::from_millis(500);

/// The time between two readings of the clock from which on the process counts as having been
/// suspended (SIGSTOP, a paused virtual machine).
const SUSPENDED: Duration = Duration::from_secs(1);

/// The bit, beside the stage of a group, that says that at least one connection was asked to end.
const HAS_REQUESTS: u8 = 1 << 7;

/// The interval between the steps of an even advance.
const EVEN_INTERVAL: Duration = Duration::from_millis(10);

/// The shutdown stage of a group of connections, and their timers. Clones share both.
#[derive(Clone, Debug)]
pub(crate) struct Drain(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The stage, and [`HAS_REQUESTS`].
    stage: AtomicU8,
    /// The key from which on watches do not follow the stage yet.
    held_from: AtomicUsize,
    start: Instant,
    /// The last reading of the clock, and the time since which the process has been running
    /// without interruption: both in milliseconds since `start`.
    last_reading: AtomicU64,
    running_since: AtomicU64,
    tables: Mutex<Tables>,
    /// There is a new earliest timer, or the last handle was dropped.
    changed: Arc<Notify>,
    /// A watch has been polled for the first time.
    registered: Notify,
}

#[derive(Debug, Default)]
struct Tables {
    watchers: Slab<Watcher>,
    /// The times of timers with the keys of their watchers, at most one timer for each watcher.
    timers: BTreeSet<(Instant, usize)>,
    /// Connections that were asked to end, by the keys of their watchers.
    requests: BTreeMap<usize, EndRequest>,
    /// The Close of the shutdown; `None` is [`ServerClose::SHUTDOWN`].
    close: Option<ServerClose>,
}

#[derive(Debug)]
struct Watcher {
    waker: Waker,
    /// The identifier of the connection; 0 for none.
    id: u64,
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
            held_from: AtomicUsize::new(usize::MAX),
            start: Instant::now(),
            last_reading: AtomicU64::new(0),
            running_since: AtomicU64::new(0),
            tables: Mutex::default(),
            changed: changed.clone(),
            registered: Notify::new(),
        });
        tokio::spawn(run_timers(Arc::downgrade(&inner), changed));
        Drain(inner)
    }

    /// Sets the Close that the shutdown sends to WebSocket peers.
    pub(crate) fn set_close(&self, close: ServerClose) {
        self.0.tables.lock().close = Some(close);
    }

    /// Advances to `stage`, never back, and wakes all watching tasks.
    pub(crate) fn advance(&self, stage: Stage) {
        self.0.advance(stage);
        self.0.held_from.store(usize::MAX, Ordering::Release);
        self.0.tables.lock().watchers.iter().for_each(|(_, watcher)| watcher.waker.wake_by_ref());
    }

    /// Advances the connections to `stage` one after the other, evenly until `until`, so that their
    /// clients do not reconnect all at once.
    pub(crate) async fn advance_evenly(&self, stage: Stage, until: Instant) {
        if self.0.stage() >= stage {
            // The group has that stage, and connections never go back.
            return self.advance(stage);
        }
        let keys: Vec<_> = self.0.tables.lock().watchers.iter().map(|(key, _)| key).collect();
        self.0.held_from.store(0, Ordering::Release);
        self.0.advance(stage);
        let start = Instant::now();
        let time = until.saturating_duration_since(start);
        let mut released = 0;
        while released < keys.len() && start.elapsed() < time {
            let part = start.elapsed().div_duration_f64(time);
            let due = (keys.len() as f64 * part) as usize + 1;
            self.0.release(&keys[released..due.min(keys.len())]);
            released = due;
            sleep(EVEN_INTERVAL).await;
        }
        self.advance(stage);
    }

    /// Asks a connection to end, unless it was asked before. False if no connection of the group has
    /// the identifier, or if its task has not polled its watch yet ([`request_end_of`]).
    pub(crate) fn request_end(&self, id: u64, request: EndRequest) -> bool {
        let mut tables = self.0.tables.lock();
        let Some((key, watcher)) = tables.watchers.iter().find(|(_, watcher)| watcher.id == id)
        else {
            return false;
        };
        let waker = watcher.waker.clone();
        match tables.requests.get(&key) {
            Some(before) if before.stage >= request.stage => {}
            _ => drop(tables.requests.insert(key, request)),
        }
        self.0.stage.fetch_or(HAS_REQUESTS, Ordering::AcqRel);
        drop(tables);
        waker.wake();
        true
    }

    /// A view for one task that is no registered connection.
    pub(crate) fn watch(&self) -> ShutdownWatch {
        self.watch_connection(0)
    }

    /// A view for the task of the connection with the identifier `id`.
    pub(crate) fn watch_connection(&self, id: u64) -> ShutdownWatch {
        ShutdownWatch::new(self.clone(), id)
    }
}

impl Stage {
    fn of(bits: u8) -> Stage {
        match bits & !HAS_REQUESTS {
            0 => Stage::Serving,
            1 => Stage::Graceful,
            2 => Stage::Immediate,
            _ => Stage::Cut,
        }
    }
}

impl Inner {
    fn stage(&self) -> Stage {
        Stage::of(self.stage.load(Ordering::Acquire))
    }

    fn advance(&self, stage: Stage) {
        let further = |bits| Some((Stage::of(bits).max(stage)) as u8 | bits & HAS_REQUESTS);
        self.stage.fetch_update(Ordering::AcqRel, Ordering::Acquire, further).ok();
    }

    /// Makes the watches with these keys, and those before them, follow the stage.
    fn release(&self, keys: &[usize]) {
        let Some(last) = keys.last() else { return };
        self.held_from.store(last + 1, Ordering::Release);
        let tables = self.tables.lock();
        for watcher in keys.iter().filter_map(|&key| tables.watchers.get(key)) {
            watcher.waker.wake_by_ref();
        }
    }

    /// The stage of the watch with this key. `bits` are those of the group, and not all zero.
    #[cold]
    fn stage_of(&self, key: usize, bits: u8) -> Stage {
        let is_held = key >= self.held_from.load(Ordering::Acquire);
        let stage = if is_held { Stage::Serving } else { Stage::of(bits) };
        if bits & HAS_REQUESTS == 0 {
            return stage;
        }
        let tables = self.tables.lock();
        tables.requests.get(&key).map_or(stage, |request| request.stage.max(stage))
    }

    /// The time since which the process has been running without interruption. While there are timers
    /// the clock is read every [`TICK`], so that a much longer time between two readings means that the
    /// process was suspended.
    fn running_since(&self, now: Instant) -> Instant {
        let millis = now.saturating_duration_since(self.start).as_millis();
        let millis = u64::try_from(millis).unwrap_or(u64::MAX);
        let last_reading = self.last_reading.load(Ordering::Acquire);
        if millis.saturating_sub(last_reading) >= SUSPENDED.as_millis() as u64 {
            self.running_since.fetch_max(millis, Ordering::AcqRel);
        }
        self.last_reading.fetch_max(millis, Ordering::AcqRel);
        self.start + Duration::from_millis(self.running_since.load(Ordering::Acquire))
    }

    /// Wakes the tasks whose timers have expired, and returns the time of the next timer.
    fn run_expired(&self) -> Option<Instant> {
        let now = Instant::now();
        self.running_since(now);
        let Tables { watchers, timers, .. } = &mut *self.tables.lock();
        while let Some(&(at, key)) = timers.first() {
            if at > now {
                return Some(at);
            }
            watchers[key].waker.wake_by_ref();
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
