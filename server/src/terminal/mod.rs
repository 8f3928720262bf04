//! The terminal: a line editor with a prompt, and output above it. Without a prompt, [`print`] writes
//! to standard output; the server queues its own (`cli/stdout.rs`).
//!
//! - `editor`: the line editor, on its own thread
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
    signals::FATAL_SIGNALS,
};

/// Writes all of `text` to standard output, and waits for its reader.
pub(crate) fn print(text: impl AsRef<[u8]>) -> io::Result<()> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_ref())?;
    out.flush()
}
