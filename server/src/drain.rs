//! The end of serving, in two steps that every connection sees.

use std::{
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU8, Ordering},
    },
    task::{Context, Poll, Waker},
};

use tokio::sync::{Notify, futures::OwnedNotified};

/// How far the end of serving has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Stage {
    /// Nothing ends yet.
    Serving,
    /// A connection answers what has arrived and ends when nothing is owed.
    WhenQuiet,
    /// A connection ends at the next place where it can be ended cleanly.
    Now,
}

/// Tells connections to end. Clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Drain(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    stage: AtomicU8,
    changed: Arc<Notify>,
}

impl Drain {
    /// Where serving stands.
    pub fn stage(&self) -> Stage {
        match self.0.stage.load(Ordering::Acquire) {
            0 => Stage::Serving,
            1 => Stage::WhenQuiet,
            _ => Stage::Now,
        }
    }

    /// Moves on to `stage` and wakes everyone who watches.
    pub fn advance(&self, stage: Stage) {
        self.0.stage.fetch_max(stage as u8, Ordering::AcqRel);
        self.0.changed.notify_waiters();
    }

    /// A view for one task.
    pub(crate) fn watch(&self) -> Watch {
        Watch {
            drain: self.clone(),
            changed: Box::pin(self.0.changed.clone().notified_owned()),
            waker: None,
        }
    }
}

/// A task's view of a [`Drain`]: looking costs one atomic load. The list of those to
/// wake, which all connections share, is touched at the first look only.
#[derive(Debug)]
pub(crate) struct Watch {
    drain: Drain,
    changed: Pin<Box<OwnedNotified>>,
    waker: Option<Waker>,
}

impl Watch {
    /// The stage, and no wake-up.
    pub(crate) fn stage(&self) -> Stage {
        self.drain.stage()
    }

    /// The stage, and a wake-up at the next one.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Stage {
        let stage = self.drain.stage();
        if stage == Stage::Now {
            return stage;
        }
        let known = self.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker()));
        if known && stage == Stage::Serving {
            return stage;
        }
        self.waker = Some(cx.waker().clone());
        while let Poll::Ready(()) = self.changed.as_mut().poll(cx) {
            self.changed.set(self.drain.0.changed.clone().notified_owned());
        }
        self.drain.stage()
    }
}
