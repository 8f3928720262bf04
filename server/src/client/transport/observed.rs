//! A stream whose bytes are seen by an observer as they pass.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// An observer of a stream.
pub(super) trait StreamObserver {
    /// Event: bytes were read. The observer must not change them, although a decoder needs `&mut`.
    fn received(&mut self, bytes: &mut [u8]);

    /// Event: the peer has ended its direction.
    fn input_ended(&mut self) {}

    /// Event: a read has failed.
    fn input_failed(&mut self, _error: &io::Error) {}

    /// Event: a write has failed.
    fn output_failed(&mut self, _error: &io::Error) {}

    /// Event: bytes were written.
    fn sent(&mut self, _bytes: &[u8]) {}

    /// Event: the direction to the peer was ended.
    fn output_ended(&mut self) {}
}

/// A stream with an observer.
#[derive(Debug)]
pub(super) struct Observed<S, O> {
    pub(super) stream: S,
    pub(super) observer: O,
}

impl<S: AsyncRead + Unpin, O: StreamObserver + Unpin> AsyncRead for Observed<S, O> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let Observed { stream, observer } = &mut *self;
        let before = buf.filled().len();
        let read = ready!(Pin::new(stream).poll_read(cx, buf));
        match &read {
            Ok(()) if buf.filled().len() > before => {
                observer.received(&mut buf.filled_mut()[before..]);
            }
            Ok(()) if buf.remaining() > 0 => observer.input_ended(),
            Ok(()) => {}
            Err(e) => observer.input_failed(e),
        }
        Poll::Ready(read)
    }
}

impl<S: AsyncWrite + Unpin, O: StreamObserver + Unpin> AsyncWrite for Observed<S, O> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = ready!(Pin::new(&mut self.stream).poll_write(cx, buf));
        match &written {
            Ok(written) => self.observer.sent(&buf[..*written]),
            Err(e) => self.observer.output_failed(e),
        }
        Poll::Ready(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_shutdown(cx))?;
        self.observer.output_ended();
        Poll::Ready(Ok(()))
    }
}
