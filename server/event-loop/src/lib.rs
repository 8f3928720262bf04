#![doc = include_str!("../README.md")]

mod coop;
mod event_loop;
mod in_flight;
mod inbox;
mod state;
mod stream_socket;
mod turn;

use std::{
    error, fmt, io,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::Handle,
    sync::oneshot,
    time::{Instant, timeout_at},
};

use crate::{
    event_loop::{BATCH, EventLoop},
    inbox::Inbox,
};

pub use self::{
    coop::{has_turn, may_continue, may_continue_in_runtime},
    in_flight::InFlight,
    stream_socket::StreamSocket,
};

/// The number of the next loop. Numbers are unique in the process, so that a socket of one loop
/// is never taken for that of another.
static NEXT_NUMBER: AtomicU32 = AtomicU32::new(0);

/// Handle to a set of event loops. Clones refer to the same loops. When the last is dropped the
/// loops drop their tasks, and their threads end.
#[derive(Clone, Debug)]
pub struct EventLoops(Arc<[LoopHandle]>);

#[derive(Debug)]
struct LoopHandle {
    number: u32,
    inbox: Arc<Inbox>,
}

/// An event loop that has not answered a ping in time: something blocks its thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StuckLoop {
    /// The number of the loop, which is in the name of its thread, `loop-N`.
    pub number: u32,
}

impl fmt::Display for StuckLoop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "event loop {} does not answer", self.number)
    }
}

impl error::Error for StuckLoop {}

impl EventLoops {
    /// Starts one loop for each core.
    ///
    /// # Errors
    ///
    /// The system has no more threads or file descriptors.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime, whose timers and channels the tasks may use.
    pub fn start() -> io::Result<EventLoops> {
        EventLoops::with_threads(thread::available_parallelism().map_or(1, usize::from), BATCH)
    }

    fn with_threads(threads: usize, batch: usize) -> io::Result<EventLoops> {
        let start = |_| LoopHandle::start(batch);
        Ok(EventLoops((0..threads).map(start).collect::<io::Result<_>>()?))
    }

    /// Runs `task` on the loop that has the fewest tasks, until the task ends.
    pub fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let inboxes = self.0.iter().map(|handle| &handle.inbox);
        let least = inboxes.min_by_key(|inbox| inbox.load.load(Ordering::Relaxed));
        let inbox = least.expect("there is at least one loop");
        inbox.load.fetch_add(1, Ordering::Relaxed);
        inbox.push(|pending| pending.new.push(Box::pin(task)));
    }

    /// Waits until every loop has answered, between two tasks of its own. Returns the time that each
    /// of them took.
    ///
    /// # Errors
    ///
    /// The first loop that has not answered `within` this time.
    pub async fn ping(&self, within: Duration) -> Result<Vec<Duration>, StuckLoop> {
        let asked = Instant::now();
        let until = asked + within;
        let answers: Vec<_> = self.0.iter().map(LoopHandle::ping).collect();
        let mut times = Vec::with_capacity(answers.len());
        for (LoopHandle { number, .. }, answer) in self.0.iter().zip(answers) {
            let answered = timeout_at(until, answer).await.ok().and_then(Result::ok);
            let answered = answered.ok_or(StuckLoop { number: *number })?;
            times.push(answered.duration_since(asked));
        }
        Ok(times)
    }
}

impl LoopHandle {
    fn start(batch: usize) -> io::Result<LoopHandle> {
        let number = NEXT_NUMBER.fetch_add(1, Ordering::Relaxed);
        let poll = mio::Poll::new()?;
        let inbox = Arc::new(Inbox::new(poll.registry())?);
        let event_loop = EventLoop::new(number, inbox.clone());
        let runtime = Handle::current();
        thread::Builder::new().name(format!("loop-{number}")).spawn(move || {
            let _entered = runtime.enter();
            event_loop.run(poll, batch);
        })?;
        Ok(LoopHandle { number, inbox })
    }

    /// Sends a ping, which the loop answers with the time at which it handles the ping.
    fn ping(&self) -> oneshot::Receiver<Instant> {
        let (ping, answer) = oneshot::channel();
        self.inbox.push(|pending| {
            // Pings whose sender has stopped waiting do not accumulate at a loop that is stuck.
            pending.pings.retain(|ping| !ping.is_closed());
            pending.pings.push(ping);
        });
        answer
    }
}

impl Drop for LoopHandle {
    fn drop(&mut self) {
        self.inbox.push(|pending| pending.is_shut_down = true);
    }
}

#[cfg(test)]
mod tests;
