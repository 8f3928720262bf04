//! Queued standard output of the server, so that the server never waits for the reader.

use std::{io, os::fd::AsFd, sync::OnceLock};

use super::output::{FLUSH_TIMEOUT, Output, duplicate, write_all};

/// The queue, once it is started.
static STDOUT: OnceLock<Output> = OnceLock::new();

/// Starts the thread that writes the output of [`queue`].
///
/// # Errors
///
/// One line that says why the thread cannot be started.
pub(super) fn start() -> Result<(), String> {
    let failed = |e| format!("cannot start writing to standard output: {e}");
    let stdout = duplicate(io::stdout().as_fd()).map_err(failed)?;
    // A server serves even if its standard output is closed.
    let write = move |text: &[u8]| drop(write_all(&stdout, text));
    let output = Output::start("stdout", usize::MAX, write).map_err(failed)?;
    STDOUT.set(output).map_err(|_| failed(io::ErrorKind::AlreadyExists.into()))
}

/// Queues text for standard output; never waits for its reader.
pub(super) fn queue(text: &[u8]) {
    if let Some(stdout) = STDOUT.get() {
        stdout.push(text);
    }
}

/// Waits until the queued text is written, at most [`FLUSH_TIMEOUT`].
pub(super) fn flush() {
    if let Some(stdout) = STDOUT.get() {
        stdout.flush(FLUSH_TIMEOUT);
    }
}
