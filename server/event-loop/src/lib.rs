//! Event loops: a thread for each core, and the connections that it carries.
//!
//! A connection is set up in the runtime (tokio's), where everything else runs as well;
//! once bytes are all that it is about, it is carried here. What the system says of a
//! socket leads to the connection's task by two look-ups in arrays, without a queue, a
//! lock or an atomic operation on the way:
//!
//! ```text
//! epoll_wait -> Interest (whose socket, ready for what) -> Task -> StreamSocket: read, write
//! ```
//!
//! A task stays on the loop that it was given to. Anything may wake it: a timer of the
//! runtime, an alarm, another connection; that goes by the loop's inbox.

mod in_flight;
mod stream_socket;

use std::{
    cell::RefCell,
    collections::VecDeque,
    fmt, io,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::{Duration, Instant},
};

use futures_util::future::BoxFuture;
use mio::{Events, Token, event::Event};
use slab::Slab;
use tokio::{runtime::Handle, task::coop};

pub use self::{in_flight::InFlight, stream_socket::StreamSocket};

/// Events taken from the system, and tasks polled because others woke them, before it is
/// the other's turn.
const BATCH: usize = 1024;

/// Reads and writes of one task before others have their turn, at most.
const BUDGET: u32 = 128;

/// Reads and writes that a task may make before the clock is looked at. Most turns make
/// fewer: those of small messages pay for no look.
const UNTIMED: u32 = 4;

/// Bytes in one read or write from which on the clock is looked at before the next.
const BULK: usize = 16 * 1024;

/// How long a task may go on from the moment when the clock was first looked at.
const TIME_SLICE: Duration = Duration::from_micros(500);

/// How long tasks whose turn was cut short go on, all together, before sockets and
/// wake-ups have their turn again.
const YIELDED_SLICE: Duration = Duration::from_millis(1);

/// The token of the inbox; those of sockets are keys.
const INBOX: Token = Token(usize::MAX);

/// All of them. Clones are the same; with the last the threads end, and what they carry.
#[derive(Clone, Debug)]
pub struct EventLoops(Arc<[Remote]>);

/// A loop, as others see it.
#[derive(Debug)]
struct Remote(Arc<Inbox>);

/// What others leave for a loop.
struct Inbox {
    letters: Mutex<Letters>,
    /// Tells the loop that there is something, when there was nothing.
    waker: mio::Waker,
    /// Tasks that the loop was given and that have not ended.
    load: AtomicUsize,
}

#[derive(Default)]
struct Letters {
    new: Vec<BoxFuture<'static, ()>>,
    woken: Vec<usize>,
    ended: bool,
}

impl EventLoops {
    /// One for each core.
    ///
    /// # Errors
    ///
    /// The system's: it has no more threads or file descriptors to give.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, which the tasks may use.
    pub fn start() -> io::Result<EventLoops> {
        EventLoops::of(thread::available_parallelism().map_or(1, usize::from), BATCH)
    }

    fn of(threads: usize, batch: usize) -> io::Result<EventLoops> {
        let start = |n| {
            let poll = mio::Poll::new()?;
            let inbox = Arc::new(Inbox {
                letters: Mutex::default(),
                waker: mio::Waker::new(poll.registry(), INBOX)?,
                load: AtomicUsize::new(0),
            });
            let remote = Remote(inbox.clone());
            let runtime = Handle::current();
            thread::Builder::new().name(format!("loop-{n}")).spawn(move || {
                let _entered = runtime.enter();
                EventLoop { inbox, tasks: Slab::new(), yielded: VecDeque::new() }.run(poll, batch);
            })?;
            Ok(remote)
        };
        Ok(EventLoops((0..threads).map(start).collect::<io::Result<_>>()?))
    }

    /// Runs `task` on the loop that has the fewest.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let inboxes = self.0.iter().map(|Remote(inbox)| inbox);
        let least = inboxes.min_by_key(|inbox| inbox.load.load(Ordering::Relaxed));
        let inbox = least.expect("there is one");
        inbox.load.fetch_add(1, Ordering::Relaxed);
        inbox.leave(|letters| letters.new.push(Box::pin(task)));
    }
}

impl Drop for Remote {
    fn drop(&mut self) {
        self.0.leave(|letters| letters.ended = true);
    }
}

impl Inbox {
    fn leave(&self, letter: impl FnOnce(&mut Letters)) {
        let mut letters = self.letters();
        let was_empty = letters.new.is_empty() && letters.woken.is_empty();
        letter(&mut letters);
        drop(letters);
        if was_empty {
            self.waker.wake().expect("an eventfd takes what is written");
        }
    }

    /// No code panics while it holds the lock.
    fn letters(&self) -> MutexGuard<'_, Letters> {
        self.letters.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox").field("load", &self.load).finish_non_exhaustive()
    }
}

/// One loop, on its own thread.
struct EventLoop {
    inbox: Arc<Inbox>,
    tasks: Slab<Task>,
    /// Tasks whose turn was cut short, in order. They go on when sockets and wake-ups
    /// have had their turn: whoever floods delays nobody else by more than one slice.
    yielded: VecDeque<usize>,
}

struct Task {
    future: BoxFuture<'static, ()>,
    bell: Arc<Bell>,
    /// The same bell, as futures know it.
    waker: Waker,
    /// The task is in [`EventLoop::yielded`].
    has_yielded: bool,
}

/// Wakes a task, from any thread.
struct Bell {
    inbox: Arc<Inbox>,
    key: usize,
    /// It is in the inbox already.
    rung: AtomicBool,
}

impl Wake for Bell {
    fn wake(self: Arc<Bell>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Bell>) {
        if !self.rung.swap(true, Ordering::AcqRel) {
            self.inbox.leave(|letters| letters.woken.push(self.key));
        }
    }
}

impl EventLoop {
    fn run(mut self, poll: mio::Poll, batch: usize) {
        HERE.set(Some(Here { poll, interests: Slab::new(), task: 0, turn: Turn::default() }));
        let mut events = Events::with_capacity(batch);
        let (mut has_letters, mut woken, mut unheard) = (false, VecDeque::new(), 0);
        loop {
            let busy = has_letters || !woken.is_empty() || !self.yielded.is_empty();
            let wait = busy.then_some(Duration::ZERO);
            match here(|here| here.poll.poll(&mut events, wait)) {
                Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
                polled => polled.expect("epoll_wait takes these arguments"),
            }
            let mut told = 0;
            for event in &events {
                told += 1;
                if event.token() == INBOX {
                    has_letters = true;
                } else if let Some(task) = here(|here| here.note(event)) {
                    self.poll_task(task);
                }
            }
            self.resume_yielded();
            unheard = if told < batch { 0 } else { usize::saturating_sub(unheard, 1) };
            if unheard > 0 {
                continue;
            }
            // Who is told to end if nothing has come knows by now what came before that.
            let turn = woken.len().min(batch);
            woken.drain(..turn).for_each(|key| self.wake(key));
            if woken.is_empty() && std::mem::take(&mut has_letters) {
                let letters = std::mem::take(&mut *self.inbox.letters());
                if letters.ended {
                    break;
                }
                letters.new.into_iter().for_each(|future| self.begin(future));
                woken = letters.woken.into();
                // As many times as it takes the system to tell of every socket: kqueue tells of
                // reading and writing apart.
                unheard = 1 + 2 * here(|here| here.interests.len()) / batch;
            }
        }
        // First what uses the sockets.
        self.tasks.clear();
        HERE.set(None);
    }

    fn begin(&mut self, future: BoxFuture<'static, ()>) {
        let entry = self.tasks.vacant_entry();
        let (inbox, key) = (self.inbox.clone(), entry.key());
        let bell = Arc::new(Bell { inbox, key, rung: AtomicBool::new(false) });
        entry.insert(Task { future, waker: bell.clone().into(), bell, has_yielded: false });
        self.poll_task(key);
    }

    fn wake(&mut self, key: usize) {
        if let Some(task) = self.tasks.get(key) {
            // A swap, so that what its ringer did before is seen by the poll.
            task.bell.rung.swap(false, Ordering::AcqRel);
            self.poll_task(key);
        }
    }

    /// Lets tasks whose turn was cut short go on for [`YIELDED_SLICE`], one at least.
    fn resume_yielded(&mut self) {
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
        here(|here| (here.task, here.turn) = (key, Turn::default()));
        let poll = || future.as_mut().poll(&mut Context::from_waker(waker));
        // A panic, which has been printed, ends its own task.
        if !matches!(catch_unwind(AssertUnwindSafe(poll)), Ok(Poll::Pending)) {
            self.inbox.load.fetch_sub(1, Ordering::Relaxed);
            let ended = self.tasks.remove(key);
            catch_unwind(AssertUnwindSafe(|| drop(ended))).ok();
        } else if here(|here| here.turn.is_over) && !std::mem::replace(has_yielded, true) {
            self.yielded.push_back(key);
        }
    }
}

thread_local! {
    static HERE: RefCell<Option<Here>> = const { RefCell::new(None) };
}

/// What a loop's sockets know of it.
struct Here {
    poll: mio::Poll,
    interests: Slab<Interest>,
    /// The task that is polled.
    task: usize,
    /// Its turn.
    turn: Turn,
}

/// What a task has done since it was polled, and whether it may go on.
#[derive(Clone, Copy, Default)]
struct Turn {
    /// Reads and writes so far.
    operations: u32,
    /// One of them moved [`BULK`] bytes.
    bulk: bool,
    /// When the turn ends, once the clock has been looked at.
    until: Option<Instant>,
    /// The task was told to wait for its next turn.
    is_over: bool,
}

impl Turn {
    /// Whether the task may read or write once more. If not, it has to return, and will
    /// be polled again.
    #[inline]
    fn goes_on(&mut self) -> bool {
        if self.operations < UNTIMED && !self.bulk {
            return true;
        }
        self.goes_on_by_the_clock()
    }

    fn goes_on_by_the_clock(&mut self) -> bool {
        let over = self.operations >= BUDGET || {
            let now = Instant::now();
            now >= *self.until.get_or_insert(now + TIME_SLICE)
        };
        self.is_over |= over;
        !over
    }

    /// Counts a read or write of `len` bytes.
    #[inline]
    fn count(&mut self, len: usize) {
        self.operations += 1;
        self.bulk |= len >= BULK;
    }
}

/// A socket, as its loop sees it.
struct Interest {
    task: usize,
    ready: Ready,
}

/// What a socket is ready for, as far as is known.
#[derive(Clone, Copy)]
struct Ready {
    read: bool,
    write: bool,
    /// The end is to be read, or an error: no more will be told of it.
    read_closed: bool,
    /// The connection has failed: the peer has reset it, or the kernel has given it up.
    /// What had come before can still be read.
    failed: bool,
}

/// Gives what this thread's sockets know.
///
/// # Panics
///
/// On threads that are no event loop's.
fn here<T>(f: impl FnOnce(&mut Here) -> T) -> T {
    HERE.with_borrow_mut(|here| f(here.as_mut().expect("this is an event loop")))
}

/// Whether this thread is an event loop's.
fn is_here() -> bool {
    HERE.with_borrow(Option::is_some)
}

/// Whether the task that runs, here or in the runtime, still has its turn. When it has
/// not, a socket that is pending need not be one on which nothing has arrived, and the
/// task will be polled again.
pub fn has_budget_remaining() -> bool {
    coop::has_budget_remaining()
        && HERE.with_borrow(|here| here.as_ref().is_none_or(|here| !here.turn.is_over))
}

/// Asks whether the task that runs may go on with work that is no read or write, as it
/// must before each part of such work that takes a noticeable time. If not, the task has
/// to return, and will be polled again.
pub fn goes_on(cx: &mut Context<'_>) -> bool {
    let on_loop = HERE.with_borrow_mut(|here| {
        here.as_mut().map(|here| {
            here.turn.bulk = true;
            here.turn.goes_on()
        })
    });
    on_loop.unwrap_or_else(|| takes_budget(cx))
}

/// [`goes_on`] for a read of a stream that takes nothing from the task's budget by itself, as those
/// of HTTP/2. On an event loop the answer is yes: there each socket asks.
pub fn goes_on_in_runtime(cx: &mut Context<'_>) -> bool {
    is_here() || takes_budget(cx)
}

/// Takes from the budget of a task of the runtime, if any is left.
fn takes_budget(cx: &mut Context<'_>) -> bool {
    match coop::poll_proceed(cx) {
        Poll::Ready(taken) => {
            taken.made_progress();
            true
        }
        Poll::Pending => false,
    }
}

impl Here {
    /// Notes what a socket is ready for, and says whose it is if it was not before.
    fn note(&mut self, event: &Event) -> Option<usize> {
        // It may be one that an earlier event of the same batch has ended.
        let Interest { task, ready } = self.interests.get_mut(event.token().0)?;
        let before = *ready;
        ready.read_closed |= event.is_read_closed() || event.is_error();
        ready.read |= event.is_readable() || ready.read_closed;
        ready.write |= event.is_writable() || event.is_write_closed() || event.is_error();
        // Both directions are closed by a reset, and by two ends; those are no failure.
        ready.failed |= event.is_error();
        let more = ready.read && !before.read
            || ready.write && !before.write
            // Whoever does not read for now has to know it nevertheless.
            || ready.read_closed && !before.read_closed
            || ready.failed && !before.failed;
        more.then_some(*task)
    }
}

#[cfg(test)]
mod tests;
