//! The log: levels from `ECHOGATE_LOG` or `RUST_LOG`, and a queue to standard error or the console,
//! so that logging blocks no thread.

mod format;
mod levels;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::AsFd,
    panic,
    sync::{OnceLock, atomic::Ordering},
};

use tokio::sync::mpsc::{Receiver, Sender, channel};
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*, registry};

use self::format::EventFormat;
use super::output::{FLUSH_TIMEOUT, Output, Unwritten, duplicate, write_all};
use crate::{config::LogFormat, connections::counters::LOG_LINES_DROPPED};

/// The most bytes of the log that are queued for a slow reader. Further lines are dropped.
const LOG_QUEUE: usize = 1024 * 1024;

/// The queue of the log. Once it is started, everything on standard error goes through it.
static LOG: OnceLock<Output> = OnceLock::new();

/// Starts the log with the levels of `ECHOGATE_LOG` or, if that is not set, of `RUST_LOG`. The log
/// goes to standard error, or with `console` to the returned receiver. From here on, no line that
/// is logged, shown or written by a panic blocks its thread.
///
/// # Errors
///
/// One line: the invalid part of `ECHOGATE_LOG`, or why the log cannot be started.
pub(super) fn start(console: bool) -> Result<Option<Receiver<String>>, String> {
    let default = if console { LevelFilter::WARN } else { LevelFilter::INFO };
    let levels = match env::var_os("ECHOGATE_LOG").filter(|value| !value.is_empty()) {
        Some(value) => {
            let text = value.to_str().ok_or("ECHOGATE_LOG: not UTF-8")?;
            levels::parse(text, default).map_err(|e| format!("ECHOGATE_LOG: {e}"))?
        }
        None => {
            let text = env::var_os("RUST_LOG").unwrap_or_default();
            levels::parse_shared(&text.to_string_lossy(), default)
        }
    };
    let failed = |e| format!("cannot start the log: {e}");
    let stderr = duplicate(io::stderr().as_fd()).map_err(failed)?;
    let (to_console, lines) = channel(1);
    let mut sink = LogSink { stderr, console: console.then_some(to_console), reported: 0 };
    let output = Output::start("log", LOG_QUEUE, move |text| sink.write(text)).map_err(failed)?;
    LOG.set(output.clone()).map_err(|_| failed(io::ErrorKind::AlreadyExists.into()))?;
    let layer = fmt::layer().event_format(EventFormat::default());
    let layer = layer.with_ansi(!console && use_colours());
    registry()
        .with(layer.with_writer(move || LogWriter(output.clone())).with_filter(levels))
        .init();
    panic::set_hook(Box::new(|panic| {
        let backtrace = Backtrace::capture();
        match backtrace.status() {
            BacktraceStatus::Captured => tracing::error!("{panic}\n{backtrace}"),
            _ => tracing::error!("{panic}"),
        }
    }));
    Ok(console.then_some(lines))
}

/// Writes text to the log's destination without level and time; before the log is started, to
/// standard error.
pub(super) fn show(text: &[u8]) {
    match LOG.get() {
        Some(log) => drop(log.push(text)),
        None => drop(io::stderr().write_all(text)),
    }
}

/// Writes the error that ends the program.
pub(super) fn show_error(error: &str) {
    show(
        match LogFormat::in_force() {
            LogFormat::Text => format!("echogate: {error}\n"),
            LogFormat::Json => format::error_line(error),
        }
        .as_bytes(),
    );
}

/// Waits until the queued lines are written, at most [`FLUSH_TIMEOUT`].
pub(super) fn flush() {
    if let Some(log) = LOG.get() {
        log.flush(FLUSH_TIMEOUT);
    }
}

/// Counts the lines of `text` as dropped and returns their number.
fn count_dropped(text: &[u8]) -> u64 {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    LOG_LINES_DROPPED.fetch_add(lines, Ordering::Relaxed);
    lines
}

/// The writer that the tracing layer formats entries into.
struct LogWriter(Output);

impl Write for LogWriter {
    /// Queues a whole entry, or drops it if the queue is full.
    fn write(&mut self, entry: &[u8]) -> io::Result<usize> {
        if !self.0.push(entry) {
            count_dropped(entry);
        }
        Ok(entry.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The destination of the log; its thread alone uses it.
struct LogSink {
    stderr: File,
    /// The console, as long as there is one.
    console: Option<Sender<String>>,
    /// The part of [`LOG_LINES_DROPPED`] that the log has reported.
    reported: u64,
}

impl LogSink {
    /// Writes queued entries. If lines were dropped since the last call, queues a warning: it
    /// follows these entries, as the dropped lines would have.
    fn write(&mut self, entries: &[u8]) {
        let dropped = LOG_LINES_DROPPED.load(Ordering::Relaxed) - self.reported;
        if dropped > 0 {
            self.reported += dropped;
            let reader = if self.console.is_some() { "console" } else { "standard error" };
            tracing::warn!("{dropped} log lines were dropped: the reader of {reader} is too slow");
        }
        if let Some(console) = &self.console {
            match console.blocking_send(String::from_utf8_lossy(entries).into_owned()) {
                Ok(()) => return,
                Err(_) => self.console = None,
            }
        }
        if let Err(Unwritten(rest)) = write_all(&self.stderr, entries) {
            // These lines are counted as reported: writing the report would fail as well.
            self.reported += count_dropped(&entries[entries.len() - rest..]);
        }
    }
}

/// Whether standard error is a terminal and `NO_COLOR` (no-color.org) is not set.
fn use_colours() -> bool {
    io::stderr().is_terminal() && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
