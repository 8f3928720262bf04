//! Services that answer one request at a time, or push text to their clients.

use std::{
    fmt,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{
    end::End,
    line_reader::{IdleFlush, LineReader, Request},
};
use crate::{
    connections::registry::Entry,
    runtime::{buffer_pool, drain::Stage, write_buffer::WriteBuffer},
};
use echogate_event_loop::{has_turn, may_continue};

/// The limit of one read, in bytes. Each byte may be a request; answering all of them takes less
/// than 1 ms.
const READ: usize = 512;

/// A service's behaviour towards one client.
pub(crate) trait LineService: fmt::Debug + Send {
    /// The limit of a request, in bytes.
    fn max_request(&self) -> usize;

    /// Ready when requests may be read from the client. While this is pending, the client's bytes
    /// stay in the kernel. The implementation wakes the task when requests may be read again.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let _ = cx;
        Poll::Ready(())
    }

    /// Handles a request and appends an immediate answer, if there is one, to `out`.
    fn on_line(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> LineOutcome;

    /// Appends text that answers no request to `out`; pending while there is none.
    fn poll_push(&mut self, cx: &mut Context<'_>, out: &mut Vec<u8>) -> Poll<LineOutcome> {
        let _ = (cx, out);
        Poll::Pending
    }

    /// Called once when the connection has ended.
    fn ended(&mut self, how: &io::Result<End>) {
        let _ = how;
    }
}

/// The effect of a request, or of pushed text, on the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LineOutcome {
    /// The connection stays open.
    Continue,
    /// A message of the client was answered. A connection for one message closes then.
    Replied,
    /// The connection closes when all output is written.
    Close,
}

/// The server's side of a connection to a service that answers lines.
#[derive(Debug)]
pub(crate) struct LineConnection {
    handler: LineHandler,
    reader: LineReader,
    flush: IdleFlush,
    unwritten: WriteBuffer,
    /// The first error of a write to the client. Nothing is written afterwards.
    write_error: Option<io::Error>,
}

/// The service, and the end of the connection if the service has decided on one.
#[derive(Debug)]
struct LineHandler {
    service: Box<dyn LineService>,
    /// Whether the connection closes after one answered message.
    once: bool,
    /// The reason to close the connection when all output is written.
    end: Option<End>,
}

impl LineHandler {
    /// Handles a request. Returns whether the connection continues.
    fn on_line(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> bool {
        let outcome = self.service.on_line(request, out);
        self.apply(outcome);
        self.end.is_none()
    }

    fn apply(&mut self, outcome: LineOutcome) {
        self.end = match outcome {
            LineOutcome::Close => Some(End::Closed),
            LineOutcome::Replied if self.once => Some(End::Once),
            LineOutcome::Replied | LineOutcome::Continue => None,
        };
    }
}

impl LineConnection {
    pub(super) fn new(service: impl LineService + 'static, once: bool) -> LineConnection {
        LineConnection {
            reader: LineReader::new(service.max_request()),
            handler: LineHandler { service: Box::new(service), once, end: None },
            flush: IdleFlush::default(),
            unwritten: WriteBuffer::default(),
            write_error: None,
        }
    }

    /// The number of bytes of answers that are not written to the client's connection yet.
    pub(super) fn unsent(&self) -> usize {
        self.unwritten.len()
    }

    /// Tells the service that the client's connection has failed.
    pub(super) fn failed(&mut self, error: io::Error) {
        self.handler.service.ended(&Err(error));
    }

    /// See [`ServiceConnection::poll`](super::backend::ServiceConnection::poll).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>> {
        let ended = ready!(self.poll_end(cx, stream, entry, stage));
        self.handler.service.ended(&ended);
        Poll::Ready(ended)
    }

    fn poll_end(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>> {
        loop {
            if let Err(e) = ready!(self.unwritten.poll_flush(cx, stream)) {
                self.write_failed(e);
            }
            if let Some(end) = self.handler.end.take() {
                return Poll::Ready(self.write_error.take().map_or(Ok(end), Err));
            }
            if stage >= Stage::Immediate {
                return Poll::Ready(Ok(End::Drained));
            }
            let mut out = Vec::new();
            if let Poll::Ready(outcome) = self.handler.service.poll_push(cx, &mut out) {
                self.handler.apply(outcome);
                self.send(cx, stream, entry, &out);
                continue;
            }
            ready!(self.handler.service.poll_ready(cx));
            if !may_continue(cx) {
                return Poll::Pending;
            }
            if self.poll_read(cx, stream, entry)?.is_ready() {
                continue;
            }
            let quiet = stage == Stage::Graceful && has_turn();
            if self.reader.flushes_when_idle() {
                if !quiet {
                    ready!(self.flush.poll(cx));
                }
                self.flush_partial(&mut out);
                self.send(cx, stream, entry, &out);
            } else if quiet {
                return Poll::Ready(Ok(End::Drained));
            } else {
                return Poll::Pending;
            }
        }
    }

    /// Reads once and sends the answers to the requests that the read completes.
    fn poll_read(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
    ) -> Poll<io::Result<()>> {
        let mut out = Vec::new();
        let begun = ready!(buffer_pool::with(|scratch| {
            let mut buf = ReadBuf::new(&mut scratch[..READ]);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let begun = entry.filter(|entry| entry.has_subscribers()).map(|_| Instant::now());
            let bytes = buf.filled();
            if bytes.is_empty() {
                self.flush_partial(&mut out);
                self.handler.end.get_or_insert(End::InputEnded);
            } else {
                if let Some(entry) = entry {
                    entry.received().add(bytes.len(), 0);
                }
                self.flush.reset();
                self.reader.take(bytes, |request| self.handler.on_line(request, &mut out));
            }
            Poll::Ready(io::Result::Ok(begun))
        }))?;
        if let (Some(entry), Some(begun), false) = (entry, begun, out.is_empty()) {
            entry.record_service(begun.elapsed());
        }
        self.send(cx, stream, entry, &out);
        Poll::Ready(Ok(()))
    }

    /// Handles a partial request as a whole one.
    fn flush_partial(&mut self, out: &mut Vec<u8>) {
        self.flush.reset();
        self.reader.flush(|request| self.handler.on_line(request, out));
    }

    fn send(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncWrite + Unpin),
        entry: Option<&Entry>,
        out: &[u8],
    ) {
        if out.is_empty() || self.write_error.is_some() {
            return;
        }
        if let Some(entry) = entry {
            entry.sent().add(out.len(), 0);
        }
        if let Err(e) = self.unwritten.write(cx, stream, &mut [IoSlice::new(out)]) {
            self.write_failed(e);
        }
    }

    /// Discards all output, and keeps the error. Requests that the client sent before the failure
    /// may still be in the kernel, so reading continues up to the end of the input.
    fn write_failed(&mut self, error: io::Error) {
        self.unwritten.clear();
        self.write_error.get_or_insert(error);
    }
}
