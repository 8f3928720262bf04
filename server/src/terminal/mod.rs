//! The terminal: a line editor with a prompt, and output above the prompt. [`print()`] is for
//! commands without a prompt; the server queues its standard output (`cli/stdout.rs`).
//!
//! - `editor`: the line editor, on a dedicated thread
//! - [`history`]: the history file
//! - `screen`: the output, ordered with what the editor draws
//! - `signals`: the terminal settings when the process is stopped or terminated

mod editor;
pub(crate) mod history;
mod screen;
mod signals;

use std::io::{self, Write};

pub(crate) use self::{
    editor::{Stopped, Typed, start},
    screen::Screen,
    signals::{FATAL_SIGNALS, fatal_signal},
};

/// Writes all of `text` to standard output. Blocks while the reader is slow.
pub(crate) fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}

/// Prints text for a reader that may end early, as `head` does. Returns whether there is a reader.
pub(crate) fn print_to_reader(text: impl AsRef<[u8]>) -> io::Result<bool> {
    has_reader(print(text))
}

/// Whether standard output has a reader, by the result of a write to it.
pub(crate) fn has_reader(written: io::Result<()>) -> io::Result<bool> {
    match written {
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(false),
        written => written.map(|()| true),
    }
}
