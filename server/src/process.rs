//! What the program needs of the system: a runtime, a log, files, signals.

use std::{
    env,
    io::{self, IsTerminal},
};

use tokio::{
    runtime::{Builder, Runtime},
    signal::unix::{Signal, SignalKind, signal},
    sync::mpsc::Receiver,
};
use tracing_subscriber::{filter::Targets, fmt, prelude::*, registry};

use crate::chat;

/// Tasks that a thread runs before it asks the system for events again. With tokio's 61
/// a few hundred busy connections, those of `echogate bench` above all, are asked after
/// in the middle of every round, and those at its end wait.
const EVENT_INTERVAL: u32 = 512;

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

/// Starts the log, on the standard error; with a console what matters of it goes there
/// instead, and is what this gives. `ECHOGATE_LOG` says how much is logged: a level, or
/// several with the modules that they are for, as `info,echogate::http=debug`.
///
/// # Errors
///
/// What of that makes no sense.
pub(crate) fn log(console: bool) -> Result<Option<Receiver<String>>, String> {
    let default = if console { "warn" } else { "info" };
    let asked = env::var("ECHOGATE_LOG").ok().filter(|asked| !asked.is_empty());
    let levels: Targets = asked
        .as_deref()
        .unwrap_or(default)
        .parse()
        .map_err(|e| format!("ECHOGATE_LOG: {e}; expected a level, as info or debug"))?;
    let log = fmt::layer().with_ansi(in_colour(!console && io::stderr().is_terminal()));
    if !console {
        registry().with(log.with_writer(io::stderr).with_filter(levels)).init();
        return Ok(None);
    }
    let (to_console, lines) = chat::Log::new();
    registry().with(log.with_writer(to_console).with_filter(levels)).init();
    Ok(Some(lines))
}

/// Whether to write in colours: to people, unless they do not want it (no-color.org).
fn in_colour(terminal: bool) -> bool {
    terminal && env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Ready at each SIGHUP.
pub(crate) fn hangup() -> io::Result<Signal> {
    signal(SignalKind::hangup())
}

/// Ready at the first SIGTERM or SIGINT; the second ends the process at once.
pub(crate) fn stop() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        tracing::info!("ending; a second signal ends at once");
        tokio::spawn(async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            std::process::exit(1);
        });
    })
}
