//! The process and the system: a runtime, standard streams and the log, signals.
//!
//! - `output`: a standard stream that blocks nobody
//! - `levels`: how much is logged
//! - `signals`: SIGTERM, SIGINT, SIGHUP

mod levels;
mod output;
mod signals;

use std::{
    backtrace::{Backtrace, BacktraceStatus},
    env,
    fs::File,
    io::{self, IsTerminal, Write},
    os::fd::{AsFd, BorrowedFd},
    panic,
    sync::{OnceLock, atomic::Ordering},
    time::Duration,
};

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use tokio::{
    runtime::{Builder, Runtime},
    sync::mpsc::{Receiver, Sender, channel},
};
use tracing_subscriber::{filter::LevelFilter, fmt, prelude::*, registry};

use self::output::Output;
pub(crate) use self::signals::{Signals, signals};
use crate::connections::counters::LOG_LINES_DROPPED;

/// Tasks that a thread runs before it asks the system for events again. With tokio's 61
/// a few hundred busy connections, those of `echogate bench` above all, are asked after
/// in the middle of every round, and those at its end wait.
const EVENT_INTERVAL: u32 = 512;

/// Bytes of the log that wait for a slow reader. Lines beyond it are dropped.
const LOG_QUEUE: usize = 1024 * 1024;

/// How long the process waits at its end for the readers of its standard streams.
const LAST_FLUSH: Duration = Duration::from_millis(500);

/// The log, and everything else that is written to standard error once it is started.
static LOG: OnceLock<Output> = OnceLock::new();

/// Standard output, as far as [`print`] is used for it.
static STDOUT: OnceLock<Output> = OnceLock::new();

/// What runs everything but connections that are set up: event loops carry those.
pub(crate) fn runtime() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|e| format!("cannot start: {e}"))
}

/// A connection needs up to three file descriptors, and the usual soft limit is 1024.
pub(crate) fn raise_file_limit() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};
    let raised = getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard));
    if let Err(e) = raised {
        tracing::warn!("cannot raise the limit on open files: {e}");
    }
}

/// Starts the log, on standard error; with a console its lines go there instead, by the
/// receiver that this returns. `ECHOGATE_LOG` sets the levels. From here on no line that is
/// logged, printed or left behind by a panic blocks the thread that it comes from.
///
/// # Errors
///
/// One line: what in `ECHOGATE_LOG` makes no sense, or why there is no log.
pub(crate) fn log(console: bool) -> Result<Option<Receiver<String>>, String> {
    let asked = env::var_os("ECHOGATE_LOG").unwrap_or_default();
    let asked = asked.to_str().ok_or("ECHOGATE_LOG: not UTF-8")?;
    let default = if console { LevelFilter::WARN } else { LevelFilter::INFO };
    let levels = levels::parse(asked, default).map_err(|e| format!("ECHOGATE_LOG: {e}"))?;
    let cannot = |e| format!("cannot start the log: {e}");
    let stderr = duplicate(io::stderr().as_fd()).map_err(cannot)?;
    let (to_console, lines) = channel(1);
    let mut sink = LogSink { stderr, console: console.then_some(to_console), reported: 0 };
    let output = Output::start("log", LOG_QUEUE, move |text| sink.write(text)).map_err(cannot)?;
    LOG.set(output.clone()).map_err(|_| cannot(io::ErrorKind::AlreadyExists.into()))?;
    let layer = fmt::layer().with_ansi(in_colour(!console && io::stderr().is_terminal()));
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

/// Starts the thread that [`print`] needs.
///
/// # Errors
///
/// Why it cannot be started, in one line.
pub(crate) fn open_stdout() -> Result<(), String> {
    let cannot = |e| format!("cannot start writing to standard output: {e}");
    let stdout = duplicate(io::stdout().as_fd()).map_err(cannot)?;
    // A closed standard output is no reason not to serve.
    let write = move |text: &[u8]| drop(write_all(&stdout, text));
    let output = Output::start("stdout", usize::MAX, write).map_err(cannot)?;
    STDOUT.set(output).map_err(|_| cannot(io::ErrorKind::AlreadyExists.into()))
}

/// Prints to standard output without waiting for its reader.
pub(crate) fn print(text: &[u8]) {
    if let Some(stdout) = STDOUT.get() {
        stdout.push(text);
    }
}

/// Waits, but not for long, until what was printed is written: something else is about to
/// write to the same terminal.
pub(crate) fn flush_stdout() {
    if let Some(stdout) = STDOUT.get() {
        stdout.flush(LAST_FLUSH);
    }
}

/// Shows text where the log goes, with no level and no time.
pub(crate) fn show(text: &[u8]) {
    match LOG.get() {
        Some(log) => drop(log.push(text)),
        None => drop(io::stderr().write_all(text)),
    }
}

/// Waits until what was printed and logged is written, but not for long: its reader may be
/// stuck.
fn flush() {
    for output in [&STDOUT, &LOG].into_iter().filter_map(OnceLock::get) {
        output.flush(LAST_FLUSH);
    }
}

/// [Flushes](flush) when it is dropped, after a panic too.
pub(crate) struct FlushAtEnd;

impl Drop for FlushAtEnd {
    fn drop(&mut self) {
        flush();
    }
}

/// Counts the lines of `text` as dropped and returns their number.
fn count_dropped(text: &[u8]) -> u64 {
    let lines = text.iter().filter(|byte| **byte == b'\n').count() as u64;
    LOG_LINES_DROPPED.fetch_add(lines, Ordering::Relaxed);
    lines
}

/// Where entries of the log are queued.
struct LogWriter(Output);

impl Write for LogWriter {
    /// Takes a whole entry, or drops it.
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

/// Where the thread of the log writes.
struct LogSink {
    stderr: File,
    /// The console, as long as there is one.
    console: Option<Sender<String>>,
    /// The part of [`LOG_LINES_DROPPED`] that the log has mentioned.
    reported: u64,
}

impl LogSink {
    /// Writes entries. Those that were dropped since the last time were dropped behind them,
    /// and what is logged here comes next.
    fn write(&mut self, entries: &[u8]) {
        let dropped = LOG_LINES_DROPPED.load(Ordering::Relaxed) - self.reported;
        if dropped > 0 {
            self.reported += dropped;
            let reader = if self.console.is_some() { "console" } else { "standard error" };
            tracing::warn!("{dropped} log lines were dropped: the reader of {reader} was too slow");
        }
        if let Some(console) = &self.console {
            match console.blocking_send(String::from_utf8_lossy(entries).into_owned()) {
                Ok(()) => return,
                Err(_) => self.console = None,
            }
        }
        if let Err(Unwritten(rest)) = write_all(&self.stderr, entries) {
            // Of these nothing is ever said: what has failed is where it would be said.
            self.reported += count_dropped(&entries[entries.len() - rest..]);
        }
    }
}

/// How many bytes could not be written.
struct Unwritten(usize);

/// Writes all of `text`, also where writing does not block: another process may have set
/// that for a terminal or a pipe that it shares with this one.
fn write_all(mut file: &File, text: &[u8]) -> Result<(), Unwritten> {
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

/// The same stream without the lock and the buffer that the standard library adds, which
/// a thread that is stuck would hold.
fn duplicate(stream: BorrowedFd<'_>) -> io::Result<File> {
    stream.try_clone_to_owned().map(File::from)
}

/// Whether to write in colours: to people, unless they do not want it (no-color.org).
fn in_colour(terminal: bool) -> bool {
    terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
