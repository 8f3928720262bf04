//! The end of a relay at the server's shutdown or at a request.
//!
//! A byte stream has no Close that could ask a peer to end first. So the upstream is asked, by the end
//! of its input, whether it has more to send: once it spoke last and both have been silent for some
//! time, because an upstream may take the end of its input for the end of the connection. A client that
//! spoke last may be in the middle of an upload, or wait for a reply: its connection goes on, and is
//! reset on both sides if it has not ended by the cut. Bytes that a client sends after the end of the
//! upstream's input are lost: both sides are reset at once, so that neither takes what it got for
//! complete.
//!
//! Datagrams may get lost, so their upstream is asked as soon as nothing more is to be read.

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{io::ReadBuf, time::Instant};

use super::{
    End, Relay,
    side::{Input, Output, Shutdown},
};
use crate::{net::stream::Transport, runtime::drain::END_TIMEOUT};

/// The time after which a connection that was asked to end, and goes on, is reset.
const REQUEST_TIME: Duration = END_TIMEOUT.saturating_mul(2);

impl<C: Transport, U: Transport> Relay<C, U> {
    /// Whether the upstream's input was ended by the shutdown.
    pub(super) fn is_asked(&self) -> bool {
        self.client.closing.as_ref().is_some_and(|closing| closing.shutdown.is_asked)
    }

    /// Advances the end of the relay. `all_is_read` says that all bytes that have arrived are passed on.
    /// Ready if the state of a side has changed, with the end, if it has come.
    pub(super) fn poll_shutdown(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
        all_is_read: bool,
    ) -> Poll<Option<End>> {
        let is_requested = self.watch.is_asked_to_end();
        let is_datagrams = self.client.stream.reads_messages();
        let is_open = [self.client.input, self.upstream.input] == [Input::Open; 2]
            && self.upstream.output == Output::Open;
        let Shutdown { is_asked, reset_at, silence } = &mut self.client.closing().shutdown;
        if is_requested && *reset_at.get_or_insert(now + REQUEST_TIME) <= now {
            self.client.stream.reset_on_drop();
            return Poll::Ready(Some(self.end_by_resets(self.watch.close().reason)));
        }
        if *is_asked {
            return self.poll_late_input(cx, scratch);
        }
        let is_at_rest = is_datagrams
            || !self.client_spoke_last && silence.is_long_enough(now, self.entry.carried_bytes());
        if all_is_read && is_at_rest && is_open {
            *is_asked = true;
            self.upstream.output = Output::Ending;
            return Poll::Ready(None);
        }
        Poll::Pending
    }

    /// Reads a client whose upstream's input was ended.
    fn poll_late_input(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<Option<End>> {
        let (client, upstream) = (&mut self.client, &mut self.upstream);
        if client.input != Input::Open {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(scratch);
        let read = ready!(Pin::new(&mut client.stream).poll_read(cx, &mut buf));
        match (read, buf.filled().len()) {
            (Ok(()), 0) if client.stream.has_read_end() => client.input_ended(),
            (Ok(()), len) => {
                upstream.add_lost(len);
                if client.stream.reads_messages() {
                    return Poll::Ready(None);
                }
                client.stream.reset_on_drop();
                upstream.stream.reset_on_drop();
                return Poll::Ready(Some(self.describe(self.watch.close().reason)));
            }
            (Err(e), _) => client.read_failed(&e),
        }
        Poll::Ready(None)
    }
}
