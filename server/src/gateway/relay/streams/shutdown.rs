//! The end of a relay at the server's shutdown or at a request.
//!
//! A byte stream has no Close by which a peer could be asked to end first. Instead the upstream's input
//! is ended: an upstream then sends what it still has to send, and ends. Because an upstream may also
//! take the end of its input for the end of the connection, its input is ended only when the upstream
//! spoke last, its bytes have arrived, and both peers have been silent for some time.
//!
//! A client that spoke last may be in the middle of an upload, or wait for a reply: its connection goes
//! on, and is reset on both sides if it has not ended by the cut. Bytes that a client sends after the
//! end of the upstream's input are lost: both sides are reset at once, so that neither takes for
//! complete what it has received.
//!
//! Datagrams may get lost, so the input of their upstream is ended as soon as nothing more is to be read.

use std::time::Duration;

use tokio::time::Instant;

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

    /// The end of a connection that goes on although it is to end: its client has sent bytes after the
    /// end of the upstream's input, or its end was requested [`REQUEST_TIME`] ago.
    pub(super) fn poll_shutdown_limits(&mut self, now: Instant) -> Option<End> {
        let is_late = self.is_asked() && self.upstream.lost() > 0 && !self.is_of_datagrams();
        let is_requested = self.watch.is_asked_to_end();
        let reset_at = &mut self.client.closing().shutdown.reset_at;
        let is_overdue = is_requested && *reset_at.get_or_insert(now + REQUEST_TIME) <= now;
        if !is_late && !is_overdue {
            return None;
        }
        self.client.stream.reset_on_drop();
        self.upstream.stream.reset_on_drop();
        Some(self.end_by_resets(self.watch.close().reason))
    }

    /// Ends the upstream's input if that is due, now that all bytes that have arrived are passed on.
    /// Returns whether it does.
    pub(super) fn ask_upstream(&mut self, now: Instant) -> bool {
        let is_open = [self.client.input, self.upstream.input] == [Input::Open; 2]
            && self.upstream.output == Output::Open;
        if !is_open {
            return false;
        }
        let (passed, is_of_datagrams) = (self.entry.carried_bytes(), self.is_of_datagrams());
        let has_arrived = self.client.took_all() && self.upstream.took_all();
        let Shutdown { is_asked, silence, .. } = &mut self.client.closing().shutdown;
        if !has_arrived {
            silence.begin(now, passed);
        }
        *is_asked =
            is_of_datagrams || !self.client_spoke_last && silence.is_long_enough(now, passed);
        if *is_asked {
            self.upstream.output = Output::Ending;
        }
        *is_asked
    }

    fn is_of_datagrams(&self) -> bool {
        self.client.stream.reads_messages()
    }
}
