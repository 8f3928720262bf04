//! The terminal: a prompt, and what comes above it.
//!
//! - `editor`: the prompt, on a thread of its own
//! - [`history`]: lines typed before, in a file
//! - `screen`: who writes to the terminal, and when
//! - `signals`: the terminal is given back when the program is stopped or ended

mod editor;
pub(crate) mod history;
mod screen;
mod signals;

pub(crate) use self::{
    editor::{Stopped, Typed, start},
    screen::Screen,
    signals::Deadly,
};
