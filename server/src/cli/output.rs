//! Text for a standard stream, written by a dedicated thread, so that a reader that does not read
//! blocks no other thread.

use std::{
    fs::File,
    io::{self, Write},
    os::fd::{AsFd, BorrowedFd},
    sync::Arc,
    thread,
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use parking_lot::{Condvar, Mutex};

/// The time for which the process waits for the readers of its standard streams before it exits.
pub(super) const FLUSH_TIMEOUT: Duration = Duration::from_millis(500);

/// A bounded queue of text and the thread that writes it. Clones share the queue.
#[derive(Clone, Debug)]
pub(super) struct Output(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// The most bytes that are queued, besides those that are being written.
    limit: usize,
    state: Mutex<State>,
    /// Signals that the queue is no longer empty.
    filled: Condvar,
    /// Signals that the queue is empty and the thread has written everything.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<u8>,
    /// Whether the thread is writing what it took from the queue.
    writing: bool,
}

impl Output {
    /// Starts the thread, which passes the queued texts to `write`: whole texts, in order,
    /// concatenated.
    ///
    /// # Errors
    ///
    /// The system cannot start a thread.
    pub(super) fn start(
        name: &str,
        limit: usize,
        mut write: impl FnMut(&[u8]) + Send + 'static,
    ) -> io::Result<Output> {
        let inner = Arc::new(Inner {
            limit,
            state: Mutex::default(),
            filled: Condvar::new(),
            idle: Condvar::new(),
        });
        let output = Output(inner.clone());
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            loop {
                write(&inner.take());
            }
        })?;
        Ok(output)
    }

    /// Queues `text`; false if it exceeds the limit and is dropped. Never waits for the reader.
    pub(super) fn push(&self, text: &[u8]) -> bool {
        let mut state = self.0.state.lock();
        if state.queue.len().saturating_add(text.len()) > self.0.limit {
            return false;
        }
        if state.queue.is_empty() {
            self.0.filled.notify_one();
        }
        state.queue.extend_from_slice(text);
        true
    }

    /// Waits until everything is written, at most `timeout`; false if something is left.
    pub(super) fn flush(&self, timeout: Duration) -> bool {
        let busy = |state: &mut State| state.writing || !state.queue.is_empty();
        !self.0.idle.wait_while_for(&mut self.0.state.lock(), busy, timeout).timed_out()
    }
}

impl Inner {
    /// Waits for text and takes the whole queue.
    fn take(&self) -> Vec<u8> {
        let mut state = self.state.lock();
        state.writing = false;
        if state.queue.is_empty() {
            self.idle.notify_all();
        }
        self.filled.wait_while(&mut state, |state| state.queue.is_empty());
        state.writing = true;
        std::mem::take(&mut state.queue)
    }
}

/// The number of bytes that could not be written.
pub(super) struct Unwritten(pub(super) usize);

/// Writes all of `text`, also to a file in non-blocking mode: another process that shares a
/// terminal or a pipe may have set that mode.
pub(super) fn write_all(mut file: &File, text: &[u8]) -> Result<(), Unwritten> {
    let mut rest = text;
    while !rest.is_empty() {
        match file.write(rest) {
            Ok(0) => return Err(Unwritten(rest.len())),
            Ok(written) => rest = &rest[written..],
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                poll(&mut [PollFd::new(file.as_fd(), PollFlags::POLLOUT)], PollTimeout::NONE).ok();
            }
            Err(_) => return Err(Unwritten(rest.len())),
        }
    }
    Ok(())
}

/// Duplicates a standard stream. The copy has neither the lock nor the buffer of the standard
/// library, so that a thread that is stuck in a write holds neither.
pub(super) fn duplicate(stream: BorrowedFd<'_>) -> io::Result<File> {
    stream.try_clone_to_owned().map(File::from)
}
