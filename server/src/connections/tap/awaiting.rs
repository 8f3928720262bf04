//! The observers that wait for the next connection.

use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;

use super::{Observers, Sides, Sink};

/// The observers that wait for the next connection. Without observers, the cost of a new connection
/// is one load of a flag.
#[derive(Debug, Default)]
pub(crate) struct Awaiting {
    is_any: AtomicBool,
    observers: Mutex<Vec<AwaitingObserver>>,
}

/// An observer that waits for the next connection.
#[derive(Debug)]
pub(crate) struct AwaitingObserver {
    pub(crate) sink: Sink,
    pub(crate) sides: Sides,
    /// Whether the observer may see connections on which the operators' token passes.
    pub(crate) has_token: bool,
}

impl Awaiting {
    /// Adds an observer, which waits until its queue is closed.
    pub(crate) fn add(&self, observer: AwaitingObserver) {
        let mut observers = self.observers.lock();
        observers.retain(|observer| !observer.sink.is_closed());
        observers.push(observer);
        self.is_any.store(true, Ordering::Release);
    }

    /// Attaches the waiting observers to a connection, before its first byte. An observer that
    /// exceeds the limit of the connection, or may not observe it, continues to wait.
    pub(crate) fn attach_to(&self, connection: &mut Observers, is_shown: impl Fn(bool) -> bool) {
        if !self.is_any.load(Ordering::Acquire) {
            return;
        }
        let mut observers = self.observers.lock();
        observers.retain(|AwaitingObserver { sink, sides, has_token }| {
            let is_attached = is_shown(*has_token) && connection.attach(sink, *sides, 0).is_ok();
            !is_attached && !sink.is_closed()
        });
        self.is_any.store(!observers.is_empty(), Ordering::Release);
    }
}
