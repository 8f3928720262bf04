//! The tokio runtime and the limit on open files.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

/// Tasks that a worker thread runs before it polls the system for events again. With tokio's
/// default of 61, a poll interrupts each round over a few hundred busy connections, as `echogate
/// bench` has them, and delays the connections at the end of the round.
const EVENT_INTERVAL: u32 = 512;

/// Starts the multi-threaded runtime, which runs everything except established connections:
/// those run on event loops.
pub(super) fn start() -> Result<Runtime, String> {
    Builder::new_multi_thread()
        .enable_all()
        .event_interval(EVENT_INTERVAL)
        .build()
        .map_err(|e| format!("cannot start the runtime: {e}"))
}

/// Raises the soft limit on open files to the hard limit: a connection needs up to three file
/// descriptors, and the usual soft limit is 1024.
///
/// # Errors
///
/// The text of a warning: the limit stays as it is.
pub(super) fn raise_file_limit() -> Result<(), String> {
    getrlimit(Resource::RLIMIT_NOFILE)
        .and_then(|(_, hard)| setrlimit(Resource::RLIMIT_NOFILE, hard, hard))
        .map_err(|e| format!("cannot raise the limit on open files (RLIMIT_NOFILE): {e}"))
}
