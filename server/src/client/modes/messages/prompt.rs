//! The prompt of `connect`.

use std::{
    io::{self, Write},
    sync::Arc,
};

use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};

use crate::{
    client::session::SessionError,
    terminal::{self, Screen, Typed, history},
};

/// A prompt that has not been opened yet.
#[derive(Debug)]
pub(in crate::client) struct Prompt {
    /// The URL of the connection.
    pub(in crate::client) url: String,
    /// Typed lines are kept in the history file.
    pub(in crate::client) history: bool,
}

impl Prompt {
    /// Prints `greeting` and opens the prompt.
    pub(super) fn open(self, greeting: Option<&str>) -> io::Result<(Typed, Arc<Screen>)> {
        if let Some(greeting) = greeting {
            writeln!(io::stderr(), "{greeting}").ok();
        }
        terminal::start(self.history.then(history::file).flatten(), &terminal::FATAL_SIGNALS)
    }
}

/// Reports the end of a session at a prompt: the description is printed if it is to be `reported`; after Ctrl-C the process ends by SIGINT, as without a prompt.
pub(super) fn report_end(ended: &Result<String, SessionError>, reported: bool) {
    match ended {
        Ok(description) if reported && !description.is_empty() => {
            writeln!(io::stderr(), "{description}").ok();
        }
        Err(SessionError::Interrupted) => emulate_default_handler(SIGINT).unwrap_or_default(),
        _ => {}
    }
}
