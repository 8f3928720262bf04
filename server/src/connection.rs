//! One connection to a built-in service, whatever stream it came on.

use std::{
    fmt,
    future::poll_fn,
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf},
    task::coop::has_budget_remaining,
    time::timeout,
};

use crate::{
    backlog::Backlog,
    drain::{Drain, Stage, Watch},
    registry::Entry,
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
    /// The stream failed.
    Failed(io::Error),
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::EndOfInput => f.write_str("the client ended"),
            End::Drained => f.write_str("the server shut down"),
            End::Failed(e) => write!(f, "failed: {e}"),
        }
    }
}

/// Serves `service` on `stream` to its end: the client's, or the server's by `drain`.
pub async fn serve<S>(mut stream: S, service: Service, entry: &Entry, drain: &Drain) -> End
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let mut exchange = Exchange { service, backlog: Backlog::default(), watch: drain.watch() };
    let end = poll_fn(|cx| exchange.poll(cx, &mut stream, entry)).await;
    let end = match end {
        Ok(end) => end,
        Err(e) => return End::Failed(e),
    };
    if let Err(e) = poll_fn(|cx| Pin::new(&mut stream).poll_shutdown(cx)).await {
        return End::Failed(e);
    }
    if matches!(end, End::Drained) {
        let mut sink = [0; 1024];
        let rest = async { while matches!(stream.read(&mut sink).await, Ok(1..)) {} };
        timeout(LINGER, rest).await.ok();
    }
    end
}

struct Exchange {
    service: Service,
    backlog: Backlog,
    watch: Watch,
}

impl Exchange {
    /// Answers what comes until an end. Reads only when all answers are written: a
    /// client that does not read is not read.
    fn poll<S>(
        &mut self,
        cx: &mut Context<'_>,
        stream: &mut S,
        entry: &Entry,
    ) -> Poll<io::Result<End>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        loop {
            let stage = self.watch.poll(cx);
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
        entry: &Entry,
    ) -> Poll<io::Result<usize>>
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        scratch::with(|scratch| {
            let mut buf = ReadBuf::new(scratch);
            ready!(Pin::new(&mut *stream).poll_read(cx, &mut buf))?;
            let bytes = buf.filled_mut();
            entry.received().add(bytes.len(), 0);
            self.service.answer(bytes);
            self.backlog.write(cx, stream, bytes)?;
            entry.sent().add(bytes.len(), 0);
            Poll::Ready(Ok(bytes.len()))
        })
    }
}
