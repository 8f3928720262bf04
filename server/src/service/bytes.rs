//! Services that answer each byte with one byte, as soon as it arrives.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Instant,
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::{end::End, line_reader::IdleFlush};
use crate::{
    connections::registry::Entry,
    runtime::{buffer_pool, drain::Stage, write_buffer::WriteBuffer},
};
use echogate_event_loop::has_turn;

/// The server's side of a connection to a service that answers bytes.
#[derive(Debug)]
pub(crate) struct ByteConnection {
    /// Turns received bytes into their answer, in place.
    transform: fn(&mut [u8]),
    unwritten: WriteBuffer,
    /// The state of the first message, if only that message is answered.
    once: Option<Box<FirstMessage>>,
}

/// The state of the only message that is answered. The message ends with a newline, or when
/// nothing has arrived for the time of [`IdleFlush`].
#[derive(Debug, Default)]
struct FirstMessage {
    flush: IdleFlush,
    /// Whether a byte of the message has arrived.
    begun: bool,
    /// Whether the last byte that arrived was a newline.
    ended: bool,
}

impl ByteConnection {
    pub(super) fn new(transform: fn(&mut [u8]), once: bool) -> ByteConnection {
        let once = once.then(Box::default);
        ByteConnection { transform, unwritten: WriteBuffer::default(), once }
    }

    /// The function that turns received bytes into their answer, in place.
    pub(crate) fn transform(&self) -> fn(&mut [u8]) {
        self.transform
    }

    /// The number of bytes of answers that are not written to the client's connection yet.
    pub(super) fn unsent(&self) -> usize {
        self.unwritten.len()
    }

    /// See [`ServiceConnection::poll`](super::backend::ServiceConnection::poll).
    pub(super) fn poll(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>> {
        loop {
            ready!(self.unwritten.poll_flush(cx, stream))?;
            if stage >= Stage::Immediate {
                return Poll::Ready(Ok(End::Drained));
            }
            match self.poll_step(cx, stream, entry)? {
                Poll::Ready(0) => return Poll::Ready(Ok(End::InputEnded)),
                Poll::Ready(_) => {}
                Poll::Pending if !has_turn() => return Poll::Pending,
                Poll::Pending if stage == Stage::Graceful => {
                    return Poll::Ready(Ok(End::Drained));
                }
                Poll::Pending => {
                    let Some(once) = self.once.as_mut().filter(|once| once.begun) else {
                        return Poll::Pending;
                    };
                    if !once.ended {
                        ready!(once.flush.poll(cx));
                    }
                    return Poll::Ready(Ok(End::Once));
                }
            }
        }
    }

    /// Reads once and writes the answer. Returns the number of bytes read.
    fn poll_step(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
        entry: Option<&Entry>,
    ) -> Poll<io::Result<usize>> {
        buffer_pool::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled_mut();
            let begun = entry.filter(|entry| entry.has_subscribers()).map(|_| Instant::now());
            if let (Some(once), Some(last)) = (&mut self.once, bytes.last()) {
                let ended = *last == b'\n';
                **once = FirstMessage { begun: true, ended, ..FirstMessage::default() };
            }
            // Received bytes are counted even if the write of their answer fails.
            if let Some(entry) = entry {
                entry.received().add(bytes.len(), 0);
            }
            (self.transform)(bytes);
            if let (Some(entry), Some(begun)) = (entry, begun) {
                entry.record_service(begun.elapsed());
            }
            self.unwritten.write(cx, stream, &mut [IoSlice::new(bytes)])?;
            if let Some(entry) = entry {
                entry.sent().add(bytes.len(), 0);
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }
}
