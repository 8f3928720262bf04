//! Sessions one after the other: one for each message, or a new one after a lost connection.

use std::time::Duration;

use tokio::time::sleep;

use super::{
    modes::{Mode, messages::Messages},
    session::SessionError,
    target::Target,
    transport::{Connection, TransportOptions},
};
use crate::{runtime::backoff, text::io_error::describe};

/// The rules by which connections are made.
#[derive(Debug)]
pub(super) struct ConnectionPolicy {
    /// Each message gets a new connection.
    pub(super) once: bool,
    /// A connection that fails, or ends before all messages are sent, is made again.
    pub(super) reconnect: bool,
    pub(super) transport: TransportOptions,
}

impl ConnectionPolicy {
    /// Connects to `target`.
    async fn connect(&self, target: &Target) -> Result<Connection, SessionError> {
        Connection::open(target, &self.transport).await.map_err(SessionError::Connection)
    }

    /// Sends all of the input, and returns the description of the last connection's end.
    pub(super) async fn run(
        &self,
        target: &Target,
        mode: &mut Mode,
    ) -> Result<String, SessionError> {
        let messages = match mode {
            Mode::Pipe(pipe) => return pipe.run(self.connect(target).await?).await,
            Mode::Messages(messages) => messages,
        };
        if !self.once {
            return self.run_one(target, messages).await;
        }
        messages.begin("one connection for each line; Ctrl-D ends the input")?;
        while messages.prepare().await? {
            self.run_one(target, messages).await?;
        }
        Ok(String::new())
    }

    /// Sends the messages of one connection, over further ones where it is lost.
    async fn run_one(
        &self,
        target: &Target,
        messages: &mut Messages,
    ) -> Result<String, SessionError> {
        let mut failures = 0;
        loop {
            let ended = match messages.unless_stopped(self.connect(target)).await {
                Ok(connection) => messages.run(connection).await,
                Err(error) => Err(error),
            };
            let retry = self.reconnect && !messages.is_done();
            let reason = match ended {
                Ok(description) if self.once || !retry => return Ok(description),
                Ok(description) => description,
                Err(SessionError::Connection(error)) if retry => describe(&error),
                Err(error) => return Err(error),
            };
            failures = if messages.take_received() { 1 } else { failures + 1 };
            let delay = backoff::delay(failures);
            let text = format!("{reason}; reconnecting in {:.1} s", delay.as_secs_f64());
            messages.set_lost(&text).await?;
            messages.unless_stopped(pause(delay)).await?;
        }
    }
}

async fn pause(delay: Duration) -> Result<(), SessionError> {
    sleep(delay).await;
    Ok(())
}
