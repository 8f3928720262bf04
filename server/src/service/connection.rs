//! A connection to a built-in service, on a stream of any kind.

use std::{
    fmt::Display,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::reason::{self, fill};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{backend::ServiceConnection, end::End};
use crate::{
    connections::registry::RegistryGuard,
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, ShutdownWatch, Stage},
        idle_timeout::IdleTimeout,
    },
};

/// The time limit for the client to end its side after the server has ended the connection. The
/// socket stays open until then: closing it while bytes from the client are in flight would reset
/// the connection, and the client could lose the last answer.
const LINGER: Duration = Duration::from_secs(1);

/// The time limit for sending the end of the stream. Output that the client does not read delays it.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Serves a client on `stream` until the client, the service or, by `drain`, the server ends the
/// connection, and logs the end.
///
/// Not an `async fn`, which would keep every argument twice in the future of each connection.
pub(crate) fn serve<S>(
    mut stream: S,
    mut connection: ServiceConnection,
    entry: RegistryGuard,
    idle_timeout: Option<Duration>,
    drain: &Drain,
) -> impl Future<Output = End> + use<S>
where
    S: Transport,
{
    let mut watch = drain.watch_connection(entry.id());
    let mut idle = IdleTimeout::new(idle_timeout);
    async move {
        let mut end = poll_fn(|cx| {
            poll_served(cx, &mut connection, &mut stream, &entry, &mut idle, &mut watch)
        })
        .await;
        if matches!(end, Ok(End::Cut)) && watch.is_reset_requested() {
            stream.reset_on_drop();
            entry.ended(&watch.cut_reason());
            return End::Cut;
        }
        let lost = match end {
            Ok(End::Idle | End::Cut) => undelivered(&connection, &stream),
            _ => None,
        };
        if let (Ok(End::Drained | End::Idle), Some(request)) = (&end, watch.request()) {
            end = Ok(End::Requested(request.close.reason));
        }
        if let (Ok(cut), Some(lost)) = (&end, lost) {
            // An orderly end would tell the client that the output is complete.
            stream.reset_on_drop();
            entry.ended(&fill(reason::LOST, &[cut as &dyn Display, &lost]));
            return end.unwrap_or_else(End::Failed);
        }
        if let Ok(reached) = end {
            let until = Instant::now() + SHUTDOWN;
            let shut = poll_fn(|cx| poll_shutdown(cx, &mut stream, &mut watch, until)).await;
            end = shut.map(|()| reached);
        }
        if matches!(end, Ok(End::Drained | End::Requested(_) | End::Idle | End::Once | End::Closed))
        {
            let until = Instant::now() + LINGER;
            poll_fn(|cx| poll_to_end(cx, &mut stream, &mut watch, until)).await;
        }
        if watch.is_reset_requested() {
            stream.reset_on_drop();
        }
        let end = end.unwrap_or_else(End::Failed);
        match end {
            End::InputEnded | End::Failed(_) => entry.ended_by_client(&end),
            _ => entry.ended(&end),
        }
        end
    }
}

/// Polls the service until it, the client or the shutdown ends the connection, or the idle timeout
/// passes.
#[inline]
fn poll_served(
    cx: &mut Context<'_>,
    connection: &mut ServiceConnection,
    stream: &mut impl Transport,
    entry: &RegistryGuard,
    idle: &mut Option<Box<IdleTimeout>>,
    watch: &mut ShutdownWatch,
) -> Poll<io::Result<End>> {
    let stage = watch.poll(cx);
    if stage == Stage::Cut {
        return Poll::Ready(Ok(End::Cut));
    }
    let polled = connection.poll(cx, stream, Some(entry), stage);
    watch.limit_idle(stage, idle);
    if polled.is_pending() && idle.is_some() {
        let now = Instant::now();
        let delivered = entry.carried_bytes().wrapping_sub(connection.unsent() as u64);
        if watch.is_idle(idle, now, delivered, || [stream.in_flight()]) {
            return Poll::Ready(Ok(End::Idle));
        }
        if let Some(idle) = idle {
            watch.wake_at(cx, now, idle.deadline(now, delivered));
        }
    }
    polled
}

/// The number of bytes of answers that have not reached the client, at least; none if all have.
fn undelivered(connection: &ServiceConnection, stream: &impl Transport) -> Option<usize> {
    let in_flight = stream.in_flight().filter(|bytes| !bytes.is_nothing());
    let unsent = connection.unsent() + in_flight.map_or(0, |bytes| bytes.unsent as usize);
    (unsent > 0 || in_flight.is_some()).then_some(unsent)
}

/// Ends the server's side, unless `until` passes or the drain reaches [`Stage::Cut`] first. Over
/// TLS the end is a record, which waits for room in the socket's send buffer.
fn poll_shutdown(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncWrite + Unpin),
    watch: &mut ShutdownWatch,
    until: Instant,
) -> Poll<io::Result<()>> {
    let shut = Pin::new(stream).poll_shutdown(cx);
    if shut.is_pending() {
        let now = Instant::now();
        if now >= until || watch.poll(cx) == Stage::Cut {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        watch.wake_at(cx, now, until);
    }
    shut
}

/// Reads and discards input until it ends, `until` passes or the drain reaches [`Stage::Cut`].
fn poll_to_end(
    cx: &mut Context<'_>,
    stream: &mut (impl AsyncRead + Unpin),
    watch: &mut ShutdownWatch,
    until: Instant,
) -> Poll<()> {
    let now = Instant::now();
    if now >= until || watch.poll(cx) == Stage::Cut {
        return Poll::Ready(());
    }
    watch.wake_at(cx, now, until);
    buffer_pool::with(|scratch| {
        loop {
            let mut buf = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    })
}
