//! What a peer does not take yet.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::AsyncWrite;

/// Bytes that are written before any others. It holds memory only while there are
/// some, and its owner reads nothing new until there are none: that bounds it to
/// what one step makes.
#[derive(Debug, Default)]
pub(crate) struct Backlog {
    bytes: Vec<u8>,
    written: usize,
}

impl Backlog {
    /// Whether all is written.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    /// How many bytes wait.
    pub(crate) fn len(&self) -> usize {
        self.bytes.len() - self.written
    }

    /// Adds bytes behind those that wait.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.bytes.extend_from_slice(bytes);
    }

    /// Forgets what waits.
    pub(crate) fn clear(&mut self) {
        *self = Backlog::default();
    }

    /// Writes what waits; ready when nothing does.
    ///
    /// # Errors
    ///
    /// The stream's own.
    pub(crate) fn poll_flush<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
    ) -> Poll<io::Result<()>> {
        while self.written < self.bytes.len() {
            self.written += ready!(poll_some(cx, stream, &self.bytes[self.written..]))?;
        }
        if !self.bytes.is_empty() {
            self.clear();
        }
        Poll::Ready(Ok(()))
    }

    /// Writes `bytes` as far as the stream takes them now, and keeps the rest. To be
    /// called with nothing waiting.
    ///
    /// # Errors
    ///
    /// The stream's own.
    pub(crate) fn write<W: AsyncWrite + Unpin>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut W,
        mut bytes: &[u8],
    ) -> io::Result<()> {
        debug_assert!(self.is_empty(), "what waits goes first");
        while !bytes.is_empty() {
            match poll_some(cx, stream, bytes)? {
                Poll::Ready(n) => bytes = &bytes[n..],
                Poll::Pending => {
                    self.push(bytes);
                    break;
                }
            }
        }
        Ok(())
    }
}

/// One write, of which nothing written is an error.
fn poll_some<W: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut W,
    bytes: &[u8],
) -> Poll<io::Result<usize>> {
    match ready!(Pin::new(stream).poll_write(cx, bytes))? {
        0 => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
        n => Poll::Ready(Ok(n)),
    }
}
