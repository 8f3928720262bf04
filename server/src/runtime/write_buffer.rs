//! A write buffer: bytes that a peer does not accept yet.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// Bytes that are written before any others. An empty buffer holds no memory. The owner reads nothing
/// new until the buffer is empty, which bounds it to the output of one poll. The buffer also counts as
/// not empty while the stream itself buffers bytes (TLS), until they are flushed.
#[derive(Debug, Default)]
pub(crate) struct WriteBuffer(Option<Box<Waiting>>);

#[derive(Debug, Default)]
struct Waiting {
    bytes: Vec<u8>,
    written: usize,
}

impl WriteBuffer {
    /// Whether all bytes are written and flushed.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// The number of buffered bytes, without those that the stream buffers.
    pub(crate) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |waiting| waiting.bytes.len() - waiting.written)
    }

    pub(crate) fn clear(&mut self) {
        self.0 = None;
    }

    /// Writes the buffered bytes; ready when none are left, here or in the stream.
    ///
    /// # Errors
    ///
    /// The errors of the stream.
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

    /// Writes `parts` in order after the buffered bytes, as far as the stream accepts them now,
    /// and buffers the rest.
    ///
    /// # Errors
    ///
    /// The errors of the stream.
    pub(crate) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        mut parts: &mut [IoSlice<'_>],
    ) -> io::Result<()> {
        IoSlice::advance_slices(&mut parts, 0); // Removes empty parts.
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

/// One write. Zero bytes written are an error of kind `WriteZero`.
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

    /// A stream that accepts `room` bytes, and buffers them until a flush finds it `open`.
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
    fn bytes_that_the_stream_buffers_are_flushed_before_anything_new_is_read() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = Holding { room: 10, ..Holding::default() };
        let mut unwritten = WriteBuffer::default();
        unwritten.write(cx, &mut stream, &mut [IoSlice::new(b"hello")]).unwrap();
        assert!(!unwritten.is_empty(), "not flushed");
        assert_eq!(unwritten.len(), 0, "but not buffered here");
        assert!(unwritten.poll_flush(cx, &mut stream).is_pending());
        stream.open = true;
        assert!(unwritten.poll_flush(cx, &mut stream).is_ready());
        assert!(unwritten.is_empty());
        assert_eq!(stream.out, b"hello");
        unwritten.write(cx, &mut stream, &mut [IoSlice::new(b", world")]).unwrap();
        assert!(unwritten.is_empty(), "written at once");
        assert_eq!(stream.out, b"hello, world");
    }

    #[test]
    fn buffered_bytes_are_written_first() {
        let cx = &mut Context::from_waker(Waker::noop());
        let mut stream = Holding { room: 3, ..Holding::default() };
        let mut unwritten = WriteBuffer::default();
        let mut parts = [IoSlice::new(b"on"), IoSlice::new(b"e, ")];
        unwritten.write(cx, &mut stream, &mut parts).unwrap();
        unwritten.write(cx, &mut stream, &mut [IoSlice::new(b"two")]).unwrap();
        assert_eq!(unwritten.len(), 5);
        stream.open = true;
        while unwritten.poll_flush(cx, &mut stream).is_pending() {
            assert!(Pin::new(&mut stream).poll_flush(cx).is_ready(), "as a socket drains");
        }
        assert_eq!(stream.out, b"one, two");
    }
}
