//! One session: its queue, which the task of the socket fills, and its transport.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::Duration,
};

use echogate_event_loop::{InFlight, may_continue_in_runtime};
use parking_lot::{Mutex, MutexGuard};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};
use tokio_util::task::task_tracker::TaskTrackerToken;

use crate::{
    connections::counters::Counters,
    net::{
        datagram_socket::{DatagramSocket, Sender},
        stream::Transport,
    },
};

/// The limits of a queue: its datagrams, and its bytes unless it has only one datagram.
const MAX_QUEUED: usize = 64;
const MAX_QUEUED_BYTES: usize = 256 * 1024;

/// The datagrams of a session that its relay has not read yet, and the state of the session.
#[derive(Debug)]
pub(super) struct SessionQueue(Mutex<State>);

#[derive(Debug)]
struct State {
    queue: VecDeque<Box<[u8]>>,
    queued_bytes: usize,
    /// The task of the relay, once it has read.
    waker: Option<Waker>,
    /// The time of the last datagram in either direction.
    last: Instant,
    stage: SessionStage,
}

/// The progress of the end of a session.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SessionStage {
    /// Datagrams pass in both directions.
    Open,
    /// The queue gets no more datagrams.
    Ended,
    /// The queue gets no more datagrams, and no replies are sent.
    Failed,
    /// The relay has dropped the session.
    Dropped,
}

impl SessionQueue {
    /// The empty queue of a new session.
    pub(super) fn new() -> SessionQueue {
        SessionQueue(Mutex::new(State {
            queue: VecDeque::new(),
            queued_bytes: 0,
            waker: None,
            last: Instant::now(),
            stage: SessionStage::Open,
        }))
    }

    /// Appends a datagram; false if the queue is full, none if the session takes no more.
    pub(super) fn push(&self, datagram: &[u8]) -> Option<bool> {
        let mut state = self.0.lock();
        if state.stage != SessionStage::Open {
            return None;
        }
        let bytes = state.queued_bytes + datagram.len();
        let len = state.queue.len();
        if len == MAX_QUEUED || len > 0 && bytes > MAX_QUEUED_BYTES {
            return Some(false);
        }
        state.queue.push_back(datagram.into());
        state.queued_bytes = bytes;
        state.last = Instant::now();
        if len == 0 {
            wake(state);
        }
        Some(true)
    }

    /// Whether the session takes more datagrams.
    pub(super) fn is_open(&self) -> bool {
        self.0.lock().stage == SessionStage::Open
    }

    /// Whether the relay has dropped the session.
    pub(super) fn is_dropped(&self) -> bool {
        self.0.lock().stage == SessionStage::Dropped
    }

    /// The time since the last datagram in either direction.
    pub(super) fn idle_time(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.0.lock().last)
    }

    /// Ends the session's input after its queue.
    pub(super) fn end(&self) {
        self.advance(SessionStage::Ended);
    }

    /// Ends the session's output, too.
    pub(super) fn fail(&self) {
        self.advance(SessionStage::Failed);
    }

    fn advance(&self, stage: SessionStage) {
        let mut state = self.0.lock();
        if state.stage < stage {
            state.stage = stage;
            wake(state);
        }
    }
}

/// Wakes the task of the relay, after the lock is released.
fn wake(state: MutexGuard<'_, State>) {
    let waker = state.waker.clone();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

/// A transport of messages between a bound datagram socket and one sender: each read returns one
/// datagram of the sender, which may be empty, and each write sends one to it, from the local
/// address that the sender called. For tasks of the runtime, not of an event loop.
///
/// A write never waits: a datagram that the system does not take is dropped and counted. It is an
/// error if the sender's Unix socket is closed, or its file removed.
#[derive(Debug)]
pub(crate) struct DatagramSession {
    socket: Arc<DatagramSocket>,
    sender: Sender,
    queue: Arc<SessionQueue>,
    counters: Arc<Counters>,
    has_read_end: bool,
    _token: TaskTrackerToken,
}

impl DatagramSession {
    pub(super) fn new(
        socket: Arc<DatagramSocket>,
        sender: Sender,
        queue: Arc<SessionQueue>,
        counters: Arc<Counters>,
        token: TaskTrackerToken,
    ) -> DatagramSession {
        DatagramSession { socket, sender, queue, counters, has_read_end: false, _token: token }
    }
}

impl Drop for DatagramSession {
    fn drop(&mut self) {
        let mut state = self.queue.0.lock();
        state.stage = SessionStage::Dropped;
        state.queue.iter().for_each(|_| self.counters.datagram_dropped());
        (state.queue, state.queued_bytes) = (VecDeque::new(), 0);
    }
}

impl AsyncRead for DatagramSession {
    /// Takes from the budget of the task, as reads of a socket do.
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !may_continue_in_runtime(cx) {
            return Poll::Pending;
        }
        let session = self.get_mut();
        let mut state = session.queue.0.lock();
        if !state.waker.as_ref().is_some_and(|waker| waker.will_wake(cx.waker())) {
            state.waker = Some(cx.waker().clone());
        }
        session.has_read_end = false;
        if let Some(datagram) = state.queue.pop_front() {
            state.queued_bytes -= datagram.len();
            drop(state);
            let len = datagram.len().min(buf.remaining());
            buf.put_slice(&datagram[..len]);
            return Poll::Ready(Ok(()));
        }
        if state.stage == SessionStage::Open {
            return Poll::Pending;
        }
        session.has_read_end = true;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for DatagramSession {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        use io::ErrorKind::{BrokenPipe, ConnectionRefused, NotFound};

        if self.queue.0.lock().stage >= SessionStage::Failed {
            return Poll::Ready(Err(BrokenPipe.into()));
        }
        match self.socket.try_send(bytes, &self.sender) {
            Ok(()) => self.queue.0.lock().last = Instant::now(),
            Err(e) if matches!(e.kind(), ConnectionRefused | NotFound) => {
                return Poll::Ready(Err(e));
            }
            Err(_) => self.counters.datagram_dropped(),
        }
        Poll::Ready(Ok(bytes.len()))
    }

    /// Does nothing: writes are not buffered.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    /// Ends the session: an upstream that has ended its output may not take further datagrams, and
    /// those of another session reach it on a new connection.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.queue.end();
        Poll::Ready(Ok(()))
    }
}

impl Transport for DatagramSession {
    fn has_ended(&self) -> bool {
        self.queue.0.lock().stage >= SessionStage::Ended
    }

    fn has_failed(&self) -> bool {
        self.queue.0.lock().stage >= SessionStage::Failed
    }

    fn in_flight(&self) -> Option<InFlight> {
        Some(InFlight::NOTHING)
    }

    /// Does nothing: datagrams have no reset.
    fn reset_on_drop(&mut self) {}

    fn reads_messages(&self) -> bool {
        true
    }

    fn has_read_end(&self) -> bool {
        self.has_read_end
    }
}
