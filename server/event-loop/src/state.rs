//! The state of an event loop that its sockets use, in a thread-local variable.

use std::cell::RefCell;

use mio::event::Event;
use slab::Slab;

use crate::turn::Turn;

/// The panic message about a socket that has left its loop.
pub(crate) const WRONG_LOOP: &str =
    "a socket on an event loop was used or dropped on another thread";

thread_local! {
    static LOOP: RefCell<Option<LoopState>> = const { RefCell::new(None) };
}

/// The part of an event loop that is in use while a task is polled.
pub(crate) struct LoopState {
    /// The number of the loop, unique in the process.
    pub(crate) number: u32,
    pub(crate) poll: mio::Poll,
    /// The sockets of the loop. Their keys are the tokens that the system reports.
    pub(crate) registrations: Slab<Registration>,
    /// The key of the task that is being polled.
    pub(crate) task: usize,
    /// The turn of that task.
    pub(crate) turn: Turn,
}

/// A socket that is registered with the system.
pub(crate) struct Registration {
    /// The key of the task to poll when the socket becomes ready.
    pub(crate) task: usize,
    pub(crate) ready: Ready,
}

/// Known readiness of a socket.
#[derive(Clone, Copy)]
pub(crate) struct Ready {
    pub(crate) read: bool,
    pub(crate) write: bool,
    /// The peer has ended its side or the connection has failed: no later event reports
    /// readiness to read.
    pub(crate) read_closed: bool,
    /// The peer has reset the connection, or the kernel has given it up. Bytes that arrived
    /// before can still be read.
    pub(crate) failed: bool,
}

impl LoopState {
    pub(crate) fn new(number: u32, poll: mio::Poll) -> LoopState {
        LoopState { number, poll, registrations: Slab::new(), task: 0, turn: Turn::default() }
    }

    /// Records the readiness that `event` reports. Returns the key of the task to poll if any of
    /// it is new.
    pub(crate) fn update(&mut self, event: &Event) -> Option<usize> {
        // An earlier event of the same batch may have ended the task and closed its sockets.
        let Registration { task, ready } = self.registrations.get_mut(event.token().0)?;
        let before = *ready;
        ready.read_closed |= event.is_read_closed() || event.is_error();
        ready.read |= event.is_readable() || ready.read_closed;
        ready.write |= event.is_writable() || event.is_write_closed() || event.is_error();
        // Closed directions do not show a failure: the ends of both sides in order close both, too.
        ready.failed |= event.is_error();
        let is_new = ready.read && !before.read
            || ready.write && !before.write
            // These two concern a task that does not read at present as well.
            || ready.read_closed && !before.read_closed
            || ready.failed && !before.failed;
        is_new.then_some(*task)
    }
}

/// Makes `state` that of this thread, which becomes an event loop's.
pub(crate) fn enter_loop(state: LoopState) {
    LOOP.set(Some(state));
}

/// Removes the state that [`enter_loop`] has set.
pub(crate) fn leave_loop() {
    LOOP.set(None);
}

/// Calls `f` with the state of this thread's loop.
///
/// # Panics
///
/// On a thread that is not an event loop's.
pub(crate) fn with_loop<T>(f: impl FnOnce(&mut LoopState) -> T) -> T {
    LOOP.with_borrow_mut(|state| f(state.as_mut().expect(WRONG_LOOP)))
}

/// Calls `f` with the state of this thread's loop, if the thread is an event loop's.
pub(crate) fn try_with_loop<T>(f: impl FnOnce(&mut LoopState) -> T) -> Option<T> {
    LOOP.with_borrow_mut(|state| state.as_mut().map(f))
}

pub(crate) fn is_loop_thread() -> bool {
    LOOP.with_borrow(Option::is_some)
}
