//! The upload of the messages mode.

use std::{io, time::Duration};

use super::{
    MessageOptions,
    commands::{self, TypedLine},
    output::Output,
    replies::Replies,
    source::{Message, Next, Source},
};
use crate::client::{
    pending_replies::Expected,
    session::{SessionError, UploadEnd, close_upload, end_at_pause, finish},
    transport::{PeerRole, Sender},
};

/// The messages of a source on their way to the peer, over one connection or several in turn.
#[derive(Debug)]
pub(super) struct Uploader {
    options: MessageOptions,
    source: Source,
    /// Messages that may still be taken from the source.
    left: u64,
    /// The number of messages is limited by `--count`.
    is_counted: bool,
    /// Messages sent.
    sent: u64,
    /// The message that has been taken from the source and not been sent yet.
    pending: Option<Message>,
    /// The source has ended.
    done: bool,
    /// A typed Close has been sent.
    closed: bool,
    /// The failure that ended the source.
    failure: Option<SessionError>,
}

impl Uploader {
    pub(super) fn new(source: Source, count: Option<u64>, options: MessageOptions) -> Uploader {
        Uploader {
            options,
            source,
            left: count.unwrap_or(u64::MAX),
            is_counted: count.is_some(),
            sent: 0,
            pending: None,
            done: false,
            closed: false,
            failure: None,
        }
    }

    pub(super) fn set_source(&mut self, source: Source) {
        self.source = source;
    }

    /// Whether all messages have been taken from the source.
    pub(super) fn is_done(&self) -> bool {
        self.done
    }

    /// Whether the messages are typed at a prompt.
    pub(super) fn is_typed(&self) -> bool {
        self.source.is_typed()
    }

    /// Whether the source has an end, so that a connection that is cut leaves the peer a part of
    /// the input.
    pub(super) fn has_end(&self) -> bool {
        match &self.source {
            Source::Lines(_) => true,
            Source::Timer(_) => self.is_counted,
            Source::None | Source::Typed(_) => false,
        }
    }

    /// Whether a typed Close has been sent.
    pub(super) fn has_closed(&self) -> bool {
        self.closed
    }

    /// Takes the failure that ended the source.
    pub(super) fn take_failure(&mut self) -> Option<SessionError> {
        self.failure.take()
    }

    /// Takes the next message from the source, unless one is pending, and returns whether one is.
    pub(super) async fn prepare(&mut self, output: &Output) -> Result<bool, SessionError> {
        while self.pending.is_none() && !self.done {
            if self.left == 0 {
                self.done = true;
                break;
            }
            let message = match self.source.next().await? {
                Next::Message(message) => Ok(message),
                Next::Line(line) => self.parse(line),
                Next::End => {
                    self.done = true;
                    break;
                }
            };
            match message {
                Ok(message) if message.is_empty() => {}
                Ok(message) => {
                    self.left -= u64::from(!message.is_control());
                    self.pending = Some(message);
                }
                Err(reason) if self.source.is_typed() => output.notice(&reason).await?,
                Err(reason) => return Err(self.source.invalid_line(&reason)),
            }
        }
        Ok(self.pending.is_some())
    }

    /// Parses a line: a message, or a command typed at the prompt.
    fn parse(&self, line: String) -> Result<Message, String> {
        let hex = self.options.format.hex;
        if !self.options.commands || !self.source.is_typed() {
            return Message::new(line, hex);
        }
        match commands::parse(&line)? {
            TypedLine::Command(message) => Ok(message),
            TypedLine::Text(text) => Message::new(text, hex),
        }
    }

    /// Sends the messages for this connection, and waits for the replies.
    pub(super) async fn upload(
        &mut self,
        sender: &mut Sender,
        replies: &Replies,
        output: &Output,
    ) -> Result<UploadEnd, SessionError> {
        if sender.has_close() && !self.source.is_typed() {
            replies.pending.wait_for_greeting().await;
        }
        loop {
            if self.source.is_input() {
                sender.ready().await;
            }
            let pause = self.pause();
            let prepared = tokio::select! {
                biased;
                prepared = self.prepare(output) => prepared,
                () = replies.peer.done(pause) => return self.end(sender, replies).await,
            };
            match prepared {
                Ok(true) => {}
                Ok(false) => break,
                Err(error) => {
                    (self.done, self.failure) = (true, Some(error));
                    return self.end_after_failure(replies, output).await;
                }
            }
            let Some(message) = &self.pending else { break };
            replies.sent(message);
            let sent = tokio::select! {
                biased;
                sent = message.send(sender) => sent,
                () = replies.peer.closed() => Err(io::ErrorKind::BrokenPipe.into()),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    let unsent = self.unsent(replies.peer.role);
                    return Err(unsent.unwrap_or(SessionError::Connection(error)));
                }
                Err(error) => return Err(SessionError::Connection(error)),
            }
            match self.pending.take() {
                Some(Message::Close(..)) => {
                    (self.done, self.closed) = (true, true);
                    return Ok(UploadEnd::Closing);
                }
                Some(message) if message.is_control() => {}
                _ => {
                    self.sent += 1;
                    if self.options.once {
                        break;
                    }
                }
            }
        }
        self.last_replies(sender, replies, output).await
    }

    /// Waits for the replies to the last messages.
    async fn last_replies(
        &self,
        sender: &mut Sender,
        replies: &Replies,
        output: &Output,
    ) -> Result<UploadEnd, SessionError> {
        let MessageOptions { wait, ends_by_silence, .. } = self.options;
        let expected = match ends_by_silence {
            true if self.is_counted && !self.options.once => Expected::Counted,
            true => Expected::Each,
            false => self.source.expected(),
        };
        let Replies { peer, pending, .. } = replies;
        let ended = finish(sender, peer, pending, wait, expected, ends_by_silence).await;
        if !matches!(ended, Ok(UploadEnd::Finished)) {
            // No reply is awaited any more, not even the end of a line.
            replies.write_rest(output).await?;
        }
        ended
    }

    /// Ends the upload after a failure of the source: replies to earlier messages are awaited.
    async fn end_after_failure(
        &mut self,
        replies: &Replies,
        output: &Output,
    ) -> Result<UploadEnd, SessionError> {
        tokio::select! {
            _ = replies.pending.wait_until_done(self.options.wait, Expected::Optional) => {}
            () = replies.peer.done(Some(Duration::ZERO)) => {}
        }
        replies.write_rest(output).await?;
        self.failure.take().map_or(Ok(UploadEnd::Done), Err)
    }

    /// The silence of the source that ends the upload after the peer has ended its direction;
    /// `None` if the source is certain to continue.
    fn pause(&self) -> Option<Duration> {
        match &self.source {
            _ if self.options.reconnect => Some(Duration::ZERO),
            Source::Lines(_) => self.options.wait.for_input(),
            Source::Timer(_) if self.is_counted => None,
            Source::Timer(_) | Source::Typed(_) | Source::None => Some(Duration::ZERO),
        }
    }

    /// Ends the upload because the peer has ended its direction and the source is silent.
    async fn end(
        &self,
        sender: &mut Sender,
        Replies { peer, pending, .. }: &Replies,
    ) -> Result<UploadEnd, SessionError> {
        match &self.source {
            Source::Lines(_) if !self.options.reconnect => {
                return end_at_pause(sender, peer, pending, self.options.quiet).await;
            }
            Source::Timer(_) if self.is_counted => {
                self.unsent(peer.role).map_or(Ok(()), Err)?;
            }
            _ => {}
        }
        close_upload(sender).await
    }

    /// The error for messages that could not be sent. `None` for a prompt and an endless timer, and
    /// if the messages will be sent over another connection.
    fn unsent(&self, peer_role: PeerRole) -> Option<SessionError> {
        let sent = self.sent;
        let count = match &self.source {
            _ if self.options.reconnect => return None,
            Source::Lines(_) => format!("{sent} were sent, the next one was not"),
            Source::Timer(_) if self.is_counted || self.sent == 0 => {
                let left = if self.is_counted { self.left } else { 0 };
                let all = sent + left + u64::from(self.pending.is_some());
                format!("{sent} of {all} were sent")
            }
            Source::Timer(_) | Source::Typed(_) | Source::None => return None,
        };
        let text = format!("closed by the {peer_role} before all messages were sent: {count}");
        Some(SessionError::Unsent(text))
    }
}
