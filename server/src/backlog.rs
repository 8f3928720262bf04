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
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
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
