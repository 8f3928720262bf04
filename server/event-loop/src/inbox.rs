//! The inbox of an event loop: new tasks, wakes and pings from other threads.

use std::{
    fmt, io,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Wake,
};

use futures_util::future::BoxFuture;
use mio::{Registry, Token};
use tokio::{sync::oneshot, time::Instant};

/// The token of an inbox. Tokens of sockets are keys of registrations.
pub(crate) const INBOX: Token = Token(usize::MAX);

/// Cross-thread queue of one loop.
pub(crate) struct Inbox {
    pending: Mutex<Pending>,
    /// Interrupts the loop's wait for events when something is pending and nothing was.
    waker: mio::Waker,
    /// Tasks that were given to the loop and have not ended.
    pub(crate) load: AtomicUsize,
}

#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) new: Vec<BoxFuture<'static, ()>>,
    /// Keys of tasks.
    pub(crate) woken: Vec<usize>,
    /// Senders of the time at which they are answered.
    pub(crate) pings: Vec<oneshot::Sender<Instant>>,
    /// The last handle to the loops was dropped.
    pub(crate) is_shut_down: bool,
}

impl Inbox {
    /// An inbox whose loop waits for the events of `registry`.
    pub(crate) fn new(registry: &Registry) -> io::Result<Inbox> {
        let waker = mio::Waker::new(registry, INBOX)?;
        Ok(Inbox { pending: Mutex::default(), waker, load: AtomicUsize::new(0) })
    }

    /// Applies `add` to the contents, and wakes the loop if nothing was pending.
    pub(crate) fn push(&self, add: impl FnOnce(&mut Pending)) {
        let mut pending = self.pending();
        let was_empty =
            pending.new.is_empty() && pending.woken.is_empty() && pending.pings.is_empty();
        add(&mut pending);
        drop(pending);
        if was_empty {
            self.waker.wake().expect("an eventfd takes what is written");
        }
    }

    pub(crate) fn take(&self) -> Pending {
        std::mem::take(&mut *self.pending())
    }

    /// Locks the contents. No code panics while it holds the lock.
    pub(crate) fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("load", &self.load).finish_non_exhaustive()
    }
}

/// Wakes one task, from any thread.
pub(crate) struct TaskWaker {
    inbox: Arc<Inbox>,
    key: usize,
    /// The key is in the inbox already.
    queued: AtomicBool,
}

impl TaskWaker {
    pub(crate) fn new(inbox: Arc<Inbox>, key: usize) -> Arc<TaskWaker> {
        Arc::new(TaskWaker { inbox, key, queued: AtomicBool::new(false) })
    }

    /// Lets the next wake queue the task again. The swap makes what the waking thread did before
    /// its wake visible to the poll that follows.
    pub(crate) fn dequeued(&self) {
        self.queued.swap(false, Ordering::AcqRel);
    }
}

impl Wake for TaskWaker {
    fn wake(self: Arc<TaskWaker>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<TaskWaker>) {
        if !self.queued.swap(true, Ordering::AcqRel) {
            self.inbox.push(|pending| pending.woken.push(self.key));
        }
    }
}
