//! The modes of `echogate connect` and `listen`.
//!
//! - `pipe`: bytes from the standard input, bytes to the standard output
//! - `messages`: messages from a prompt, the lines of the input or a clock

pub(super) mod messages;
pub(super) mod pipe;

use self::{messages::Messages, pipe::Pipe};
use super::{session::SessionError, transport::Connection};

/// The mode of a command.
#[derive(Debug)]
pub(super) enum Mode {
    Pipe(Pipe),
    Messages(Box<Messages>),
}

impl Mode {
    /// Waits for `next`. Returns `None` if the user ends the input of the prompt first.
    pub(super) async fn until_done<T>(
        &mut self,
        next: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<Option<T>, SessionError> {
        match self {
            Mode::Pipe(_) => next.await.map(Some),
            Mode::Messages(messages) => messages.until_done(next).await,
        }
    }

    /// Whether the input has an end, so that a connection that is cut leaves the peer a part of it.
    pub(super) fn has_end(&self) -> bool {
        match self {
            Mode::Pipe(_) => true,
            Mode::Messages(messages) => messages.has_end(),
        }
    }

    /// Exchanges the standard streams over `connection`, and returns the description of the end.
    pub(super) async fn run(&mut self, connection: Connection) -> Result<String, SessionError> {
        match self {
            Mode::Pipe(pipe) => pipe.run(connection).await,
            Mode::Messages(messages) => messages.run(connection).await,
        }
    }

    /// Writes a notice about a client, unless `--quiet` is given.
    pub(super) async fn notice(&self, text: &str) -> Result<(), SessionError> {
        match self {
            Mode::Pipe(pipe) => pipe.notice(text),
            Mode::Messages(messages) => messages.notice(text).await?,
        }
        Ok(())
    }

    /// Closes the prompt, and reports `ended`, the end of the last session.
    pub(super) fn close(self, ended: Result<String, SessionError>) -> Result<(), SessionError> {
        match self {
            Mode::Pipe(_) => ended.map(drop),
            Mode::Messages(messages) => messages.close(ended),
        }
    }
}
