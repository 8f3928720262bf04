//! The prompt of `connect`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use crate::terminal::{self, FATAL_SIGNALS, Screen, Typed, history};

/// A prompt that has not been opened yet.
#[derive(Debug)]
pub(in crate::client) struct Prompt {
    /// The URL of the connection.
    pub(in crate::client) url: String,
    /// Typed lines are kept in the history file.
    pub(in crate::client) history: bool,
    /// The command handles the signals that terminate the process.
    pub(in crate::client) command_handles_signals: bool,
}

impl Prompt {
    /// Prints `greeting` and opens the prompt.
    pub(super) fn open(self, greeting: Option<&str>) -> io::Result<(Typed, Arc<Screen>)> {
        if let Some(greeting) = greeting {
            writeln!(io::stderr(), "{greeting}").ok();
        }
        let fatal = if self.command_handles_signals { &[][..] } else { &FATAL_SIGNALS };
        terminal::start(self.history.then(history::file).flatten(), fatal)
    }
}
