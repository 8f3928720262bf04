//! Services that answer one request at a time, or speak unasked.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use echogate_proto::live::Legs;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::requests::{Pause, Request, Requests};
use crate::{
    connections::registry::Entry,
    runtime::{buffer_pool, drain::Stage, write_buffer::Backlog},
    service::end::End,
};
use echogate_event_loop::{goes_on, has_budget_remaining};

/// Bytes read at once, of which each may be a request: they take less than 1 ms to answer.
const READ: usize = 512;

/// What a service says to one client.
pub(crate) trait Dialogue: fmt::Debug + Send {
    /// The longest request, in bytes.
    fn max_request(&self) -> usize;

    /// Ready when the client may be read. Until then what it sends stays in the kernel; the
    /// task is woken when that changes.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Hears a request; what is answered at once is appended to `out`.
    fn hear(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> Flow;

    /// What is to be said unasked, appended to `out`; pending when that is nothing.
    fn poll_say(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<Flow> {
        let _ = (cx, out);
        Poll::Pending
    }

    /// The connection has ended.
    fn ended(&mut self, how: &io::Result<End>) {
        let _ = how;
    }
}

/// How a dialogue goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flow {
    /// It goes on.
    Goes,
    /// A message of the client was answered; where that is all, it ends.
    Answered,
    /// It ends when what was said is out.
    Over,
}

/// One such service with one client.
#[derive(Debug)]
pub(crate) struct Lines {
    party: Party,
    requests: Requests,
    pause: Pause,
    backlog: Backlog,
    /// Why nothing can be written to the client any more.
    write_error: Option<io::Error>,
}

/// Who answers, and for how long.
#[derive(Debug)]
struct Party {
    dialogue: Box<dyn Dialogue>,
    once: bool,
    /// How it ends when what was said is out.
    ending: Option<End>,
}

impl Party {
    /// Hears a request; whether there may be another.
    fn hear(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> bool {
        let flow = self.dialogue.hear(request, out);
        self.goes(flow);
        self.ending.is_none()
    }

    fn goes(&mut self, flow: Flow) {
        self.ending = match flow {
            Flow::Over => Some(End::Over),
            Flow::Answered if self.once => Some(End::Once),
            Flow::Answered | Flow::Goes => None,
        };
    }
}

impl Lines {
    pub(super) fn new(dialogue: impl Dialogue + 'static, once: bool) -> Lines {
        Lines {
            requests: Requests::new(dialogue.max_request()),
            party: Party { dialogue: Box::new(dialogue), once, ending: None },
            pause: Pause::default(),
            backlog: Backlog::default(),
            write_error: None,
        }
    }

    /// How many bytes of answers the client has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.backlog.len()
    }

    /// The client's connection has failed.
    pub(super) fn failed(&mut self, error: io::Error) {
        self.party.dialogue.ended(&Err(error));
    }

    pub(super) fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let ended = ready!(self.poll_end(cx, stream, entry, stage));
        self.party.dialogue.ended(&ended);
        Poll::Ready(ended)
    }

    fn poll_end<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            if let Err(e) = ready!(self.backlog.poll_flush(cx, stream)) {
                self.write_failed(e);
            }
            if let Some(end) = self.party.ending.take() {
                return Poll::Ready(self.write_error.take().map_or(Ok(end), Err));
            }
            if stage >= Stage::Now {
                return Poll::Ready(Ok(End::Drained));
            }
            let mut out = Vec::new();
            if let Poll::Ready(flow) = self.party.dialogue.poll_say(cx, &mut out) {
                self.party.goes(flow);
                self.send(cx, stream, entry, &out);
                continue;
            }
            ready!(self.party.dialogue.poll_ready(cx));
            if !goes_on(cx) {
                return Poll::Pending;
            }
            if self.poll_hear(cx, stream, entry)?.is_ready() {
                continue;
            }
            let quiet = stage == Stage::WhenQuiet && has_budget_remaining();
            if self.requests.ends_at_pause() {
                if !quiet {
                    ready!(self.pause.poll(cx));
                }
                self.hear_rest(&mut out);
                self.send(cx, stream, entry, &out);
            } else if quiet {
                return Poll::Ready(Ok(End::Drained));
            } else {
                return Poll::Pending;
            }
        }
    }

    /// One read, and the write that answers what it completes.
    fn poll_hear<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
    ) -> Poll<io::Result<()>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut out = Vec::new();
        let begun = ready!(buffer_pool::with(|scratch| {
            let mut buf = ReadBuf::new(&mut scratch[..READ]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let begun = Instant::now();
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.hear_rest(&mut out);
                self.party.ending.get_or_insert(End::InputEnded);
            } else {
                if let Some(entry) = entry {
                    entry.received().add(bytes.len(), 0);
                }
                self.pause.reset();
                self.requests.take(bytes, |request| self.party.hear(request, &mut out));
            }
            Poll::Ready(io::Result::Ok(begun))
        }))?;
        self.send(cx, stream, entry, &out);
        if let Some(entry) = entry.filter(|entry| entry.is_watched() && !out.is_empty()) {
            entry.took(Legs::Service { service: begun.elapsed().as_secs_f64() * 1e6 });
        }
        Poll::Ready(Ok(()))
    }

    /// What came last is a request after all.
    fn hear_rest(&mut self, out: &mut Vec<u8>) {
        self.pause.reset();
        self.requests.end(|request| self.party.hear(request, out));
    }

    fn send<S: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
        out: &[u8],
    ) {
        if out.is_empty() || self.write_error.is_some() {
            return;
        }
        if let Some(entry) = entry {
            entry.sent().add(out.len(), 0);
        }
        if let Err(e) = self.backlog.write(cx, stream, &mut [IoSlice::new(out)]) {
            self.write_failed(e);
        }
    }

    /// Notes that the client takes no more. What it sent before may still lie in the kernel,
    /// and is read to its end.
    fn write_failed(&mut self, error: io::Error) {
        self.backlog.clear();
        self.write_error.get_or_insert(error);
    }
}
