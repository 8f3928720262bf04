//! Stream sockets: in the runtime, then on an event loop.

use std::{
    io::{self, IoSlice, Read, Write},
    net::{Shutdown, SocketAddr},
    os::fd::{AsFd, BorrowedFd},
    pin::Pin,
    task::{Context, Poll},
    thread,
    time::Duration,
};

use mio::{Token, event::Source};
use socket2::SockRef;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::{TcpStream, UnixStream},
};

use crate::{
    InFlight,
    state::{LoopState, Ready, Registration, WRONG_LOOP, is_loop_thread, try_with_loop, with_loop},
};

/// The largest number of buffers in one write: `IOV_MAX` of Linux and macOS. With more of them, a write
/// of as many as the system takes at once would look like a short one.
const MAX_BUFFERS: usize = 1024;

/// The panic message about a socket that has left its task.
pub(crate) const WRONG_TASK: &str =
    "a socket on an event loop was used by another task than the first";

/// A connected stream socket. It begins in the runtime. The first read or write by a task of an
/// event loop moves it to that loop, where it stays with that task.
#[derive(Debug)]
pub enum StreamSocket {
    /// A TCP socket in the runtime.
    Tcp(TcpStream),
    /// A Unix socket in the runtime.
    Unix(UnixStream),
    /// A socket of either kind on an event loop.
    OnLoop(OnLoop),
    /// No socket any more: the socket was closed because it could not be moved to an event loop, or by
    /// its owner.
    Failed,
}

/// A socket on an event loop.
#[derive(Debug)]
pub struct OnLoop {
    socket: Socket,
    /// The key of the registration on that loop.
    key: usize,
    /// The number of that loop.
    loop_number: u32,
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
    /// Registers `socket` with this thread's event loop, for the task that is being polled.
    fn new(mut socket: Socket) -> io::Result<OnLoop> {
        with_loop(|state| {
            // Bytes that arrived before are found by reading.
            let ready = Ready { read: true, write: true, read_closed: false, failed: false };
            let key = state.registrations.insert(Registration { task: state.task, ready });
            let both = mio::Interest::READABLE | mio::Interest::WRITABLE;
            let source: &mut dyn Source = on_each!(&mut socket, stream => stream);
            if let Err(e) = source.register(state.poll.registry(), Token(key), both) {
                state.registrations.remove(key);
                return Err(e);
            }
            Ok(OnLoop { socket, key, loop_number: state.number })
        })
    }

    /// Reads or writes up to `len` bytes if the socket is `ready` for it and the task's turn is not
    /// over. Pending stores no waker: the task is polled when the socket becomes ready, and after
    /// others if its turn is over. A short read or write means that the kernel's buffer is empty or
    /// full: the system will report the next change. After a reported end of the stream it reports
    /// no more, so that readiness to read stays.
    ///
    /// # Panics
    ///
    /// When another task than the first that used the socket polls it, on any thread.
    #[inline]
    fn poll_io(
        &mut self,
        ready: impl Fn(&mut Ready) -> &mut bool,
        len: usize,
        mut io: impl FnMut(&mut Socket) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        with_loop(|state| {
            let LoopState { number, registrations, task, turn, .. } = state;
            assert_eq!(*number, self.loop_number, "{WRONG_LOOP}");
            let registration = &mut registrations[self.key];
            assert_eq!(*task, registration.task, "{WRONG_TASK}");
            let known = &mut registration.ready;
            if !*ready(known) || !turn.may_continue() {
                return Poll::Pending;
            }
            loop {
                match io(&mut self.socket) {
                    Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                    Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                        *ready(known) = false;
                        return Poll::Pending;
                    }
                    done => {
                        turn.count(*done.as_ref().unwrap_or(&0));
                        let is_short = done.as_ref().is_ok_and(|&n| 0 < n && n < len);
                        if is_short && !known.read_closed {
                            *ready(known) = false;
                        }
                        return Poll::Ready(done);
                    }
                }
            }
        })
    }

    /// Known readiness.
    ///
    /// # Panics
    ///
    /// On a thread other than the loop's.
    #[inline]
    fn ready(&self) -> Ready {
        with_loop(|state| {
            assert_eq!(state.number, self.loop_number, "{WRONG_LOOP}");
            state.registrations[self.key].ready
        })
    }

    #[inline]
    fn poll_read(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let unfilled = buf.initialize_unfilled();
        let len = unfilled.len();
        let read = self.poll_io(
            |ready| &mut ready.read,
            len,
            |socket| on_each!(socket, stream => stream.read(unfilled)),
        );
        read.map_ok(|n| buf.advance(n))
    }

    #[inline]
    fn poll_write(&mut self, bufs: &[IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let bufs = &bufs[..bufs.len().min(MAX_BUFFERS)];
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
            // The peer may have closed the connection before.
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
    /// Removes the registration. (Closing the file descriptor removes it from epoll and kqueue.)
    ///
    /// # Panics
    ///
    /// On a thread other than the loop's. If that thread is unwinding already the registration
    /// is left behind instead, where it does no harm: a second panic would abort the process.
    fn drop(&mut self) {
        let is_removed = try_with_loop(|state| {
            let is_own = state.number == self.loop_number;
            if is_own {
                state.registrations.remove(self.key);
            }
            is_own
        });
        assert!(is_removed == Some(true) || thread::panicking(), "{WRONG_LOOP}");
    }
}

impl From<TcpStream> for StreamSocket {
    fn from(stream: TcpStream) -> StreamSocket {
        StreamSocket::Tcp(stream)
    }
}

impl StreamSocket {
    /// The address that a TCP socket in the runtime is bound to.
    ///
    /// # Errors
    ///
    /// The errors of getsockname(2); [`Unsupported`](io::ErrorKind::Unsupported) for all other sockets.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        match self {
            StreamSocket::Tcp(stream) => stream.local_addr(),
            _ => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    /// Whether the connection is known to have failed: the peer has reset it, or the kernel
    /// has given it up. Bytes that arrived before can still be read.
    pub fn has_failed(&self) -> bool {
        self.ready().is_some_and(|ready| ready.failed)
    }

    /// Whether the connection is known to have failed or the peer to have ended its side.
    /// Bytes that arrived before can still be read.
    pub fn has_ended(&self) -> bool {
        self.ready().is_some_and(|ready| ready.failed || ready.read_closed)
    }

    /// Known readiness, if the socket is on an event loop.
    #[inline]
    fn ready(&self) -> Option<Ready> {
        let StreamSocket::OnLoop(socket) = self else { return None };
        Some(socket.ready())
    }

    /// Bytes under way to the peer, as far as the kernel reports them: nothing on a Unix socket, where
    /// written bytes reach the peer at once.
    pub fn in_flight(&self) -> Option<InFlight> {
        match self {
            StreamSocket::Tcp(stream) => InFlight::on(stream),
            StreamSocket::OnLoop(socket) if matches!(socket.socket, Socket::Tcp(_)) => {
                InFlight::on(socket)
            }
            StreamSocket::OnLoop(_) | StreamSocket::Unix(_) | StreamSocket::Failed => {
                Some(InFlight::NOTHING)
            }
        }
    }

    /// Makes TCP reset the connection when the socket is closed (`SO_LINGER` 0), which discards bytes
    /// in flight. Unix sockets have no reset.
    pub fn reset_when_closed(&self) {
        let set = |socket: SockRef<'_>| socket.set_linger(Some(Duration::ZERO));
        // The call fails on a connection that is gone, which makes no difference.
        match self {
            StreamSocket::Tcp(stream) => set(stream.into()).ok(),
            StreamSocket::OnLoop(socket) => set(socket.into()).ok(),
            StreamSocket::Unix(_) | StreamSocket::Failed => None,
        };
    }

    /// The socket, moved to this thread's event loop if there is one.
    #[inline]
    fn on_loop(self: Pin<&mut Self>) -> io::Result<&mut StreamSocket> {
        let socket = self.get_mut();
        if !matches!(socket, StreamSocket::OnLoop(_)) && is_loop_thread() {
            socket.adopt()?;
        }
        Ok(socket)
    }

    /// Moves the socket from the runtime to this thread's event loop.
    #[cold]
    fn adopt(&mut self) -> io::Result<()> {
        let socket = match std::mem::replace(self, StreamSocket::Failed) {
            StreamSocket::Tcp(stream) => {
                Socket::Tcp(mio::net::TcpStream::from_std(stream.into_std()?))
            }
            StreamSocket::Unix(stream) => {
                Socket::Unix(mio::net::UnixStream::from_std(stream.into_std()?))
            }
            StreamSocket::OnLoop(_) | StreamSocket::Failed => return Err(not_connected()),
        };
        *self = StreamSocket::OnLoop(OnLoop::new(socket)?);
        Ok(())
    }
}

fn not_connected() -> io::Error {
    io::ErrorKind::NotConnected.into()
}

impl AsyncRead for StreamSocket {
    #[inline]
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.on_loop()? {
            StreamSocket::OnLoop(socket) => socket.poll_read(buf),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_read(cx, buf),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_read(cx, buf),
            StreamSocket::Failed => Poll::Ready(Err(not_connected())),
        }
    }
}

impl AsyncWrite for StreamSocket {
    #[inline]
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(buf)])
    }

    #[inline]
    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.on_loop()? {
            StreamSocket::OnLoop(socket) => socket.poll_write(bufs),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_write_vectored(cx, bufs),
            StreamSocket::Failed => Poll::Ready(Err(not_connected())),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Does nothing: writes are not buffered.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            StreamSocket::OnLoop(socket) => Poll::Ready(socket.shutdown()),
            StreamSocket::Tcp(stream) => Pin::new(stream).poll_shutdown(cx),
            StreamSocket::Unix(stream) => Pin::new(stream).poll_shutdown(cx),
            StreamSocket::Failed => Poll::Ready(Err(not_connected())),
        }
    }
}
