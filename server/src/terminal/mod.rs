//! The terminal: a line editor with a prompt, and output above it.
//!
//! - `editor`: the line editor, on its own thread
//! - [`history`]: the history file
//! - `screen`: the output, ordered with what the editor draws
//! - `signals`: the terminal settings when the process is stopped or terminated

mod editor;
pub(crate) mod history;
mod screen;
mod signals;

pub(crate) use self::{
    editor::{Stopped, Typed, start},
    screen::Screen,
    signals::FatalSignals,
};
