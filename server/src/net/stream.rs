//! The streams that connections come on and upstreams are reached by.

use std::{
    io::{self, IoSlice},
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;

use crate::{gateway::in_memory::Memory, net::tls::Tls};
use echogate_event_loop::{InFlight, StreamSocket};

/// Bytes that the kernel takes for a client beyond those that it can send at once. With
/// its own limit, 4 MiB and more, one that reads slowly would seem to stand still, and
/// a Ping would reach it minutes late.
const UNSENT: u32 = 128 * 1024;

/// A stream of bytes as a relay uses it: what reading and writing do not tell, and how it
/// ends when not in order.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Whether the connection is known to have failed, or the peer to have ended its side,
    /// although there may be bytes to read.
    fn has_ended(&self) -> bool;

    /// Whether the connection is known to have failed, although there may be bytes to read.
    fn has_failed(&self) -> bool;

    /// What was written and the peer has not acknowledged; none where nobody tells.
    fn in_flight(&self) -> Option<InFlight>;

    /// Has the connection end by a reset when the stream is dropped, and not in order: what
    /// is in flight is discarded, and a peer that reads learns that something is missing.
    /// TLS ends without its close_notify. A Unix socket knows no reset and just ends.
    fn reset_on_drop(&mut self);
}

/// One type for all of them, so that what runs on a stream is built once.
#[derive(Debug)]
pub(crate) enum Stream {
    /// TCP, or a socket in the file system.
    Plain(StreamSocket),
    /// TLS over TCP. (In a box: an idle plain connection pays nothing for it.)
    Tls(Box<Tls>),
    /// One stream of an HTTP/2 connection.
    Http2(Box<TokioIo<Upgraded>>),
    /// In memory, to a built-in service.
    Memory(Memory),
}

impl From<TcpStream> for Stream {
    fn from(stream: TcpStream) -> Stream {
        Stream::Plain(StreamSocket::Tcp(stream))
    }
}

impl From<UnixStream> for Stream {
    fn from(stream: UnixStream) -> Stream {
        Stream::Plain(StreamSocket::Unix(stream))
    }
}

impl From<Tls> for Stream {
    fn from(stream: Tls) -> Stream {
        Stream::Tls(stream.into())
    }
}

impl Stream {
    /// The address that the peer of a TCP connection, TLS within or not, has called.
    ///
    /// # Errors
    ///
    /// The socket's, and that there is none.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            Stream::Plain(socket) => socket.local_addr(),
            Stream::Tls(stream) => stream.local_addr(),
            Stream::Http2(_) | Stream::Memory(_) => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Lets writing tell how fast the peer reads.
    pub(crate) fn limit_unsent(&self) {
        // Where it cannot be set it is not.
        #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
        if let Stream::Plain(StreamSocket::Tcp(stream)) = self {
            socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT).ok();
        }
    }

    /// The socket below, where it is the stream's own.
    fn socket(&self) -> Option<&StreamSocket> {
        match self {
            Stream::Plain(socket) => Some(socket),
            Stream::Tls(stream) => Some(stream.socket()),
            Stream::Http2(_) | Stream::Memory(_) => None,
        }
    }

    /// Whether HTTP/2 was agreed on for it.
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.is_http2())
    }
}

macro_rules! on_each {
    ($self:ident, $stream:ident => $call:expr) => {
        match $self.get_mut() {
            Stream::Plain($stream) => $call,
            Stream::Tls($stream) => $call,
            Stream::Http2($stream) => $call,
            Stream::Memory($stream) => $call,
        }
    };
}

impl Transport for Stream {
    fn has_ended(&self) -> bool {
        self.socket().is_some_and(StreamSocket::has_ended)
    }

    fn has_failed(&self) -> bool {
        self.socket().is_some_and(StreamSocket::has_failed)
    }

    fn in_flight(&self) -> Option<InFlight> {
        match self {
            Stream::Plain(socket) => socket.in_flight(),
            Stream::Tls(stream) => stream.socket().in_flight(),
            Stream::Http2(_) => None,
            Stream::Memory(stream) => Some(stream.in_flight()),
        }
    }

    fn reset_on_drop(&mut self) {
        match self {
            Stream::Plain(socket) => socket.reset_when_closed(),
            Stream::Tls(stream) => stream.socket().reset_when_closed(),
            // Dropped before its end it is reset (RFC 9113 section 5.4.2).
            Stream::Http2(_) => {}
            Stream::Memory(stream) => stream.reset(),
        }
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_read(cx, buf))
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write(cx, buf))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        on_each!(self, stream => Pin::new(stream).poll_write_vectored(cx, bufs))
    }

    fn is_write_vectored(&self) -> bool {
        match self {
            Stream::Plain(stream) => stream.is_write_vectored(),
            Stream::Tls(stream) => stream.is_write_vectored(),
            Stream::Http2(stream) => stream.is_write_vectored(),
            Stream::Memory(stream) => stream.is_write_vectored(),
        }
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_flush(cx))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        on_each!(self, stream => Pin::new(stream).poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tls_makes_no_other_stream_larger() {
        assert_eq!(size_of::<Stream>(), size_of::<TcpStream>() + size_of::<usize>());
    }
}
