//! The streams of the two sides of a bridge.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use echogate_event_loop::{InFlight, may_continue_in_runtime};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::in_memory::InMemoryStream;
use crate::net::{
    datagram_upstream::ConnectedDatagrams,
    stream::{Stream, Transport, forward_transport},
};

/// The stream of a WebSocket client.
#[derive(Debug)]
pub(crate) enum ClientStream {
    Net(Stream),
    Http2(Http2Stream),
}

/// The stream to an upstream.
#[derive(Debug)]
pub(crate) enum UpstreamStream {
    Net(Stream),
    /// A built-in service in this process.
    InMemory(InMemoryStream),
    /// A datagram socket, whose every read and every write is one datagram. In a box, so that other
    /// streams are not larger.
    Datagrams(Box<ConnectedDatagrams>),
}

forward_transport!(ClientStream { Net, Http2 });
forward_transport!(UpstreamStream { Net, InMemory, Datagrams });

impl UpstreamStream {
    /// The local address, if the stream is a TCP connection or a UDP socket.
    pub(crate) fn local_addr(&self) -> Option<SocketAddr> {
        match self {
            UpstreamStream::Net(stream) => stream.local_addr().ok(),
            UpstreamStream::InMemory(_) => None,
            UpstreamStream::Datagrams(socket) => socket.local_addr(),
        }
    }
}

/// A stream of an HTTP/2 connection.
#[derive(Debug)]
pub(crate) struct Http2Stream(Box<TokioIo<Upgraded>>);

impl Http2Stream {
    /// The stream of an extended CONNECT request (RFC 8441).
    pub(super) fn new(upgraded: Upgraded) -> Http2Stream {
        Http2Stream(Box::new(TokioIo::new(upgraded)))
    }
}

impl Transport for Http2Stream {
    /// hyper reports RST_STREAM with CANCEL or NO_ERROR to a reader as an orderly end, and to a
    /// writer as an error, without a wake-up.
    fn wakes_on_failure(&self) -> bool {
        false
    }

    fn in_flight(&self) -> Option<InFlight> {
        None
    }

    /// Does nothing: hyper resets a stream that is dropped before its end (RFC 9113 section 5.4.2).
    fn reset_on_drop(&mut self) {}
}

impl AsyncRead for Http2Stream {
    /// Takes from the budget of the task, unlike hyper's own reads.
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !may_continue_in_runtime(cx) {
            return Poll::Pending;
        }
        Pin::new(&mut self.0).poll_read(cx, buf)
    }
}

impl AsyncWrite for Http2Stream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.0.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Transport for InMemoryStream {
    fn in_flight(&self) -> Option<InFlight> {
        Some(self.unread())
    }

    fn reset_on_drop(&mut self) {
        self.reset();
    }
}
