//! Streams of bytes over sockets, with TLS or without.
//!
//! - `forward`: the traits of streams for enums of streams; `reset_guard`: a reset at the end of the
//!   process

mod forward;
mod reset_guard;

use std::{
    io,
    net::SocketAddr,
    os::fd::{AsFd, BorrowedFd},
};

use echogate_event_loop::{InFlight, StreamSocket};
use echogate_proto::ws::scanner::FrameScanner;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpStream, UnixStream},
};

pub(crate) use self::{
    forward::{for_variant, forward_io, forward_methods, forward_transport},
    reset_guard::ResetGuard,
};
use super::tls::Tls;
use crate::connections::limits::descriptors::{self, outside_reserve};

/// The limit of bytes that the kernel accepts for a client and cannot send yet
/// (`TCP_NOTSENT_LOWAT`). With the default limit, 4 MiB and more, a slow reader would seem to be
/// stalled, and a Ping would reach it minutes late.
const UNSENT: u32 = 128 * 1024;

/// A stream of bytes as a relay uses it: with the state that reads and writes do not report, and
/// with an end by a reset.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin {
    /// Whether the connection is known to have failed, or the peer to have ended its side,
    /// although there may be bytes to read.
    fn has_ended(&self) -> bool {
        self.has_failed()
    }

    /// Whether the connection is known to have failed, although there may be bytes to read. False
    /// where only a read or a write reports it.
    fn has_failed(&self) -> bool {
        false
    }

    /// Whether a failure of the connection wakes the task that uses the stream. Where it does
    /// not, a flush reports it.
    fn wakes_on_failure(&self) -> bool {
        true
    }

    /// Bytes that were written and that the peer has not acknowledged; none where that is not
    /// known.
    fn in_flight(&self) -> Option<InFlight>;

    /// Makes the connection end by a reset when the stream is dropped: bytes in flight are
    /// discarded, and a peer that reads learns that something is missing. TLS ends without
    /// close_notify. A Unix socket has no reset and is closed.
    fn reset_on_drop(&mut self);

    /// Resets the connection now, as [`Transport::reset_on_drop`] does at the end. The stream is not
    /// used any more. A transport without a reset of its own ends when it is dropped.
    fn reset(&mut self) {
        self.reset_on_drop();
    }

    /// Whether each read returns one message, and each write takes one. Such a message may be
    /// empty.
    fn reads_messages(&self) -> bool {
        false
    }

    /// Whether the last read, which returned no bytes, has reported the end of the input. False
    /// after an empty message ([`Transport::reads_messages`]).
    fn has_read_end(&self) -> bool {
        true
    }

    /// Tells observers the `position` of the next read within the frames of the WebSocket protocol.
    fn reads_at(&self, _position: impl FnOnce() -> FrameScanner) {}

    /// Tells observers that the next write begins with a frame of the WebSocket protocol.
    fn writes_a_frame(&self) {}
}

/// Whether a read has failed because the peer ended its direction early: without close_notify in TLS,
/// or within a record of a stream of records.
pub(crate) fn is_end(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::UnexpectedEof
}

/// A stream over a socket. One type for all of them, so that code over streams is compiled once.
#[derive(Debug)]
pub(crate) enum Stream {
    Plain(StreamSocket),
    /// TLS over TCP. In a box, so that plain connections take less memory.
    Tls(Box<Tls>),
}

forward_io!(Stream { Plain, Tls });

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
    /// The local address of a TCP connection, with TLS or without.
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2); `Unsupported` for other sockets.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket().local_addr()
    }

    /// The local address and that of the peer, of a TCP connection.
    pub(crate) fn addresses(&self) -> [Option<SocketAddr>; 2] {
        let StreamSocket::Tcp(stream) = self.socket() else { return [None, None] };
        [stream.local_addr().ok(), stream.peer_addr().ok()]
    }

    /// Waits for the first byte of a TCP connection, which stays in the stream; none if the
    /// connection ends or fails without one. None at once for other streams.
    pub(crate) async fn first_byte(&self) -> Option<u8> {
        let Stream::Plain(StreamSocket::Tcp(stream)) = self else { return None };
        let mut first = [0];
        let peeked = stream.peek(&mut first).await.ok()?;
        (peeked > 0).then_some(first[0])
    }

    /// Bounds the bytes that the kernel accepts without being able to send them, so that
    /// backpressure shows how fast the peer reads.
    pub(crate) fn limit_unsent(&self) {
        // An error leaves the default limit.
        #[cfg(any(target_os = "android", target_os = "linux", target_vendor = "apple"))]
        if let Stream::Plain(StreamSocket::Tcp(stream)) = self {
            socket2::SockRef::from(stream).set_tcp_notsent_lowat(UNSENT).ok();
        }
    }

    /// Whether the number of the socket, which has just been accepted, is in the reserve of descriptors.
    pub(crate) fn is_in_reserve(&self) -> bool {
        match self.socket() {
            StreamSocket::Tcp(stream) => descriptors::is_in_reserve(stream),
            StreamSocket::Unix(stream) => descriptors::is_in_reserve(stream),
            StreamSocket::OnLoop(_) | StreamSocket::Failed => false,
        }
    }

    /// Moves the socket out of the reserve of descriptors. No write may be waiting.
    ///
    /// # Errors
    ///
    /// When no number below the reserve is free, or the runtime cannot register the socket; the
    /// socket stays as it is.
    pub(crate) fn leave_reserve(&mut self) -> io::Result<()> {
        let duplicate = |socket: BorrowedFd<'_>| outside_reserve(socket.try_clone_to_owned()?);
        let socket = match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket_mut(),
        };
        match socket {
            StreamSocket::Tcp(stream) => {
                *stream = TcpStream::from_std(duplicate(stream.as_fd())?.into())?;
            }
            StreamSocket::Unix(stream) => {
                *stream = UnixStream::from_std(duplicate(stream.as_fd())?.into())?;
            }
            StreamSocket::OnLoop(_) | StreamSocket::Failed => {}
        }
        Ok(())
    }

    /// Checks a TCP connection in the runtime.
    ///
    /// # Errors
    ///
    /// The failure that no read or write has reported yet, such as a reset after the end of the input.
    pub(crate) fn check(&self) -> io::Result<()> {
        let StreamSocket::Tcp(stream) = self.socket() else { return Ok(()) };
        stream.take_error()?.map_or(Ok(()), Err)
    }

    fn socket(&self) -> &StreamSocket {
        match self {
            Stream::Plain(socket) => socket,
            Stream::Tls(stream) => stream.socket(),
        }
    }

    /// Makes the connection end by a reset, even if the process is killed, until the guard is
    /// released; none where there is no reset.
    pub(crate) fn reset_guard(&self) -> Option<ResetGuard> {
        let StreamSocket::Tcp(stream) = self.socket() else { return None };
        ResetGuard::new(stream)
    }

    /// Whether HTTP/2 was negotiated (ALPN).
    pub(crate) fn is_http2(&self) -> bool {
        matches!(self, Stream::Tls(stream) if stream.is_http2())
    }
}

impl Transport for Stream {
    fn has_ended(&self) -> bool {
        self.socket().has_ended()
    }

    fn has_failed(&self) -> bool {
        self.socket().has_failed()
    }

    fn in_flight(&self) -> Option<InFlight> {
        self.socket().in_flight()
    }

    fn reset_on_drop(&mut self) {
        self.socket().reset_when_closed();
    }

    fn reset(&mut self) {
        self.reset_on_drop();
        *self = Stream::Plain(StreamSocket::Failed);
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
