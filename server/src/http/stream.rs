//! The stream under an HTTP connection.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use echogate_event_loop::StreamSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Activity;
use crate::net::stream::{Stream, Transport};

/// The stream under an HTTP connection, which reports reads and writes as activity. A connection
/// that is dropped while a write waits is reset, so that the kernel does not keep the bytes of a
/// client that does not read.
#[derive(Debug)]
pub(super) struct HttpStream {
    stream: Stream,
    activity: Arc<Activity>,
}

impl HttpStream {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>) -> HttpStream {
        HttpStream { stream, activity }
    }

    /// The stream itself.
    pub(super) fn into_inner(mut self) -> Stream {
        self.activity.handed_over();
        mem::replace(&mut self.stream, Stream::Plain(StreamSocket::Failed))
    }
}

impl Drop for HttpStream {
    fn drop(&mut self) {
        if self.activity.is_writing() {
            self.stream.reset_on_drop();
        }
    }
}

impl AsyncRead for HttpStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        }
        result
    }
}

impl AsyncWrite for HttpStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write(cx, buf);
        self.activity.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.activity.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.activity.wrote(&map_len(&result));
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.activity.wrote(&map_len(&result));
        result
    }
}

/// The result of a flush as that of a write without bytes.
fn map_len(result: &Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
    match result {
        Poll::Pending => Poll::Pending,
        Poll::Ready(_) => Poll::Ready(Ok(0)),
    }
}
