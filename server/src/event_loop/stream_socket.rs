//! Stream sockets, in the runtime or on an event loop.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    pin::Pin,
    task::{Context, Poll},
};

use mio::{Token, event::Source};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use super::{Interest, Ready, here, is_here};

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
            let ready = Ready { read: true, write: true, read_closed: false };
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

    /// Reads or writes up to `len` bytes if the socket is `ready` for it, as often as the
    /// task's budget allows; beyond it the task will be polled again. Fewer bytes say that
    /// there is no more now, and what comes will be told; unless the end has been told of,
    /// with which nothing more is.
    #[inline]
    fn poll_io(
        &mut self,
        cx: &Context<'_>,
        ready: impl Fn(&mut Ready) -> &mut bool,
        len: usize,
        mut io: impl FnMut(&mut Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        here(|here| {
            if here.budget == 0 {
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
            let state = &mut here.interests[self.key].ready;
            if !*ready(state) {
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
                        here.budget -= 1;
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

    fn poll_read(&mut self, cx: &Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let room = buf.initialize_unfilled();
        let len = room.len();
        let read = self.poll_io(
            cx,
            |ready| &mut ready.read,
            len,
            |socket| on_each!(socket, stream => stream.read(room)),
        );
        read.map_ok(|n| buf.advance(n))
    }

    fn poll_write(&mut self, cx: &Context<'_>, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(MAX_PARTS)];
        let len = bufs.iter().map(|buf| buf.len()).sum();
        self.poll_io(
            cx,
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
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            StreamSocket::Tcp(stream) => stream.local_addr(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
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
            StreamSocket::OnLoop(socket) => socket.poll_read(cx, buf),
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
            StreamSocket::OnLoop(socket) => socket.poll_write(cx, bufs),
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
