//! One connection to a built-in service, whatever stream it came on.

use std::{
    fmt,
    future::poll_fn,
    io::{self, IoSlice},
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::live::Legs;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    task::coop::has_budget_remaining,
    time::Instant,
};

use crate::{
    backlog::Backlog,
    drain::{Drain, Stage, Watch},
    idle::Idle,
    registry::{Entry, Registered},
    scratch,
    service::Service,
};

/// How long a connection that the server ends waits for the client to end its side,
/// so that bytes under way do not turn the goodbye into a reset.
const LINGER: Duration = Duration::from_secs(1);

/// How a connection ended.
#[derive(Debug)]
pub enum End {
    /// The client ended its side and got all it was owed.
    EndOfInput,
    /// The server shuts down; the client got all it was owed.
    Drained,
    /// Nothing was carried for too long.
    Idle,
    /// The stream failed.
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::EndOfInput => f.write_str("the client ended"),
            End::Drained => f.write_str("the server shut down"),
            End::Idle => f.write_str("nothing was carried for too long"),
            End::Failed(e) => write!(f, "failed: {e}"),
        }
    }
}

/// Serves `service` on `stream` to its end, the client's or, by `drain`, the
/// server's, and logs it.
///
/// (Not an `async fn`: that would keep every argument twice, and a server holds as
/// many of these as it has connections.)
pub fn serve<S>(
    mut stream: S,
    service: Service,
    entry: Registered,
    idle_timeout: Option<Duration>,
    drain: &Drain,
) -> impl Future<Output = End> + use<S>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut exchange = Exchange::new(service);
    let mut watch = drain.watch();
    let mut idle = Idle::new(idle_timeout);
    async move {
        let served = poll_fn(|cx| {
            let stage = watch.poll(cx);
            let polled = exchange.poll(cx, &mut stream, Some(&entry), stage);
            if let (Some(idle), Poll::Pending) = (&mut idle, &polled) {
                let now = Instant::now();
                let deadline = idle.deadline(now, entry.carried_bytes());
                if deadline <= now {
                    return Poll::Ready(Ok(End::Idle));
                }
                watch.wake_at(cx, now, deadline);
            }
            polled
        });
        let mut end = served.await;
        if let Ok(reached) = end {
            end = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await.map(|()| reached);
        }
        if matches!(end, Ok(End::Drained | End::Idle)) {
            let until = Instant::now() + LINGER;
            poll_fn(|cx| poll_to_end(cx, &mut stream, &mut watch, until)).await;
        }
        let end = end.unwrap_or_else(End::Failed);
        entry.ended(&end);
        end
    }
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
    scratch::with(|scratch| {
        loop {
            let mut buf = ReadBuf::new(scratch);
            match ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    })
}

/// A service at work: what has come is answered.
#[derive(Debug)]
pub(crate) struct Exchange {
    service: Service,
    backlog: Backlog,
}

impl Exchange {
    pub(crate) fn new(service: Service) -> Exchange {
        Exchange { service, backlog: Backlog::default() }
    }

    /// Answers what comes until an end, by `stage` the server's, and counts it in
    /// `entry`. Reads only when all answers are written: a client that does not read
    /// is not read.
    pub(crate) fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
        stage: Stage,
    ) -> Poll<io::Result<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            ready!(self.backlog.poll_flush(cx, stream))?;
            if stage == Stage::Now {
                return Poll::Ready(Ok(End::Drained));
            }
            match self.poll_step(cx, stream, entry)? {
                Poll::Ready(0) => return Poll::Ready(Ok(End::EndOfInput)),
                Poll::Ready(_) => {}
                Poll::Pending if stage == Stage::WhenQuiet && has_budget_remaining() => {
                    return Poll::Ready(Ok(End::Drained));
                }
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    /// One read, and the write that answers it.
    fn poll_step<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: Option<&Entry>,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        scratch::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled_mut();
            let begun = entry.filter(|entry| entry.is_watched()).map(|_| Instant::now());
            self.service.answer(bytes);
            self.backlog.write(cx, stream, &mut [IoSlice::new(bytes)])?;
            if let Some(entry) = entry {
                entry.received().add(bytes.len(), 0);
                entry.sent().add(bytes.len(), 0);
                if let Some(begun) = begun {
                    let service = begun.elapsed().as_secs_f64() * 1e6;
                    entry.took(Legs::Service { service });
                }
            }
            Poll::Ready(Ok(bytes.len()))
        })
    }
}
