//! A conversation in messages: what is typed, what the lines of a pipe are, or what a
//! clock says; over one connection or, one after the other, over several.

use std::{future::Future, io, time::Duration};

use tokio::sync::oneshot;

use super::{
    call::Conversation,
    ledger::Ledger,
    link::{Inbound, Outbound, Stop, Uploaded, both, complete, finish, goodbye, leave},
    prompt::{self, Prompt},
    replies::{Expected, Wait},
    show::{Form, Held, Sink},
    source::{Message, Next, Source},
};
use crate::terminal::Stopped;

/// How the conversation goes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Manner {
    pub(super) form: Form,
    /// Each reply's round-trip time is told.
    pub(super) timing: bool,
    /// Nothing is said but the replies.
    pub(super) quiet: bool,
    /// Each message has a connection of its own.
    pub(super) once: bool,
    /// A connection that is lost is made again.
    pub(super) reconnect: bool,
    /// How long the peer is waited for when all has been sent.
    pub(super) wait: Wait,
    /// Silence is an end, whatever the transport.
    pub(super) ends_by_silence: bool,
}

/// A conversation.
#[derive(Debug)]
pub(super) struct Talk {
    manner: Manner,
    speaker: Speaker,
    sink: Sink,
    /// Where a person is asked to type, until the terminal is taken over for that.
    prompt: Option<Prompt>,
    /// Why the conversation is stopped, once it is.
    stopped: Option<oneshot::Receiver<Stopped>>,
    /// Whether anything has come on the latest connection.
    heard: bool,
    /// A connection has been lost, and is to be made again.
    lost: bool,
}

/// What there is to say.
#[derive(Debug)]
struct Speaker {
    source: Source,
    hex: bool,
    /// Messages that may still be taken from the source.
    left: u64,
    /// The number of messages is set.
    is_counted: bool,
    /// Messages sent.
    sent: u64,
    /// What has been taken from it and not been sent yet.
    pending: Option<Message>,
    /// There is nothing more.
    over: bool,
    /// Why not, if that is a failure.
    failed: Option<Stop>,
}

impl Talk {
    /// A conversation of what `source` says, at most `count` messages.
    pub(super) fn new(source: Source, count: Option<u64>, manner: Manner) -> Talk {
        let hex = manner.form.hex;
        let left = count.unwrap_or(u64::MAX);
        let is_counted = count.is_some();
        let (pending, failed) = (None, None);
        let speaker =
            Speaker { source, hex, left, is_counted, sent: 0, pending, over: false, failed };
        let (sink, prompt, stopped) = (Sink::Output, None, None);
        Talk { manner, speaker, sink, prompt, stopped, heard: false, lost: false }
    }

    /// A conversation of what a person types, asked as soon as there is a connection.
    pub(super) fn at(prompt: Prompt, count: Option<u64>, manner: Manner) -> Talk {
        Talk { prompt: Some(prompt), ..Talk::new(Source::Nobody, count, manner) }
    }

    /// Takes the next message to be sent. There is none any more if this says no.
    pub(super) async fn prepare(&mut self) -> Result<bool, Stop> {
        let Talk { speaker, sink, stopped, .. } = self;
        unless_stopped(stopped, speaker.prepare(sink)).await
    }

    /// Whether all has been said.
    pub(super) fn is_over(&self) -> bool {
        self.speaker.over
    }

    /// Whether anything has come on the latest connection.
    pub(super) fn has_heard(&self) -> bool {
        self.heard
    }

    /// Takes the terminal over if there is one to be: `greeting` is said first.
    pub(super) fn begin(&mut self, greeting: &str) -> Result<(), Stop> {
        let Some(prompt) = self.prompt.take() else { return Ok(()) };
        let greeting = (!self.manner.quiet).then_some(greeting);
        let (typed, screen) = prompt.begin(greeting).map_err(Stop::Input)?;
        self.speaker.source = Source::Typed(typed.lines);
        self.stopped = Some(typed.stopped);
        self.sink = Sink::Screen(Held(screen));
        Ok(())
    }

    /// Says that the connection is lost and what is done about it.
    pub(super) async fn lose(&mut self, words: &str) -> Result<(), Stop> {
        self.lost = true;
        self.say(words).await
    }

    /// Says something about the connection, unless that is not wanted.
    async fn say(&self, words: &str) -> Result<(), Stop> {
        if self.manner.quiet { Ok(()) } else { self.sink.say(words).await }
    }

    /// Gives the terminal back. `ended` is how it all ended, in the peer's words.
    pub(super) fn close(self, ended: Result<String, Stop>) -> Result<(), Stop> {
        let Sink::Screen(Held(screen)) = &self.sink else { return ended.map(drop) };
        screen.close().map_err(Stop::Output)?;
        let unasked = !self.speaker.over && !self.manner.quiet;
        prompt::farewell(&ended, unasked);
        ended.map(drop)
    }
}

impl Conversation for Talk {
    async fn hold(
        &mut self,
        mut outbound: impl Outbound,
        inbound: impl Inbound,
        from: &str,
    ) -> Result<String, Stop> {
        if let Some(prompt) = &self.prompt {
            let greeting = format!("connected to {}{from}; Ctrl-D ends", prompt.url);
            self.begin(&greeting)?;
        } else if std::mem::take(&mut self.lost) {
            self.say("connected again").await?;
        }
        let Talk { manner, speaker, sink, stopped, heard, .. } = self;
        let ledger = Ledger::new(*manner);
        *heard = false;
        let ended = {
            let upload = speaker.upload(&mut outbound, &ledger, *manner, sink);
            let download = ledger.download(inbound, sink, heard);
            unless_stopped(stopped, both(upload, download, &ledger.peer)).await
        };
        let ended = ended.and_then(|words| complete(words, &ledger.replies));
        let ended = speaker.failed.take().map_or(ended, Err);
        goodbye(&mut outbound, ended.as_ref().err()).await;
        ended
    }

    async fn meanwhile<T>(
        &mut self,
        waiting: impl Future<Output = Result<T, Stop>>,
    ) -> Result<T, Stop> {
        unless_stopped(&mut self.stopped, waiting).await
    }
}

async fn unless_stopped<T>(
    stopped: &mut Option<oneshot::Receiver<Stopped>>,
    waiting: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    // It says it once.
    let Some(stopped) = stopped.as_mut().filter(|stopped| !stopped.is_terminated()) else {
        return waiting.await;
    };
    tokio::select! {
        biased;
        Ok(stop) = stopped => Err(stop.into()),
        done = waiting => done,
    }
}

impl Speaker {
    /// Takes the next message from the source, unless one is there already. There is
    /// none if this says no.
    async fn prepare(&mut self, sink: &Sink) -> Result<bool, Stop> {
        while self.pending.is_none() && !self.over {
            if self.left == 0 {
                self.over = true;
                break;
            }
            let message = match self.source.next().await? {
                Next::Message(message) => Ok(message),
                Next::Line(line) => Message::new(line, self.hex),
                Next::End => {
                    self.over = true;
                    break;
                }
            };
            match message {
                Ok(message) if message.is_empty() => {}
                Ok(message) => {
                    self.pending = Some(message);
                    self.left -= 1;
                }
                Err(what) if self.source.is_typed() => sink.say(&what).await?,
                Err(what) => return Err(self.source.wrong(&what)),
            }
        }
        Ok(self.pending.is_some())
    }

    /// Sends what there is to be sent on this connection, and waits for the replies.
    async fn upload(
        &mut self,
        outbound: &mut impl Outbound,
        ledger: &Ledger,
        manner: Manner,
        sink: &Sink,
    ) -> Result<Uploaded, Stop> {
        if outbound.has_close() && !self.source.is_typed() {
            ledger.replies.greeting().await;
        }
        loop {
            if self.source.is_pipe() {
                outbound.room().await;
            }
            let pause = self.pause(manner);
            let prepared = tokio::select! {
                biased;
                prepared = self.prepare(sink) => prepared,
                () = ledger.peer.done(pause) => return self.leave(outbound, manner).await,
            };
            match prepared {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => {
                    // What was sent before is answered yet.
                    (self.over, self.failed) = (true, Some(stop));
                    tokio::select! {
                        _ = ledger.replies.over(manner.wait, Expected::Optional) => {}
                        () = ledger.peer.done(Some(Duration::ZERO)) => {}
                    }
                    ledger.show_rest(sink).await?;
                    return self.failed.take().map_or(Ok(Uploaded::Over), Err);
                }
            }
            let Some(message) = &self.pending else { break };
            ledger.sent();
            let sent = tokio::select! {
                biased;
                sent = message.send(outbound) => sent,
                () = ledger.peer.closed() => Err(io::ErrorKind::BrokenPipe.into()),
            };
            match sent {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                    return Err(self.unsent(manner).unwrap_or(Stop::Connection(error)));
                }
                Err(error) => return Err(Stop::Connection(error)),
            }
            self.pending = None;
            self.sent += 1;
            if manner.once {
                break;
            }
        }
        let by_silence = manner.ends_by_silence;
        let expected = if by_silence { Expected::Each } else { self.source.expected() };
        let Ledger { peer, replies, .. } = ledger;
        let ended = finish(outbound, peer, replies, manner.wait, expected, by_silence).await;
        if !matches!(ended, Ok(Uploaded::Finished)) {
            // Nothing more is waited for, not even the end of a line.
            ledger.show_rest(sink).await?;
        }
        ended
    }

    /// How long the source may be silent when the peer has ended its side; none if messages
    /// are certain to come.
    fn pause(&self, manner: Manner) -> Option<Duration> {
        match &self.source {
            _ if manner.reconnect => Some(Duration::ZERO),
            Source::Lines(_) => manner.wait.for_input(),
            Source::Ticks(_) if self.is_counted => None,
            // A person, or a clock that never ends.
            Source::Ticks(_) | Source::Typed(_) | Source::Nobody => Some(Duration::ZERO),
        }
    }

    /// Ends the upload because the peer has ended and nothing more is there to be sent.
    async fn leave(&self, outbound: &mut impl Outbound, manner: Manner) -> Result<Uploaded, Stop> {
        let is_missing = self.is_counted && matches!(self.source, Source::Ticks(_));
        if let Some(unsent) = self.unsent(manner).filter(|_| is_missing) {
            return Err(unsent);
        }
        leave(outbound).await
    }

    /// What is missing, where that is a failure: not of what a person types or of a clock
    /// that never ends, nor where it is sent over another connection.
    fn unsent(&self, manner: Manner) -> Option<Stop> {
        let sent = self.sent;
        let what = match &self.source {
            _ if manner.reconnect => return None,
            Source::Lines(_) => format!("{sent} messages were sent, and the next could not be"),
            Source::Ticks(_) if self.is_counted || self.sent == 0 => {
                let left = if self.is_counted { self.left } else { 0 };
                let all = sent + left + u64::from(self.pending.is_some());
                format!("{sent} of {all} were sent")
            }
            Source::Ticks(_) | Source::Typed(_) | Source::Nobody => return None,
        };
        Some(Stop::Unsent(format!("closed by the server before all messages were sent; {what}")))
    }
}
