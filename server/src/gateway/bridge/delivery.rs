//! The delivery of the bytes that a client sent before its end. It continues for as long as the
//! upstream makes progress.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::close::CloseCode;
use tokio::time::Instant;

use super::{
    Bridge,
    state::{ClientIn, ClientOut, Disconnect, End, UpstreamEnd, UpstreamIn, UpstreamOut},
};
use crate::net::stream::Transport;
pub(super) use crate::runtime::delivery::{Delivery, Polling, STALL};

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// The end of the connection, once the client has ended and its bytes are delivered or given
    /// up.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<End> {
        if self.client_in.is_open() && self.closing.is_none() && !self.holds_client_back() {
            return None;
        }
        self.check_ended_client(cx, now);
        let client_done = self.client_is_done();
        if !client_done && !self.client_has_ended_unread() {
            if let Some(closing) = &mut self.closing {
                closing.delivery = None;
            }
            return None;
        }
        if client_done && self.upstream_is_done(now) {
            return Some(self.end());
        }
        // The unread bytes of a client that has ended its side may contain a Close.
        let may_be_clean = match self.client_in {
            ClientIn::Closed { .. } => true,
            ClientIn::Open | ClientIn::InputEnded => !self.client_has_failed(),
            ClientIn::Violated | ClientIn::Gone(_) => false,
        };
        let stall = if may_be_clean { STALL } else { STALL.min(self.config.ping_timeout) };
        let expected = if client_done { 0 } else { self.framer.expected() };
        let (unwritten, in_flight) = (self.to_upstream.len(), self.upstream.in_flight());
        let new = || Delivery::new(now, stall);
        let delivery = self.closing().delivery.get_or_insert_with(new);
        delivery.set_stall(now, stall);
        delivery.update(now, unwritten, expected, in_flight);
        if !delivery.has_stalled(now) {
            return None;
        }
        self.upstream_end = UpstreamEnd::Reset;
        if !client_done {
            let failed = self.client_has_failed();
            self.client_lost(if failed { Disconnect::Failed } else { Disconnect::WithoutClose });
        }
        Some(self.given_up())
    }

    /// Checks whether the connection of a client that has ended its side has failed since: then the
    /// replies to its messages are discarded.
    fn check_ended_client(&mut self, cx: &mut Context<'_>, now: Instant) {
        let is_checked = self.client_in.is_gone() && self.client_out == ClientOut::Open;
        let is_polled = is_checked && !self.client.wakes_on_failure();
        if is_polled {
            let new = || Polling::new(now);
            self.closing().client_polling.get_or_insert_with(new).advance(now);
        } else if let Some(closing) = &mut self.closing {
            closing.client_polling = None;
        }
        let failed = if is_polled {
            matches!(Pin::new(&mut self.client).poll_flush(cx), Poll::Ready(Err(_)))
        } else {
            is_checked && self.client.has_failed()
        };
        if failed {
            self.client_not_writable();
        }
    }

    fn client_has_failed(&self) -> bool {
        self.client_out == ClientOut::Failed || self.client.has_failed()
    }

    /// Whether nothing more is to be read from the client or written to it.
    pub(super) fn client_is_done(&self) -> bool {
        match self.client_in {
            ClientIn::Gone(_) | ClientIn::Closed { more: false, .. } => {
                self.client_out != ClientOut::Open
            }
            ClientIn::Closed { more: true, .. } => self.client_out == ClientOut::Failed,
            ClientIn::Open | ClientIn::InputEnded | ClientIn::Violated => false,
        }
    }

    /// Whether the client is known to have ended although its last bytes are not read yet, because
    /// the upstream is slow. Their delivery is given up if the upstream makes no progress.
    pub(super) fn client_has_ended_unread(&self) -> bool {
        self.holds_client_back()
            && (self.client_out == ClientOut::Failed || self.client.has_ended())
    }

    /// Whether everything that the client sent has been delivered, as far as that is possible.
    fn upstream_is_done(&self, now: Instant) -> bool {
        match self.upstream_out {
            UpstreamOut::Open | UpstreamOut::Ending => false,
            UpstreamOut::Broken => true,
            UpstreamOut::Shut
                if self.upstream_in == UpstreamIn::Ended
                    && self.upstream_end != UpstreamEnd::Reset =>
            {
                true
            }
            // Closing the socket answers further bytes of the upstream with a reset, which may
            // destroy bytes in flight; so does a reset that is due. So the bytes must arrive first.
            UpstreamOut::Shut if self.upstream.has_failed() => true,
            UpstreamOut::Shut => match self.upstream.in_flight() {
                Some(in_flight) => in_flight.is_nothing(),
                None => self.delivery().is_some_and(|delivery| delivery.has_waited_blindly(now)),
            },
        }
    }

    pub(super) fn delivery(&self) -> Option<&Delivery> {
        self.closing.as_ref()?.delivery.as_ref()
    }

    /// Ends a connection whose delivery made no progress for too long.
    fn given_up(&mut self) -> End {
        let unsent = self.upstream.in_flight().map_or(0, |in_flight| in_flight.unsent as usize);
        let undecoded = self.undecoded.as_ref().map_or(0, |undecoded| undecoded.len());
        self.add_undelivered(self.to_upstream.len() + unsent + undecoded);
        self.end()
    }

    /// Ends a connection at once, at the end of the server's shutdown.
    pub(super) fn cut(&mut self) -> End {
        if !self.upstream_is_done(Instant::now()) {
            self.upstream_end = UpstreamEnd::Reset;
        }
        self.discard_to_client();
        End {
            code: CloseCode::ABNORMAL,
            why: "cut off at the end of the shutdown (--drain)".into(),
        }
    }
}
