//! One event loop: its tasks, and the order in which they are polled.

use std::{
    collections::VecDeque,
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process,
    sync::{Arc, atomic::Ordering},
    task::{Context, Poll, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use mio::Events;
use slab::Slab;

use crate::{
    inbox::{INBOX, Inbox, TaskWaker},
    state::{LoopState, enter_loop, leave_loop, with_loop},
    turn::Turn,
};

/// The largest number of events that are handled before woken tasks are polled, and of woken tasks
/// that are polled before events are handled.
pub(crate) const BATCH: usize = 1024;

/// The time for which tasks whose turns were cut short are polled, all together, before sockets
/// and wakes are handled again.
const YIELDED_SLICE: Duration = Duration::from_millis(1);

/// The time for another thread to write the last lines of the log before the process aborts.
const LAST_LINES: Duration = Duration::from_millis(200);

/// An event loop, owned by its thread.
pub(crate) struct EventLoop {
    /// The number of the loop, unique in the process.
    number: u32,
    inbox: Arc<Inbox>,
    tasks: Slab<Task>,
    /// Keys of tasks whose turn was cut short, in order. They are polled after sockets and wakes,
    /// so that tasks that never wait delay others by no more than one slice.
    yielded: VecDeque<usize>,
}

struct Task {
    future: BoxFuture<'static, ()>,
    task_waker: Arc<TaskWaker>,
    /// Built from `task_waker`.
    waker: Waker,
    /// The key of the task is in [`EventLoop::yielded`].
    has_yielded: bool,
}

impl EventLoop {
    pub(crate) fn new(number: u32, inbox: Arc<Inbox>) -> EventLoop {
        EventLoop { number, inbox, tasks: Slab::new(), yielded: VecDeque::new() }
    }

    /// Polls tasks until the last handle to the loops is dropped. Each round handles a batch of
    /// events, then tasks whose turn was cut short, then a batch of woken tasks.
    ///
    /// Ordering guarantee: readiness that preceded a wake is delivered before that wake. A task
    /// that is asked to end when idle relies on it: by then the task has been polled for all bytes
    /// that had arrived. Therefore the wakes of an inbox are held back until the system has
    /// reported every socket that was ready when the inbox was emptied: until a poll reports fewer
    /// events than a batch, or as many polls were made as it takes to report all sockets.
    pub(crate) fn run(mut self, poll: mio::Poll, batch: usize) {
        let _abort = AbortOnPanic { number: self.number };
        enter_loop(LoopState::new(self.number, poll));
        let mut events = Events::with_capacity(batch);
        let mut woken = VecDeque::new();
        let (mut inbox_is_ready, mut polls_before_wakes) = (false, 0);
        loop {
            let is_busy = inbox_is_ready || !woken.is_empty() || !self.yielded.is_empty();
            let wait = is_busy.then_some(Duration::ZERO);
            match with_loop(|state| state.poll.poll(&mut events, wait)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.expect("epoll_wait takes these arguments"),
            }
            let mut received = 0;
            for event in &events {
                received += 1;
                if event.token() == INBOX {
                    inbox_is_ready = true;
                } else if let Some(task) = with_loop(|state| state.update(event)) {
                    self.poll_task(task);
                }
            }
            self.poll_yielded();
            polls_before_wakes =
                if received < batch { 0 } else { usize::saturating_sub(polls_before_wakes, 1) };
            if polls_before_wakes > 0 {
                continue;
            }
            let due = woken.len().min(batch);
            woken.drain(..due).for_each(|key| self.poll_woken(key));
            if woken.is_empty() && std::mem::take(&mut inbox_is_ready) {
                let pending = self.inbox.take();
                if pending.is_shut_down {
                    pending.new.into_iter().for_each(drop_catching);
                    break;
                }
                pending.new.into_iter().for_each(|future| self.begin(future));
                for ping in pending.pings {
                    // There is no receiver any more if the ping has timed out.
                    ping.send(tokio::time::Instant::now()).ok();
                }
                woken = pending.woken.into();
                // Two events for each socket, as kqueue reports reading and writing apart.
                polls_before_wakes = 1 + 2 * with_loop(|state| state.registrations.len()) / batch;
            }
        }
        self.tasks.drain().for_each(drop_catching);
        leave_loop();
    }

    fn begin(&mut self, future: BoxFuture<'static, ()>) {
        let entry = self.tasks.vacant_entry();
        let key = entry.key();
        let task_waker = TaskWaker::new(self.inbox.clone(), key);
        let waker = task_waker.clone().into();
        entry.insert(Task { future, task_waker, waker, has_yielded: false });
        self.poll_task(key);
    }

    /// Polls a task whose key was in the inbox, unless the task has ended.
    fn poll_woken(&mut self, key: usize) {
        if let Some(task) = self.tasks.get(key) {
            task.task_waker.dequeued();
            self.poll_task(key);
        }
    }

    /// Polls tasks whose turn was cut short, for [`YIELDED_SLICE`], one task at least.
    fn poll_yielded(&mut self) {
        if self.yielded.is_empty() {
            return;
        }
        let until = Instant::now() + YIELDED_SLICE;
        for _ in 0..self.yielded.len() {
            let Some(key) = self.yielded.pop_front() else { return };
            if let Some(task) = self.tasks.get_mut(key).filter(|task| task.has_yielded) {
                task.has_yielded = false;
                self.poll_task(key);
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    fn poll_task(&mut self, key: usize) {
        let Some(Task { future, waker, has_yielded, .. }) = self.tasks.get_mut(key) else { return };
        with_loop(|state| (state.task, state.turn) = (key, Turn::default()));
        let poll = || future.as_mut().poll(&mut Context::from_waker(waker));
        // A panic ends its own task. The panic hook has reported it.
        if !matches!(catch_unwind(AssertUnwindSafe(poll)), Ok(Poll::Pending)) {
            self.inbox.load.fetch_sub(1, Ordering::Relaxed);
            drop_catching(self.tasks.remove(key));
        } else if with_loop(|state| state.turn.is_over) && !std::mem::replace(has_yielded, true) {
            self.yielded.push_back(key);
        }
    }
}

/// Drops a task or its future. A panic in a destructor is caught; the panic hook has reported it.
fn drop_catching<T>(task: T) {
    catch_unwind(AssertUnwindSafe(|| drop(task))).ok();
}

/// Aborts the process when a panic unwinds through [`EventLoop::run`]: the connections of a loop
/// without a thread would neither answer nor end.
struct AbortOnPanic {
    number: u32,
}

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("event loop {} has panicked: the process aborts", self.number);
            thread::sleep(LAST_LINES);
            process::abort();
        }
    }
}
