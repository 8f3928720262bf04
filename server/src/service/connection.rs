//! One connection to a built-in service, whatever stream it came on.

use std::{
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::end::End;
use crate::{
    connections::registry::Registered,
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, Stage, Watch},
        idle_timeout::Idle,
    },
    service::Exchange,
};

/// How long a connection that the server ends waits for the client to end its side,
/// so that bytes under way do not turn the goodbye into a reset.
const LINGER: Duration = Duration::from_secs(1);

/// How long the client may take to make room for the end of the stream.
const SHUTDOWN: Duration = Duration::from_secs(10);

/// Serves a client on `stream` to the end, its own or, by `drain`, the server's, and
/// logs it.
///
/// (Not an `async fn`: that would keep every argument twice, and a server holds as
/// many of these as it has connections.)
pub(crate) fn serve<S>(
    mut stream: S,
    mut exchange: Exchange,
    entry: Registered,
    idle_timeout: Option<Duration>,
    drain: &Drain,
) -> impl Future<Output = End> + use<S>
where
    S: Transport,
{
    let mut watch = drain.watch();
    let mut idle = Idle::new(idle_timeout);
    async move {
        let served = poll_fn(|cx| {
            let stage = watch.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(Ok(End::Cut));
            }
            let polled = exchange.poll(cx, &mut stream, Some(&entry), stage);
            if let (Some(idle), Poll::Pending) = (&mut idle, &polled) {
                let now = Instant::now();
                let delivered = entry.carried_bytes().wrapping_sub(exchange.unsent() as u64);
                let mut deadline = idle.deadline(now, delivered);
                if deadline <= now {
                    let moving = stream.in_flight().filter(|bytes| !bytes.is_nothing());
                    let acknowledged = moving.map(|bytes| bytes.acknowledged);
                    if idle.is_over(now, watch.running_since(now), acknowledged) {
                        return Poll::Ready(Ok(End::Idle));
                    }
                    deadline = idle.deadline(now, delivered);
                }
                watch.wake_at(cx, now, deadline);
            }
            polled
        });
        let mut end = served.await;
        if let Ok(cut @ (End::Idle | End::Cut)) = &end
            && let Some(lost) = undelivered(&exchange, &stream)
        {
            // The end of the stream would tell the client that it has got everything.
            stream.reset_on_drop();
            entry.ended(&format_args!("{cut}; {lost} bytes were not delivered"));
            return end.unwrap_or_else(End::Failed);
        }
        if let Ok(reached) = end {
            let until = Instant::now() + SHUTDOWN;
            let shut = poll_fn(|cx| poll_shutdown(cx, &mut stream, &mut watch, until)).await;
            end = shut.map(|()| reached);
        }
        if matches!(end, Ok(End::Drained | End::Idle | End::Once | End::Over)) {
            let until = Instant::now() + LINGER;
            poll_fn(|cx| poll_to_end(cx, &mut stream, &mut watch, until)).await;
        }
        let end = end.unwrap_or_else(End::Failed);
        match end {
            End::InputEnded | End::Failed(_) => entry.ended_by_client(&end),
            _ => entry.ended(&end),
        }
        end
    }
}

/// How many bytes of answers at least the client has not got, if there are any.
fn undelivered(exchange: &Exchange, stream: &impl Transport) -> Option<usize> {
    let in_flight = stream.in_flight().filter(|bytes| !bytes.is_nothing());
    let unsent = exchange.unsent() + in_flight.map_or(0, |bytes| bytes.unsent as usize);
    (unsent > 0 || in_flight.is_some()).then_some(unsent)
}

/// Ends our side, if the client lets us before the time or the server's end cuts that short: in
/// TLS a last record needs room.
fn poll_shutdown<S: AsyncWrite + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    watch: &mut Watch,
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

/// Reads what still comes until the end of it or of the time, and throws it away.
fn poll_to_end<S: AsyncRead + Unpin>(
    cx: &mut Context<'_>,
    stream: &mut S,
    watch: &mut Watch,
    until: Instant,
) -> Poll<()> {
    let now = Instant::now();
    if now >= until {
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
