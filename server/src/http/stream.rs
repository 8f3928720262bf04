//! The stream under an HTTP connection.

use std::{
    io::{self, IoSlice},
    mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, Waker},
};

use echogate_event_loop::StreamSocket;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::connection::Activity;
use crate::net::stream::{self, Stream, Transport};

/// The stream under an HTTP connection, which reports reads and writes as activity. The end of the
/// client's side is withheld from HTTP until the response that the client is owed is written. A
/// connection that is dropped while a write waits is reset, so that the kernel does not keep the
/// bytes of a client that does not read.
#[derive(Debug)]
pub(super) struct HttpStream {
    stream: Stream,
    activity: Arc<Activity>,
    /// The task that reads, while the client's end is withheld from that task.
    withheld_from: Option<Waker>,
}

impl HttpStream {
    pub(super) fn new(stream: Stream, activity: Arc<Activity>) -> HttpStream {
        HttpStream { stream, activity, withheld_from: None }
    }

    fn wrote(&mut self, result: &Poll<io::Result<usize>>) {
        self.activity.wrote(result);
        if self.withheld_from.is_some()
            && !self.activity.withholds_end()
            && let Some(reader) = self.withheld_from.take()
        {
            reader.wake();
        }
    }

    /// Moves the stream to a descriptor outside the reserve, if one is free.
    #[cold]
    fn leave_reserve(&mut self) {
        if !self.activity.is_writing() && self.stream.leave_reserve().is_ok() {
            self.activity.permit().leave_reserve();
        }
    }

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
        self.withheld_from = None;
        if self.activity.permit().is_in_reserve() {
            self.leave_reserve();
        }
        let before = buf.filled().len();
        let result = Pin::new(&mut self.stream).poll_read(cx, buf);
        if buf.filled().len() > before {
            self.activity.read();
        } else if is_end(&result) && self.activity.withholds_end() {
            self.withheld_from = Some(cx.waker().clone());
            return Poll::Pending;
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
        self.wrote(&result);
        result
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.stream).poll_write_vectored(cx, bufs);
        self.wrote(&result);
        result
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_flush(cx);
        self.wrote(&map_len(&result));
        result
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.stream).poll_shutdown(cx);
        self.wrote(&map_len(&result));
        result
    }
}

/// Whether a read without bytes reports the end of the client's side, over TLS also one without
/// close_notify.
fn is_end(result: &Poll<io::Result<()>>) -> bool {
    match result {
        Poll::Pending => false,
        Poll::Ready(Ok(())) => true,
        Poll::Ready(Err(e)) => stream::is_end(e),
    }
}

/// The result of a flush as that of a write without bytes.
fn map_len(result: &Poll<io::Result<()>>) -> Poll<io::Result<usize>> {
    match result {
        Poll::Pending => Poll::Pending,
        Poll::Ready(_) => Poll::Ready(Ok(0)),
    }
}
