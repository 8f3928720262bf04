//! A conversation in messages: what is typed, what the lines of a pipe are, or what a
//! clock says; over one connection or, one after the other, over several.

use std::{future::Future, time::Duration};

use tokio::sync::oneshot;

use super::{
    call::Conversation,
    ledger::Ledger,
    link::{Inbound, Outbound, Stop, both, goodbye},
    prompt::{self, Prompt},
    show::{Form, Sink},
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
    /// The silence after the last reply that ends it, if a peer that does not end is not
    /// waited for.
    pub(super) silence: Option<Duration>,
    /// How long replies are waited for after an input that has failed.
    pub(super) patience: Duration,
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
        let speaker = Speaker { source, hex, left, pending: None, over: false, failed: None };
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
        self.sink = Sink::Screen(screen);
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
        let Sink::Screen(screen) = &self.sink else { return ended.map(drop) };
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
            unless_stopped(stopped, async {
                tokio::select! {
                    ended = both(upload, download) => ended,
                    silent = ledger.silence(*manner) => silent.map(|()| String::new()),
                }
            })
            .await
        };
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

    /// Sends what there is to be sent on this connection, and that it is all.
    async fn upload(
        &mut self,
        outbound: &mut impl Outbound,
        ledger: &Ledger,
        manner: Manner,
        sink: &Sink,
    ) -> Result<(), Stop> {
        loop {
            if self.source.is_pipe() {
                outbound.room().await;
            }
            match self.prepare(sink).await {
                Ok(true) => {}
                Ok(false) => break,
                Err(stop) => {
                    // What was sent before is answered yet.
                    (self.over, self.failed) = (true, Some(stop));
                    ledger.settle(manner.patience, sink).await?;
                    return self.failed.take().map_or(Ok(()), Err);
                }
            }
            let Some(message) = &self.pending else { break };
            ledger.sent();
            message.send(outbound).await.map_err(Stop::Connection)?;
            self.pending = None;
            if manner.once {
                break;
            }
        }
        ledger.finished();
        outbound.finish().await.map_err(Stop::Connection)
    }
}
