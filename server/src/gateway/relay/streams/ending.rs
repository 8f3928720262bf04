//! The end of a relay: the delivery of last bytes, the idle timeout, and the end of a shutdown.

use std::{borrow::Cow, fmt, pin::Pin, task::Context};

use echogate_event_loop::InFlight;
use echogate_proto::reason::{self, fill};
use tokio::time::Instant;

use super::{
    Relay,
    side::{Failure, Input, Output, Side},
};
use crate::{
    gateway::failure::with_losses,
    net::stream::Transport,
    runtime::delivery::{Delivery, Progress, STALL, took_all},
};

/// The end of a connection, for the log and the registry.
#[derive(Clone, Debug)]
pub(crate) struct End {
    why: Cow<'static, str>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

impl<C: Transport, U: Transport> Relay<C, U> {
    /// The end of the connection, once nothing more is to be relayed, and all bytes are delivered
    /// or given up.
    pub(super) fn poll_end(&mut self, now: Instant) -> Option<End> {
        let is_over = self.is_over();
        let is_due = (is_over || self.client.has_left(), is_over || self.upstream.has_left());
        let (received, sent) = (self.entry.received().bytes(), self.entry.sent().bytes());
        let stalled = self.upstream.update_delivery(now, is_due.0, is_over, received)
            | self.client.update_delivery(now, is_due.1, is_over, sent);
        if stalled {
            return Some(self.end_by_resets(fill(reason::NO_PROGRESS, &[&STALL.as_secs()])));
        }
        let is_delivered = self.client.delivery().is_none() && self.upstream.delivery().is_none();
        (is_over && is_delivered).then(|| self.end())
    }

    /// Whether nothing more is to be relayed, except for bytes in flight.
    fn is_over(&self) -> bool {
        let (client, upstream) = (&self.client, &self.upstream);
        let both_ended = client.input != Input::Open && upstream.input != Input::Open;
        let is_answered = self.is_asked() && upstream.input != Input::Open;
        let is_finished = client.is_finished() && upstream.is_finished();
        let is_dead = client.output == Output::Failed && upstream.output == Output::Failed;
        let is_one_gone = client.is_gone() || upstream.is_gone();
        is_dead || is_finished && (both_ended || is_answered || is_one_gone)
    }

    /// The end of a connection on which nothing was delivered for too long: by resets if bytes are owed
    /// to either side.
    pub(super) fn poll_idle(&mut self, now: Instant) -> Option<End> {
        let delivered = self.delivered_bytes();
        let in_flight = || [self.client.stream.in_flight(), self.upstream.stream.in_flight()];
        self.watch.is_idle(&mut self.idle, now, delivered, in_flight).then(|| {
            let why = self.watch.idle_close().reason;
            if !(self.client.took_all() && self.upstream.took_all()) {
                // Neither side may take for complete what it has received.
                return self.end_by_resets(why);
            }
            self.client.end_output();
            self.upstream.end_output();
            self.describe(why)
        })
    }

    /// The number of bytes that were read from either side and written to the other one.
    fn delivered_bytes(&self) -> u64 {
        let waiting = self.client.unwritten.len() + self.upstream.unwritten.len();
        self.entry.carried_bytes().wrapping_sub(waiting as u64)
    }

    /// The time at which the relay is to be polled although neither side is ready.
    pub(super) fn deadline(&mut self, now: Instant) -> Option<Instant> {
        let delivered = self.delivered_bytes();
        let idle = self.idle.as_mut().map(|idle| idle.deadline(now, delivered));
        let [client, upstream] = [self.client.delivery(), self.upstream.delivery()]
            .map(|delivery| delivery.map(Delivery::next_update));
        let closing = self.client.closing.as_ref();
        let shutdown = closing.and_then(|closing| closing.shutdown.deadline(now));
        [idle, client, upstream, shutdown].into_iter().flatten().min()
    }

    /// Ends a connection at once, at the end of the server's shutdown or by resets at a request.
    pub(super) fn cut(&mut self) -> End {
        if self.watch.is_reset_requested() {
            self.client.stream.reset_on_drop();
            self.upstream.stream.reset_on_drop();
        }
        let why = self.watch.cut_reason();
        self.end_by_resets(why)
    }

    /// Ends the connection. A side that was not sent an end of input is reset, and so is one whose
    /// bytes were not delivered.
    fn end(&mut self) -> End {
        let failed = (self.client.output == Output::Failed, self.upstream.output == Output::Failed);
        self.client.reset_if_incomplete(failed.1);
        self.upstream.reset_if_incomplete(failed.0);
        let failures =
            [(self.client.failure(), reason::CLIENT), (self.upstream.failure(), reason::UPSTREAM)];
        let first = failures.into_iter().filter_map(|(failure, side)| Some((failure?, side))).min();
        let why: Cow<'static, str> = match first {
            Some(((_, failure), side)) => {
                fill(reason::PEER_DISCONNECTED_BY, &[side, failure]).into()
            }
            None if self.is_asked() => self.watch.close().reason,
            None => {
                let by_client = self.client.has_ended_first;
                let side = if by_client { reason::CLIENT } else { reason::UPSTREAM };
                fill(reason::PEER_ENDED, &[side]).into()
            }
        };
        self.describe(why)
    }

    /// Ends the connection by a reset of each side that has not got everything.
    pub(super) fn end_by_resets(&mut self, why: impl Into<Cow<'static, str>>) -> End {
        self.client.give_up();
        self.upstream.give_up();
        self.describe(why)
    }

    fn describe(&self, why: impl Into<Cow<'static, str>>) -> End {
        let (upstream, client) = (self.upstream.lost(), self.client.lost());
        let losses = [(upstream, reason::UPSTREAM), (client, reason::CLIENT)];
        End { why: with_losses(why.into(), losses) }
    }
}

impl<T: Transport> Side<T> {
    fn delivery(&self) -> Option<&Delivery> {
        self.closing.as_ref()?.delivery.as_ref()
    }

    fn failure(&self) -> Option<&Failure> {
        self.closing.as_ref()?.failure.as_ref()
    }

    pub(super) fn lost(&self) -> u64 {
        self.closing.as_ref().map_or(0, |closing| closing.lost)
    }

    /// Whether the peer is known to be gone, although its last bytes may not be read yet: its
    /// connection has failed, or both directions of it have ended.
    fn has_left(&self) -> bool {
        self.output == Output::Failed
            || self.stream.has_failed()
            || self.is_finished() && (self.input != Input::Open || self.stream.has_ended())
    }

    /// Updates the delivery of the bytes that are owed to this side, if it `is_due`. `counted` is the
    /// number of bytes for this side that were read so far. Returns whether the delivery has stalled.
    fn update_delivery(&mut self, now: Instant, is_due: bool, is_over: bool, counted: u64) -> bool {
        let is_owed = !self.unwritten.is_empty() || self.output == Output::Ending;
        let in_flight = match is_due && (is_owed || is_over && !self.may_be_closed()) {
            true => self.stream.in_flight(),
            false => Some(InFlight::NOTHING),
        };
        if !is_due || !is_owed && Delivery::has_arrived(self.delivery(), now, in_flight) {
            if let Some(closing) = &mut self.closing {
                closing.delivery = None;
            }
            return false;
        }
        let unwritten = self.unwritten.len();
        let written = counted.wrapping_sub(unwritten as u64);
        let progress = Progress { unwritten, written, expected: 0 };
        let slot = &mut self.closing().delivery;
        Delivery::advance(slot, now, STALL, progress, in_flight).has_stalled(now)
    }

    /// Whether closing the socket loses nothing that was written. A reset does, and closing a
    /// socket whose peer still sends resets the connection.
    fn may_be_closed(&self) -> bool {
        match self.output {
            Output::Failed => true,
            Output::Shut if self.input != Input::Open => true,
            _ => self.stream.has_failed(),
        }
    }

    /// Makes the connection end by a reset, unless it has ended in order. `is_refused` says that bytes
    /// of this side were not delivered.
    fn reset_if_incomplete(&mut self, is_refused: bool) {
        let is_complete = match self.output {
            Output::Shut => self.input != Input::Open || !is_refused,
            Output::Open | Output::Ending | Output::Truncated | Output::Failed => false,
        };
        if !is_complete {
            self.stream.reset_on_drop();
        }
    }

    /// Makes the connection end by a reset unless everything and the end of input are written, and
    /// counts the bytes that are lost.
    fn give_up(&mut self) {
        if self.output != Output::Shut {
            let unsent = self.stream.in_flight().map_or(0, |in_flight| in_flight.unsent as usize);
            self.add_lost(self.unwritten.len() + unsent);
            self.stream.reset_on_drop();
        }
    }

    /// Whether everything for this side has reached the peer's kernel, as far as that is known.
    pub(super) fn took_all(&self) -> bool {
        took_all(&self.unwritten, self.stream.in_flight())
    }

    /// Ends the output of an idle connection.
    fn end_output(&mut self) {
        // The last record of TLS may find no room. Then the connection ends without it.
        let cx = &mut Context::from_waker(std::task::Waker::noop());
        let _ = Pin::new(&mut self.stream).poll_shutdown(cx);
    }
}
