//! Services that answer bytes with as many bytes, at once.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use echogate_proto::live::Legs;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::requests::Pause;
use crate::{
    connections::registry::Entry,
    runtime::{buffer_pool, drain::Stage, write_buffer::Backlog},
    service::end::End,
};
use echogate_event_loop::has_budget_remaining;

/// One such service with one client.
#[derive(Debug)]
pub(crate) struct Bytes {
    /// Turns what was received into the answer.
    answer: fn(&mut [u8]),
    backlog: Backlog,
    /// If one message is answered only: its end, once it has begun.
    once: Option<Box<Once>>,
}

/// How one message is told from what follows: a newline ends it, or a pause.
#[derive(Debug, Default)]
struct Once {
    pause: Pause,
    /// It has begun.
    begun: bool,
    /// A newline was the last that came.
    ended: bool,
}

impl Bytes {
    pub(super) fn new(answer: fn(&mut [u8]), once: bool) -> Bytes {
        Bytes { answer, backlog: Backlog::default(), once: once.then(Box::default) }
    }

    /// What turns what was received into the answer.
    pub(crate) fn answer(&self) -> fn(&mut [u8]) {
        self.answer
    }

    /// How many bytes of answers the client has not taken.
    pub(super) fn unsent(&self) -> usize {
        self.backlog.len()
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
        loop {
            ready!(self.backlog.poll_flush(cx, stream))?;
            if stage >= Stage::Now {
                return Poll::Ready(Ok(End::Drained));
            }
            match self.poll_step(cx, stream, entry)? {
                Poll::Ready(0) => return Poll::Ready(Ok(End::InputEnded)),
                Poll::Ready(_) => {}
                Poll::Pending if !has_budget_remaining() => return Poll::Pending,
                Poll::Pending if stage == Stage::WhenQuiet => {
                    return Poll::Ready(Ok(End::Drained));
                }
                Poll::Pending => {
                    let Some(once) = self.once.as_mut().filter(|once| once.begun) else {
                        return Poll::Pending;
                    };
                    if !once.ended {
                        ready!(once.pause.poll(cx));
                    }
                    return Poll::Ready(Ok(End::Once));
                }
            }
        }
    }

    /// One read, and the write that answers it.
    fn poll_step<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        buffer_pool::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled_mut();
            let begun = entry.filter(|entry| entry.is_watched()).map(|_| Instant::now());
            if let (Some(once), Some(last)) = (&mut self.once, bytes.last()) {
                **once = Once { begun: true, ended: *last == b'\n', ..Once::default() };
            }
            // Also where the answer fails.
            if let Some(entry) = entry {
                entry.received().add(bytes.len(), 0);
            }
            (self.answer)(bytes);
            self.backlog.write(cx, stream, &mut [IoSlice::new(bytes)])?;
            if let Some(entry) = entry {
                entry.sent().add(bytes.len(), 0);
                if let Some(begun) = begun {
                    entry.took(Legs::Service { service: begun.elapsed().as_secs_f64() * 1e6 });
                }
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }
}
