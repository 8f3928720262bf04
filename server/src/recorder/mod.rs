//! The recorder: a thread that writes the bytes of connections into files. Connections put events into
//! its queue, and never wait for the thread.
//!
//! - [`writer`]: the files, one after the other; [`directory`]: their names, and their limit;
//!   [`unwritten`]: the events that are not in a file yet
//! - `thread`: takes events from the queue to the writer; `settings`: the recorder's settings

mod directory;
mod settings;
mod thread;
mod unwritten;
mod writer;

use std::{
    io, mem,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use futures_util::future::join_all;
use parking_lot::Mutex;
use tokio::time::timeout;

pub(crate) use self::settings::RecorderSettings;
use self::thread::RecorderThread;
use crate::connections::tap::{Budget, Sink};

/// The maximum size of the events that wait to be written, in bytes.
const MAX_QUEUE: usize = 32 << 20;

/// The recorder of a server. Clones share one thread.
#[derive(Clone, Debug)]
pub(crate) struct Recorder(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    thread: Mutex<Option<RecorderThread>>,
    /// Threads that were stopped by a reload, and may still write what is queued.
    stopping: Mutex<Vec<RecorderThread>>,
    budget: Arc<Budget>,
    recorded: Arc<AtomicU64>,
}

impl Default for Recorder {
    fn default() -> Recorder {
        Recorder(Arc::new(Inner {
            thread: Mutex::default(),
            stopping: Mutex::default(),
            // The batch that is being written no longer counts.
            budget: Arc::new(Budget::new(MAX_QUEUE)),
            recorded: Arc::default(),
        }))
    }
}

impl Recorder {
    /// Starts the recorder, changes its settings, or stops it after the queued events.
    ///
    /// # Errors
    ///
    /// The thread cannot be started.
    pub(crate) fn apply(&self, settings: Option<&RecorderSettings>) -> io::Result<()> {
        let mut thread = self.0.thread.lock();
        match (settings, &*thread) {
            (None, _) => {
                let stopped = thread.take().inspect(RecorderThread::stop);
                let mut stopping = self.0.stopping.lock();
                stopping.extend(stopped);
                stopping.retain_mut(|thread| !thread.has_ended());
            }
            (Some(settings), Some(running)) if running.is_recording() => {
                running.set(settings.clone());
            }
            (Some(settings), _) => {
                let Inner { budget, recorded, .. } = &*self.0;
                let queue = Sink::new(MAX_QUEUE, budget.clone());
                let started = RecorderThread::start(settings.clone(), queue, recorded.clone())?;
                *thread = Some(started);
            }
        }
        Ok(())
    }

    /// The queue for events of connections that are recorded; none if the recorder does not run.
    pub(crate) fn queue(&self) -> Option<Sink> {
        self.0.thread.lock().as_ref().map(|thread| thread.queue().clone())
    }

    /// Writes the queued events and ends the threads, within `limit`.
    pub(crate) async fn end(&self, limit: Duration) {
        let running = self.0.thread.lock().take().inspect(RecorderThread::stop);
        let stopping = mem::take(&mut *self.0.stopping.lock());
        let all = join_all(running.into_iter().chain(stopping).map(RecorderThread::ended));
        if timeout(limit, all).await.is_err() {
            tracing::warn!(
                "recording incomplete: events were still queued at the end of the shutdown \
                 (allow more time with --drain)"
            );
        }
    }

    /// Whether events are written.
    pub(crate) fn is_recording(&self) -> bool {
        self.0.thread.lock().as_ref().is_some_and(RecorderThread::is_recording)
    }

    /// The size of all files so far, in bytes.
    pub(crate) fn recorded_bytes(&self) -> u64 {
        self.0.recorded.load(Ordering::Relaxed)
    }

    /// The number of events that were lost so far.
    pub(crate) fn lost_events(&self) -> u64 {
        self.0.budget.lost_events()
    }
}
