//! The prompt of `connect`, and what is said behind it.

use std::{
    io::{self, Write},
    sync::Arc,
};

use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};

use super::link::Stop;
use crate::terminal::{self, Deadly, Screen, Typed, history};

/// A prompt that is to be.
#[derive(Debug)]
pub(super) struct Prompt {
    /// What is talked to.
    pub(super) url: String,
    /// Lines are remembered from one time to the next.
    pub(super) history: bool,
}

impl Prompt {
    /// Takes the terminal over, `greeting` being said first.
    pub(super) fn begin(self, greeting: Option<&str>) -> io::Result<(Typed, Arc<Screen>)> {
        if let Some(greeting) = greeting {
            writeln!(io::stderr(), "{greeting}").ok();
        }
        terminal::start(self.history.then(history::file).flatten(), Deadly::Default)
    }
}

/// What a person is told in the end: the peer's last words if it was the peer who
/// ended; and an interrupt is what it would be if no line were being edited.
pub(super) fn farewell(ended: &Result<String, Stop>, unasked: bool) {
    match ended {
        Ok(words) if unasked && !words.is_empty() => {
            writeln!(io::stderr(), "{words}").ok();
        }
        Err(Stop::Interrupted) => emulate_default_handler(SIGINT).unwrap_or_default(),
        _ => {}
    }
}
