//! The thread of the recorder.

use std::{
    io,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    task::{Wake, Waker},
    thread::{self, Thread},
    time::{Duration, Instant},
};

use parking_lot::Mutex;
use tokio::sync::oneshot::{self, error::TryRecvError};

use super::{settings::RecorderSettings, writer::Writer};
use crate::connections::tap::{Batch, Sink};

/// The maximum time between an event and its write to the file.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// The size of the queue, in bytes, at which a connection wakes the thread while encoded events await
/// the flush. To wake it for less takes longer than to write the events; longer batches delay the
/// connections on its core.
const WAKE_SIZE: usize = 32 << 10;

/// The minimum time from one batch to the next: connections with many events do not have to wake the
/// thread.
const PAUSE: Duration = Duration::from_millis(2);

/// A running thread.
#[derive(Debug)]
pub(super) struct RecorderThread {
    queue: Sink,
    control: Arc<Control>,
    thread: Thread,
    /// Dropped when the thread ends.
    ended: oneshot::Receiver<()>,
}

/// Orders to the thread, which it reads before each batch.
#[derive(Debug, Default)]
struct Control {
    settings: Mutex<Option<RecorderSettings>>,
    stop: AtomicBool,
}

impl RecorderThread {
    /// Starts a thread that writes what comes from `queue`, and counts the bytes in `recorded`.
    pub(super) fn start(
        settings: RecorderSettings,
        queue: Sink,
        recorded: Arc<AtomicU64>,
    ) -> io::Result<RecorderThread> {
        let control = Arc::new(Control::default());
        let (sender, ended) = oneshot::channel::<()>();
        let (closing, own_control) = (Closing(queue.clone()), control.clone());
        let run = move || {
            let _sender = sender;
            let mut writer = Writer::new(settings, recorded);
            if let Err(why) = record(&mut writer, &closing.0, &own_control) {
                writer.lose(closing.0.close().drain());
                closing.0.count_lost(writer.end_with_losses());
                tracing::warn!(
                    "recording stopped: {why}; solve the problem and send SIGHUP to start \
                     recording again"
                );
            }
        };
        let thread = thread::Builder::new().name("recorder".to_owned()).spawn(run)?;
        Ok(RecorderThread { queue, control, thread: thread.thread().clone(), ended })
    }

    pub(super) fn queue(&self) -> &Sink {
        &self.queue
    }

    /// Whether the thread accepts events.
    pub(super) fn is_recording(&self) -> bool {
        !self.queue.is_closed()
    }

    /// Changes the settings.
    pub(super) fn set(&self, settings: RecorderSettings) {
        *self.control.settings.lock() = Some(settings);
        self.thread.unpark();
    }

    /// Orders the thread to end after the queued events.
    pub(super) fn stop(&self) {
        self.control.stop.store(true, Ordering::Release);
        self.thread.unpark();
    }

    /// Whether the thread has ended.
    pub(super) fn has_ended(&mut self) -> bool {
        !matches!(self.ended.try_recv(), Err(TryRecvError::Empty))
    }

    /// Waits for the end of the thread.
    pub(super) async fn ended(self) {
        self.ended.await.ok();
    }
}

/// A queue that is closed when the thread ends, also by a panic.
struct Closing(Sink);

impl Drop for Closing {
    fn drop(&mut self) {
        self.0.close();
    }
}

/// Wakes a thread.
struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Writes events until the thread is to stop.
///
/// # Errors
///
/// One line: nothing more can be written.
fn record(writer: &mut Writer, queue: &Sink, control: &Control) -> Result<(), String> {
    let waker = Waker::from(Arc::new(Unpark(thread::current())));
    let (mut batch, mut flushed) = (Batch::default(), Instant::now());
    loop {
        // Read before the queue, so that events queued before the order to stop are written.
        let stop = control.stop.load(Ordering::Acquire);
        let settings = control.settings.lock().take();
        let has_events = queue.take(&mut batch);
        if has_events {
            writer.add_all(batch.drain())?;
        }
        if let Some(settings) = settings {
            writer.set(settings)?;
        }
        if stop {
            return writer.end_file();
        }
        if flushed.elapsed() >= FLUSH_INTERVAL {
            writer.flush()?;
            flushed = Instant::now();
        }
        if has_events {
            // Unlike `park`, `sleep` leaves the token of an order for the wait below.
            thread::sleep(PAUSE);
        }
        if writer.is_flushed() {
            // The take of an empty queue releases the memory of a burst.
            if !has_events && queue.wake_at_size(0, &waker) {
                thread::park();
            }
        } else if queue.wake_at_size(WAKE_SIZE, &waker) {
            thread::park_timeout(FLUSH_INTERVAL.saturating_sub(flushed.elapsed()));
        }
    }
}
