//! Connections to a built-in service in memory, without a socket or a task: the service runs
//! within the reads and writes of the client's stream.

use std::{
    collections::VecDeque,
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    runtime::{buffer_pool::READ, drain::Stage},
    service::backend::ServiceConnection,
};
use echogate_event_loop::InFlight;

/// The maximum number of bytes in each direction: as many as one read returns.
const CAPACITY: usize = READ;

/// The client's end of a connection to a service, together with the service. One task must both
/// read and write, and must try to read after each write: a reply causes no wake-up.
#[derive(Debug)]
pub(crate) struct InMemoryStream {
    service: Service,
    /// Whether a write is pending, so that the task must be woken when there is room.
    blocked: bool,
}

#[derive(Debug)]
enum Service {
    /// A service that transforms bytes in place.
    Bytes(Transform),
    /// Any other service.
    Driven(Box<Driven>),
}

impl InMemoryStream {
    /// A stream to an open service connection.
    pub(crate) fn new(service: ServiceConnection) -> InMemoryStream {
        let service = match service {
            ServiceConnection::Bytes(bytes) => Service::Bytes(Transform {
                transform: bytes.transform(),
                queue: Queue::default(),
                shut: false,
            }),
            service @ ServiceConnection::Lines(_) => {
                Service::Driven(Box::new(Driven { service, ended: None, pipe: Pipe::default() }))
            }
        };
        InMemoryStream { service, blocked: false }
    }

    /// The input that the service has not processed yet. Until the input ends, nothing counts as in
    /// flight; from then on something does until the service has ended.
    pub(crate) fn unread(&self) -> InFlight {
        match &self.service {
            Service::Driven(served) if served.pipe.shut && served.ended.is_none() => {
                InFlight::unfinished(served.pipe.to_service.len())
            }
            Service::Driven(_) | Service::Bytes(_) => InFlight::NOTHING,
        }
    }

    /// Ends the connection as a reset does: the service learns that its client has failed.
    pub(crate) fn reset(&mut self) {
        if let Service::Driven(served) = &mut self.service
            && served.ended.is_none()
        {
            let reset = io::ErrorKind::ConnectionReset;
            served.service.failed(reset.into());
            served.ended = Some(Err(reset));
        }
    }
}

/// A service whose reply to each byte is one byte: written bytes are transformed and read again.
#[derive(Debug)]
struct Transform {
    /// Turns bytes into their reply, in place.
    transform: fn(&mut [u8]),
    queue: Queue,
    /// The client has ended its input.
    shut: bool,
}

/// A service that is polled, with a queue in each direction.
#[derive(Debug)]
struct Driven {
    service: ServiceConnection,
    /// The end of the service; `None` while it is polled.
    ended: Option<Result<(), io::ErrorKind>>,
    pipe: Pipe,
}

/// The bytes in both directions.
#[derive(Debug, Default)]
struct Pipe {
    to_service: Queue,
    from_service: Queue,
    /// The client has ended its input.
    shut: bool,
}

impl Transform {
    fn write(&mut self, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        self.queue.put(bytes, self.transform)
    }

    fn read(&mut self, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.queue.take(buf) || self.shut { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl Driven {
    /// Polls the service, unless it has ended.
    fn drive(&mut self, cx: &mut Context<'_>) {
        if self.ended.is_none()
            && let Poll::Ready(end) =
                self.service.poll(cx, &mut ServiceEnd(&mut self.pipe), None, Stage::Serving)
        {
            self.ended = Some(end.map(drop).map_err(|e| e.kind()));
        }
    }

    fn read(&mut self, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.drive(cx);
        if !self.pipe.from_service.take(buf) {
            return match self.ended {
                None => Poll::Pending,
                Some(Ok(())) => Poll::Ready(Ok(())),
                Some(Err(kind)) => Poll::Ready(Err(kind.into())),
            };
        }
        // The service can now write more.
        self.drive(cx);
        Poll::Ready(Ok(()))
    }

    /// Whether a write would succeed or fail at once.
    fn takes_writes(&self) -> bool {
        self.ended.is_some() || self.pipe.to_service.has_room()
    }

    fn write(&mut self, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        if self.ended.is_some() || self.pipe.shut {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let mut put = self.pipe.to_service.put(bytes, |_| {});
        self.drive(cx);
        if put.is_pending() {
            // The service may have read some of its input, possibly without a reply.
            put = self.pipe.to_service.put(bytes, |_| {});
            self.drive(cx);
        }
        put
    }
}

impl AsyncRead for InMemoryStream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let memory = self.get_mut();
        let (read, takes_writes) = match &mut memory.service {
            Service::Bytes(transform) => (transform.read(buf), transform.queue.has_room()),
            Service::Driven(served) => (served.read(cx, buf), served.takes_writes()),
        };
        if takes_writes && std::mem::take(&mut memory.blocked) {
            cx.waker().wake_by_ref();
        }
        read
    }
}

impl AsyncWrite for InMemoryStream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let memory = self.get_mut();
        let written = match &mut memory.service {
            Service::Bytes(transform) => transform.write(bytes),
            Service::Driven(served) => served.write(cx, bytes),
        };
        memory.blocked = written.is_pending();
        written
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut self.get_mut().service {
            Service::Bytes(transform) => transform.shut = true,
            Service::Driven(served) => {
                served.pipe.shut = true;
                served.drive(cx);
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// The service's end of the stream. It wakes no task, since one task polls both ends.
struct ServiceEnd<'a>(&'a mut Pipe);

impl AsyncRead for ServiceEnd<'_> {
    fn poll_read(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let pipe = &mut *self.get_mut().0;
        if pipe.to_service.take(buf) || pipe.shut { Poll::Ready(Ok(())) } else { Poll::Pending }
    }
}

impl AsyncWrite for ServiceEnd<'_> {
    fn poll_write(
        self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().0.from_service.put(bytes, |_| {})
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

/// A queue of at most [`CAPACITY`] bytes. An empty queue holds no memory.
#[derive(Debug, Default)]
#[expect(clippy::box_collection, reason = "idle connections pay for it")]
struct Queue(Option<Box<VecDeque<u8>>>);

impl Queue {
    /// Appends as many of `bytes` as there is room for, after applying `transform` to them. Pending
    /// if there is no room.
    fn put(&mut self, bytes: &[u8], transform: fn(&mut [u8])) -> Poll<io::Result<usize>> {
        if bytes.is_empty() {
            return Poll::Ready(Ok(0));
        }
        let queue = self.0.get_or_insert_default();
        let begin = queue.len();
        let len = bytes.len().min(CAPACITY - begin);
        if len == 0 {
            return Poll::Pending;
        }
        queue.extend(&bytes[..len]);
        let (front, back) = queue.as_mut_slices();
        let in_front = begin.min(front.len());
        transform(&mut front[in_front..]);
        transform(&mut back[begin - in_front..]);
        Poll::Ready(Ok(len))
    }

    fn len(&self) -> usize {
        self.0.as_ref().map_or(0, |queue| queue.len())
    }

    fn has_room(&self) -> bool {
        self.len() < CAPACITY
    }

    /// Moves as many bytes as fit into `buf`; false if the queue is empty.
    fn take(&mut self, buf: &mut ReadBuf<'_>) -> bool {
        let Some(queue) = &mut self.0 else { return false };
        let (front, back) = queue.as_slices();
        let first = front.len().min(buf.remaining());
        buf.put_slice(&front[..first]);
        let second = back.len().min(buf.remaining());
        buf.put_slice(&back[..second]);
        queue.drain(..first + second);
        if queue.is_empty() {
            self.0 = None;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use std::task::Waker;

    use super::*;
    use crate::{connections::registry::Peer, service::backend::ServiceInstance};

    proptest! {
        #[test]
        fn replies_match_the_input_in_any_order_of_reads_and_writes(
            steps in proptest::collection::vec((any::<bool>(), 1_usize..90_000), 1..60),
        ) {
            let cx = &mut Context::from_waker(Waker::noop());
            let mut memory = InMemoryStream::new(ServiceInstance::Upper.open(Peer::Unknown, false));
            let (mut written, mut read) = (Vec::<u8>::new(), 0);
            let mut buffer = vec![0; 90_000];
            for (write, len) in steps {
                if write {
                    let bytes: Vec<_> = (0..len).map(|i| b'a' + ((written.len() + i) % 29) as u8).collect();
                    if let Poll::Ready(put) = Pin::new(&mut memory).poll_write(cx, &bytes) {
                        written.extend(&bytes[..put.unwrap()]);
                    }
                } else {
                    let mut buf = ReadBuf::new(&mut buffer[..len]);
                    if Pin::new(&mut memory).poll_read(cx, &mut buf).is_ready() {
                        let replies = buf.filled();
                        let expected = &written[read..read + replies.len()];
                        prop_assert!(replies == expected.to_ascii_uppercase());
                        read += replies.len();
                    }
                }
                prop_assert!(written.len() - read <= CAPACITY);
            }
        }
    }
}
