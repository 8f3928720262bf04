//! The messages mode: messages from a prompt, from the lines of the input or from a timer, over one
//! connection or several in turn.
//!
//! - `source`: the sources of messages; `prompt`: the prompt among them; `commands`: its commands
//! - `upload`: sending; `replies`: receiving
//! - `output`: the destination and format of replies; `terminal_lines`: lines for a terminal;
//!   `round_trips`: round-trip times

mod commands;
pub(in crate::client) mod output;
pub(in crate::client) mod prompt;
mod replies;
mod round_trips;
pub(in crate::client) mod source;
mod terminal_lines;
mod upload;

use std::{
    future::{Future, pending},
    io::{self, Write},
};

use tokio::sync::oneshot;

use self::{
    output::{Output, OutputFormat, ScreenGuard},
    prompt::Prompt,
    replies::Replies,
    source::Source,
    upload::Uploader,
};
use crate::{
    client::{
        pending_replies::Wait,
        session::{self, SessionError, check_replies},
        transport::Connection,
        verbose,
    },
    terminal::Stopped,
};

/// The options of the messages mode.
#[derive(Clone, Copy, Debug)]
pub(in crate::client) struct MessageOptions {
    pub(in crate::client) format: OutputFormat,
    /// Whether the prompt has commands, which send control frames (WebSocket).
    pub(in crate::client) commands: bool,
    /// Show the round-trip time of each reply.
    pub(in crate::client) timing: bool,
    /// Show nothing but the replies.
    pub(in crate::client) quiet: bool,
    /// Show the steps of connections.
    pub(in crate::client) verbose: bool,
    /// Each message gets a new connection.
    pub(in crate::client) once: bool,
    /// A lost connection is made again.
    pub(in crate::client) reconnect: bool,
    /// The limit of the wait for replies when all messages are sent.
    pub(in crate::client) wait: Wait,
    /// Silence ends a session over any transport.
    pub(in crate::client) ends_by_silence: bool,
}

/// The messages mode.
#[derive(Debug)]
pub(in crate::client) struct Messages {
    options: MessageOptions,
    uploader: Uploader,
    output: Output,
    /// The prompt, until it is opened.
    prompt: Option<Prompt>,
    /// Receives the reason when the prompt is stopped.
    stopped: Option<oneshot::Receiver<Stopped>>,
    /// Something has been received since [`Messages::take_received`].
    received: bool,
    /// The connection was lost and is to be made again.
    lost: bool,
}

impl Messages {
    /// Creates the mode for the messages of `source`, at most `count`.
    pub(in crate::client) fn new(
        source: Source,
        count: Option<u64>,
        options: MessageOptions,
    ) -> Messages {
        Messages {
            options,
            uploader: Uploader::new(source, count, options),
            output: Output::Stdout,
            prompt: None,
            stopped: None,
            received: false,
            lost: false,
        }
    }

    /// Creates the mode for a prompt, which is opened when the connection is made.
    pub(in crate::client) fn with_prompt(
        prompt: Prompt,
        count: Option<u64>,
        options: MessageOptions,
    ) -> Messages {
        Messages { prompt: Some(prompt), ..Messages::new(Source::None, count, options) }
    }

    /// Waits for the next message, and returns whether there is one.
    pub(in crate::client) async fn prepare(&mut self) -> Result<bool, SessionError> {
        let Messages { uploader, output, stopped, .. } = self;
        unless_stopped(stopped, uploader.prepare(output)).await
    }

    /// Whether the input has an end, so that a connection that is cut leaves the peer a part of it.
    pub(in crate::client) fn has_end(&self) -> bool {
        self.uploader.has_end()
    }

    /// Whether all messages have been sent.
    pub(in crate::client) fn is_done(&self) -> bool {
        self.uploader.is_done()
    }

    /// Returns whether anything has been received since the last call.
    pub(in crate::client) fn take_received(&mut self) -> bool {
        std::mem::take(&mut self.received)
    }

    /// Opens the prompt with `greeting`, if there is one to open.
    pub(in crate::client) fn begin(&mut self, greeting: &str) -> Result<(), SessionError> {
        let Some(prompt) = self.prompt.take() else { return Ok(()) };
        let greeting = (!self.options.quiet).then_some(greeting);
        let (typed, screen) = prompt.open(greeting).map_err(SessionError::Input)?;
        self.uploader.set_source(Source::Typed(typed.lines));
        self.stopped = Some(typed.stopped);
        if self.options.verbose {
            verbose::show_above(screen.clone());
        }
        self.output = Output::Screen(ScreenGuard(screen));
        Ok(())
    }

    /// Reports that the connection is lost. The next connection will be reported as well.
    pub(in crate::client) async fn set_lost(&mut self, text: &str) -> Result<(), SessionError> {
        self.lost = true;
        self.notice(text).await
    }

    /// Writes a notice about the connection, unless `--quiet` is given.
    pub(in crate::client) async fn notice(&self, text: &str) -> Result<(), SessionError> {
        if self.options.quiet { Ok(()) } else { self.output.notice(text).await }
    }

    /// Exchanges messages over `connection` until both directions have ended, and returns the
    /// description of the end.
    pub(in crate::client) async fn run(
        &mut self,
        connection: Connection,
    ) -> Result<String, SessionError> {
        let Connection { mut sender, receiver, peer_role, local, peer } = connection;
        if let Some(prompt) = &self.prompt {
            let greeting = match (peer, local) {
                (Some(peer), _) => format!("{peer} connected"),
                (None, Some(local)) => format!("connected to {} (from {local})", prompt.url),
                (None, None) => format!("connected to {}", prompt.url),
            };
            self.begin(&format!("{greeting}; Ctrl-D ends the input"))?;
        } else if let Some(peer) = peer {
            self.notice(&format!("{peer} connected")).await?;
        } else if std::mem::take(&mut self.lost) {
            self.notice("reconnected").await?;
        }
        let Messages { options, uploader, output, stopped, received, .. } = self;
        let replies = Replies::new(*options, peer_role);
        let ended = {
            let upload = uploader.upload(&mut sender, &replies, output);
            let download = replies.download(receiver, output, received);
            unless_stopped(stopped, session::run(upload, download, &replies.peer, &replies.pending))
                .await
        };
        let ended = ended.and_then(|description| check_replies(description, &replies.pending));
        let ended = uploader.take_failure().map_or(ended, Err);
        session::close(&mut sender, ended.as_ref().err()).await;
        ended
    }

    /// Waits for `next`. Returns `None` if the user ends the input of the prompt first.
    pub(in crate::client) async fn until_done<T>(
        &mut self,
        next: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<Option<T>, SessionError> {
        let Messages { uploader, output, stopped, .. } = self;
        let done = async {
            while uploader.is_typed() && uploader.prepare(output).await? {
                // The message that is pending is for the next connection.
                pending::<()>().await;
            }
            if uploader.is_typed() { Ok(None) } else { pending().await }
        };
        let next = async {
            tokio::select! {
                done = done => done,
                next = next => next.map(Some),
            }
        };
        unless_stopped(stopped, next).await
    }

    /// Waits for `future`. Fails if the prompt is stopped first.
    pub(in crate::client) async fn unless_stopped<T>(
        &mut self,
        future: impl Future<Output = Result<T, SessionError>>,
    ) -> Result<T, SessionError> {
        unless_stopped(&mut self.stopped, future).await
    }

    /// Closes the prompt, and reports `ended`, the end of the last session.
    pub(in crate::client) fn close(
        self,
        ended: Result<String, SessionError>,
    ) -> Result<(), SessionError> {
        let Output::Screen(ScreenGuard(screen)) = &self.output else { return ended.map(drop) };
        let closed = screen.close();
        let description = ended?;
        closed.map_err(SessionError::Output)?;
        // The peer's answer to a Close that was typed is reported as well.
        let reported = (!self.is_done() || self.uploader.has_closed()) && !self.options.quiet;
        if reported && !description.is_empty() {
            writeln!(io::stderr(), "{description}").ok();
        }
        Ok(())
    }
}

async fn unless_stopped<T>(
    stopped: &mut Option<oneshot::Receiver<Stopped>>,
    future: impl Future<Output = Result<T, SessionError>>,
) -> Result<T, SessionError> {
    // A receiver must not be polled again after it has given its value.
    let Some(stopped) = stopped.as_mut().filter(|stopped| !stopped.is_terminated()) else {
        return future.await;
    };
    tokio::select! {
        biased;
        Ok(stop) = stopped => Err(stop.into()),
        result = future => result,
    }
}
