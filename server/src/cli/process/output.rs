//! Text for a standard stream, written by a thread of its own, so that a reader that does
//! not read blocks no other thread.

use std::{
    io,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// A bounded queue of text and the thread that writes it. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct Output(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    /// Bytes that the queue holds at most, beside those that are being written.
    limit: usize,
    state: Mutex<State>,
    /// The queue is no longer empty.
    filled: Condvar,
    /// The queue is empty, and the thread is done with what was in it.
    idle: Condvar,
}

#[derive(Debug, Default)]
struct State {
    queue: Vec<u8>,
    /// The thread is writing what it took from the queue.
    writing: bool,
}

impl Output {
    /// Starts the thread, which passes all that is queued to `write`: whole texts, in
    /// their order, as many at once as there are.
    ///
    /// # Errors
    ///
    /// The system's, if it starts no thread.
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

    /// Queues `text`, unless that exceeds the limit: then it is dropped and this is false.
    /// Never waits for the reader.
    pub(crate) fn push(&self, text: &[u8]) -> bool {
        let mut state = self.0.state();
        if state.queue.len().saturating_add(text.len()) > self.0.limit {
            return false;
        }
        if state.queue.is_empty() {
            self.0.filled.notify_one();
        }
        state.queue.extend_from_slice(text);
        true
    }

    /// Waits until everything is written, but no longer than `within`; false if it is not.
    pub(crate) fn flush(&self, within: Duration) -> bool {
        let busy = |state: &mut State| state.writing || !state.queue.is_empty();
        let waited = self.0.idle.wait_timeout_while(self.0.state(), within, busy);
        !waited.unwrap_or_else(PoisonError::into_inner).1.timed_out()
    }
}

impl Inner {
    /// Waits for text and takes all of it.
    fn take(&self) -> Vec<u8> {
        let mut state = self.state();
        state.writing = false;
        if state.queue.is_empty() {
            self.idle.notify_all();
        }
        let empty = |state: &mut State| state.queue.is_empty();
        let waited = self.filled.wait_while(state, empty);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.writing = true;
        std::mem::take(&mut state.queue)
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc;

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    #[test]
    fn a_reader_that_does_not_read_blocks_nobody_and_loses_only_what_exceeds_the_limit() {
        let (to_reader, reader) = mpsc::sync_channel::<Vec<u8>>(0);
        let (taken, started) = mpsc::channel();
        let output = Output::start("test", 10, move |text| {
            taken.send(()).unwrap();
            to_reader.send(text.to_vec()).unwrap();
        })
        .unwrap();
        assert!(output.push(b"being written\n"[4..].as_ref()));
        started.recv_timeout(PATIENCE).unwrap();
        assert!(output.push(b"12345") && output.push(b"67890"));
        assert!(!output.push(b"x"), "the queue is full");
        assert!(!output.flush(Duration::ZERO));
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), b"g written\n");
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), b"1234567890");
        assert!(output.flush(PATIENCE));
        assert!(output.push(b"again"));
        assert_eq!(reader.recv_timeout(PATIENCE).unwrap(), b"again");
    }
}
