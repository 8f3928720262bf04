//! A connection in memory to a built-in service: no socket, no port, no task of its
//! own. Whoever uses the stream drives the service.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{drain::Stage, service::Exchange};

/// Bytes in flight each way, at the most.
const ROOM: usize = 64 * 1024;

/// The client's end of a connection to a service, and the service. To be used by one
/// task, which after a write tries to read: no wake-up tells it to.
#[derive(Debug)]
pub struct Memory {
    service: Exchange,
    /// How the service ended; while it has not, it is polled.
    ended: Option<Result<(), io::ErrorKind>>,
    pipe: Pipe,
}

/// What is under way.
#[derive(Debug, Default)]
struct Pipe {
    to_service: VecDeque<u8>,
    from_service: VecDeque<u8>,
    /// Nothing more goes to the service.
    shut: bool,
    /// The client found no room to write.
    blocked: bool,
}

impl Memory {
    /// A connection to a service that is at work.
    pub(crate) fn new(service: Exchange) -> Memory {
        Memory { service, ended: None, pipe: Pipe::default() }
    }

    /// Lets the service take and answer what it can now.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.ended.is_none()
            && let Poll::Ready(end) =
                self.service.poll(cx, &mut ServiceEnd(&mut self.pipe), None, Stage::Serving)
        {
            self.ended = Some(end.map(drop).map_err(|e| e.kind()));
        }
    }
}

impl AsyncRead for Memory {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.drive(cx);
        if !take(&mut this.pipe.from_service, buf) {
            return match this.ended {
                None => Poll::Pending,
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            };
        }
        // There is room again for what the service could not write.
        this.drive(cx);
        if std::mem::take(&mut this.pipe.blocked) {
            cx.waker().wake_by_ref();
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Memory {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let this = self.get_mut();
        if this.ended.is_some() || this.pipe.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let put = put(&mut this.pipe.to_service, bytes);
        this.drive(cx);
        this.pipe.blocked = put.is_pending();
        put
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = self.get_mut();
        this.pipe.shut = true;
        this.drive(cx);
        Poll::Ready(Ok(()))
    }
}

/// The service's end. It wakes nobody: both ends are one task's.
struct ServiceEnd<'a>(&'a mut Pipe);

impl AsyncRead for ServiceEnd<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = &mut *self.get_mut().0;
        if take(&mut pipe.to_service, buf) || pipe.shut {
            Poll::Ready(Ok(()))
        } else {
            Poll::Pending
        }
    }
}

impl AsyncWrite for ServiceEnd<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        put(&mut self.get_mut().0.from_service, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// Appends as many of `bytes` as there is room for; pending without any.
fn put(queue: &mut VecDeque<u8>, bytes: &[u8]) -> Poll<io::Result<usize>> {
    let len = bytes.len().min(ROOM - queue.len());
    if len == 0 && !bytes.is_empty() {
        return Poll::Pending;
    }
    queue.extend(&bytes[..len]);
    Poll::Ready(Ok(len))
}

/// Moves as much as fits into `buf`; false when there was nothing. An empty queue
/// holds no memory.
fn take(queue: &mut VecDeque<u8>, buf: &mut ReadBuf<'_>) -> bool {
    if queue.is_empty() {
        return false;
    }
    let (front, back) = queue.as_slices();
    let first = front.len().min(buf.remaining());
    buf.put_slice(&front[..first]);
    let second = back.len().min(buf.remaining());
    buf.put_slice(&back[..second]);
    queue.drain(..first + second);
    if queue.is_empty() {
        *queue = VecDeque::new();
    }
    true
}
