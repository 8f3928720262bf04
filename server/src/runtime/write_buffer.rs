//! What a peer does not take yet.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// Bytes that are written before any others. It holds memory only while there are
/// some, or while the stream itself holds some back (TLS does), and its owner reads
/// nothing new until there are none: that bounds it to what one step makes.
#[derive(Debug, Default)]
pub(crate) struct Backlog(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    written: usize,
}

impl Backlog {
    /// Whether all is written and flushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// How many bytes wait here.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes.len() - waiting.written)
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Writes what waits; ready when nothing does, here or in the stream.
    ///
    /// # Errors
    ///
    /// The stream's own.
    #[inline]
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        match self.0 {
            None => Poll::Ready(Ok(())),
            Some(_) => self.poll_flush_waiting(cx, stream),
        }
    }

    fn poll_flush_waiting<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        let Some(waiting) = &mut self.0 else { return Poll::Ready(Ok(())) };
        while waiting.written < waiting.bytes.len() {
            let rest = [IoSlice::new(&waiting.bytes[waiting.written..])];
            waiting.written += ready!(poll_some(cx, stream, &rest))?;
        }
        ready!(Pin::new(stream).poll_flush(cx))?;
        self.clear();
        Poll::Ready(Ok(()))
    }

    /// Writes `parts` in order, behind what waits, as far as the stream takes them now,
    /// and keeps the rest.
    ///
    /// # Errors
    ///
    /// The stream's own.
    pub(crate) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        mut parts: &mut [IoSlice<'_>],
    ) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0); // Empty ones go.
        while self.is_empty() && !parts.is_empty() {
            match poll_some(cx, stream, parts)? {
                Poll::Ready(n) => IoSlice::advance_slices(&mut parts, n),
                Poll::Pending => self.0 = Some(Box::default()),
            }
        }
        if let Some(waiting) = &mut self.0 {
            parts.iter().for_each(|part| waiting.bytes.extend_from_slice(part));
        } else if Pin::new(stream).poll_flush(cx)?.is_pending() {
            self.0 = Some(Box::default());
        }
        Ok(())
    }
}

/// One write, of which nothing written is an error.
fn poll_some<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut W,
    parts: &[IoSlice<'_>],
) -> Poll<io::Result<usize>> {
    let stream = Pin::new(stream);
    let written = match parts {
        [part] => stream.poll_write(cx, part),
        parts => stream.poll_write_vectored(cx, parts),
    };
    match ready!(written)? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        n => Poll::Ready(Ok(n)),
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    /// Takes `room` bytes at once, and holds them back until a flush finds it `open`.
    #[derive(Debug, Default)]
    struct Holding {
        room: usize,
        open: bool,
        held: Vec<u8>,
        out: Vec<u8>,
    }

    impl AsyncWrite for Holding {
        fn poll_write(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            let taken = bytes.len().min(self.room - self.held.len());
            self.held.extend_from_slice(&bytes[..taken]);
            if taken > 0 { Poll::Ready(Ok(taken)) } else { Poll::Pending }
        }

        fn poll_flush(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            if !self.open {
                return Poll::Pending;
            }
            let held = std::mem::take(&mut self.held);
            self.out.extend(held);
            Poll::Ready(Ok(()))
        }

        fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            self.poll_flush(cx)
        }
    }

    #[test]
    fn what_a_stream_holds_back_is_flushed_before_anything_new_is_read() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = Holding { room: 10, ..Holding::default() };
        let mut backlog = Backlog::default();
        backlog.write(cx, &mut stream, &mut [IoSlice::new(b"hello")]).unwrap();
        assert!(!backlog.is_empty(), "it is not out");
        assert_eq!(backlog.len(), 0, "and yet not here");
        assert!(backlog.poll_flush(cx, &mut stream).is_pending());
        stream.open = true;
        assert!(backlog.poll_flush(cx, &mut stream).is_ready());
        assert!(backlog.is_empty());
        assert_eq!(stream.out, b"hello");
        backlog.write(cx, &mut stream, &mut [IoSlice::new(b", world")]).unwrap();
        assert!(backlog.is_empty(), "it went out at once");
        assert_eq!(stream.out, b"hello, world");
    }

    #[test]
    fn what_waits_goes_first() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = Holding { room: 3, ..Holding::default() };
        let mut backlog = Backlog::default();
        let mut parts = [IoSlice::new(b"on"), IoSlice::new(b"e, ")];
        backlog.write(cx, &mut stream, &mut parts).unwrap();
        backlog.write(cx, &mut stream, &mut [IoSlice::new(b"two")]).unwrap();
        assert_eq!(backlog.len(), 5);
        stream.open = true;
        while backlog.poll_flush(cx, &mut stream).is_pending() {
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready(), "as a socket drains");
        }
        assert_eq!(stream.out, b"one, two");
    }
}
