//! Stream sockets, in the runtime or on an event loop.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use mio::{Token, event::Source};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{Interest, Ready, here, is_here};
use crate::InFlight;

/// More than the system takes at once (IOV_MAX on Linux and macOS) would make a write
/// that was taken whole look like one that was not.
const MAX_PARTS: usize = 1024;

/// A connected socket. It begins in the runtime; a task of an event loop that reads or
/// writes it takes it there by that, and from then on no other task can use it.
#[derive(Debug)]
pub enum StreamSocket {
    /// TCP, in the runtime.
    Tcp(TcpStream),
    /// A socket in the file system, in the runtime.
    Unix(UnixStream),
    /// Either, on an event loop.
    OnLoop(OnLoop),
    /// It could not be taken to an event loop, and was closed.
    Lost,
}

/// A socket on the event loop of this thread.
#[derive(Debug)]
pub struct OnLoop {
    socket: Socket,
    key: usize,
}

#[derive(Debug)]
enum Socket {
    Tcp(mio::net::TcpStream),
    Unix(mio::net::UnixStream),
}

macro_rules! on_each {
    ($socket:expr, $stream:ident => $call:expr) => {
        match $socket {
            Socket::Tcp($stream) => $call,
            Socket::Unix($stream) => $call,
        }
    };
}

impl OnLoop {
    /// Enters this thread's event loop, for the task that is polled.
    fn new(mut socket: Socket) -> io::Result<OnLoop> {
        let key = here(|here| {
            let task = here.task;
            // What has come already is found by reading it.
            let ready = Ready { read: true, write: true, read_closed: false, failed: false };
            let key = here.interests.insert(Interest { task, ready });
            let all = mio::Interest::READABLE | mio::Interest::WRITABLE;
            let source: &mut dyn Source = on_each!(&mut socket, stream => stream);
            let entered = source.register(here.poll.registry(), Token(key), all);
            if entered.is_err() {
                here.interests.remove(key);
            }
            entered.map(|()| key)
        })?;
        Ok(OnLoop { socket, key })
    }

    /// Reads or writes up to `len` bytes if the socket is `ready` for it and the task's
    /// turn is not over; after the turn the task is polled again. A short read or write
    /// means that the kernel's buffer is empty or full: epoll will report the next change.
    /// After a reported end of the stream it reports no more, so that readiness stays.
    #[inline]
    fn poll_io(
        &mut self,
        ready: impl Fn(&mut Ready) -> &mut bool,
        len: usize,
        mut io: impl FnMut(&mut Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        here(|here| {
            let state = &mut here.interests[self.key].ready;
            if !*ready(state) || !here.turn.goes_on() {
                return Poll::Pending;
            }
            loop {
                match io(&mut self.socket) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        *ready(state) = false;
                        return Poll::Pending;
                    }
                    done => {
                        here.turn.count(*done.as_ref().unwrap_or(&0));
                        let less = done.as_ref().is_ok_and(|&n| 0 < n && n < len);
                        if less && !state.read_closed {
                            *ready(state) = false;
                        }
                        return Poll::Ready(done);
                    }
                }
            }
        })
    }

    fn poll_read(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let len = room.len();
        let read = self.poll_io(
            |ready| &mut ready.read,
            len,
            |socket| on_each!(socket, stream => stream.read(room)),
        );
        read.map_ok(|n| buf.advance(n))
    }

    fn poll_write(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(MAX_PARTS)];
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_io(
            |ready| &mut ready.write,
            len,
            |socket| {
                on_each!(socket, stream => match bufs {
                    [buf] => stream.write(buf),
                    bufs => stream.write_vectored(bufs),
                })
            },
        )
    }

    fn shutdown(&self) -> io::Result<()> {
        on_each!(&self.socket, stream => stream.shutdown(Shutdown::Write)).or_else(|e| {
            // The peer's end may have come first.
            if e.kind() == io::ErrorKind::NotConnected { Ok(()) } else { Err(e) }
        })
    }
}

impl AsFd for OnLoop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        on_each!(&self.socket, stream => stream.as_fd())
    }
}

impl Drop for OnLoop {
    /// (Who is closed is taken from the system's list by that.)
    fn drop(&mut self) {
        here(|here| here.interests.remove(self.key));
    }
}

impl From<TcpStream> for StreamSocket {
    fn from(stream: TcpStream) -> StreamSocket {
        StreamSocket::Tcp(stream)
    }
}

impl StreamSocket {
    /// The address that it is bound to.
    ///
    /// # Errors
    ///
    /// The socket's, and that it has none or is no longer in the runtime.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            StreamSocket::Tcp(stream) => stream.local_addr(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the connection is known to have failed: the peer has reset it, or the kernel
    /// has given it up. What had come before can still be read.
    pub fn has_failed(&self) -> bool {
        self.ready().is_some_and(|ready| ready.failed)
    }

    /// Whether the connection is known to have failed or the peer to have ended its side.
    /// What had come before can still be read.
    pub fn has_ended(&self) -> bool {
        self.ready().is_some_and(|ready| ready.failed || ready.read_closed)
    }

    /// What the event loop knows, if the socket is on one.
    fn ready(&self) -> Option<Ready> {
        let StreamSocket::OnLoop(socket) = self else { return None };
        Some(here(|here| here.interests[socket.key].ready))
    }

    /// What is on its way to the peer, as far as the kernel tells: nothing on a Unix socket,
    /// where bytes are with the peer as soon as they are written.
    pub fn in_flight(&self) -> Option<InFlight> {
        match self {
            StreamSocket::Tcp(stream) => InFlight::on(stream),
            StreamSocket::OnLoop(socket) if matches!(socket.socket, Socket::Tcp(_)) => {
                InFlight::on(socket)
            }
            StreamSocket::OnLoop(_) | StreamSocket::Unix(_) | StreamSocket::Lost => {
                Some(InFlight::NOTHING)
            }
        }
    }

    /// Has TCP reset the connection when the socket is closed (`SO_LINGER` 0), which discards
    /// what is in flight. A Unix socket knows no reset.
    pub fn reset_when_closed(&self) {
        let set = |socket: SockRef<'_>| socket.set_linger(Some(Duration::ZERO));
        // That it fails on a connection that is gone already makes no difference.
        match self {
            StreamSocket::Tcp(stream) => set(stream.into()).ok(),
            StreamSocket::OnLoop(socket) => set(socket.into()).ok(),
            StreamSocket::Unix(_) | StreamSocket::Lost => None,
        };
    }

    /// It, on the event loop if this is one's thread.
    #[inline]
    fn here(self: Pin<&mut Self>) -> io::Result<&mut StreamSocket> {
        let socket = self.get_mut();
        if !matches!(socket, StreamSocket::OnLoop(_)) && is_here() {
            socket.come()?;
        }
        Ok(socket)
    }

    #[cold]
    fn come(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(self, StreamSocket::Lost) {
            StreamSocket::Tcp(stream) => {
                Socket::Tcp(mio::net::TcpStream::from_std(stream.into_std()?))
            }
            StreamSocket::Unix(stream) => {
                Socket::Unix(mio::net::UnixStream::from_std(stream.into_std()?))
            }
            StreamSocket::OnLoop(_) | StreamSocket::Lost => return Err(lost()),
        };
        *self = StreamSocket::OnLoop(OnLoop::new(socket)?);
        Ok(())
    }
}

fn lost() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for StreamSocket {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.here()? {
            StreamSocket::OnLoop(socket) => socket.poll_read(buf),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            StreamSocket::Lost => Poll::Ready(Err(lost())),
        }
    }
}

impl AsyncWrite for StreamSocket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.here()? {
            StreamSocket::OnLoop(socket) => socket.poll_write(bufs),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            StreamSocket::Lost => Poll::Ready(Err(lost())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing is held back here.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            StreamSocket::OnLoop(socket) => Poll::Ready(socket.shutdown()),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            StreamSocket::Lost => Poll::Ready(Err(lost())),
        }
    }
}
