//! The deadlines of a connection: Pings, idle timeout, and the steps of its end.

use std::time::Duration;

use echogate_proto::close::CloseCode;
use tokio::time::Instant;

use super::{
    Bridge,
    delivery::took_all,
    state::{CloseCause, CloseStage, Disconnect, Replies, StreamEnd, WsIn, WsOut},
};
use crate::{
    gateway::websocket::ping_timer::PingAction,
    net::stream::Transport,
    runtime::drain::{END_TIMEOUT, ServerClose},
};

/// The time for which an upstream may continue to send after its client's end, and in which the
/// WebSocket peer must read what is sent before a Close. Where the framing counts replies, they are
/// awaited for as long as each such time sees some of them delivered.
pub(super) const GRACE: Duration = Duration::from_secs(2);

/// The time for an upstream's replies to a client that violated the protocol, where the framing does
/// not determine whether a reply is expected.
pub(super) const VIOLATION_GRACE: Duration = Duration::from_millis(200);

/// The time in which the WebSocket peer must answer a Close.
pub(in crate::gateway) const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// The time at which [`Bridge::poll_all`] is to be called although neither side is ready.
    pub(super) fn deadline(&mut self, now: Instant) -> Instant {
        if self.closing.as_ref().is_some_and(|closing| closing.progress.is_none()) {
            self.record_progress(now);
        }
        let deadline = self.connection_deadline(now);
        // A partial reply is not sent while earlier bytes wait for the WebSocket.
        let reply = self.partial_reply.as_ref().filter(|_| self.to_ws.is_empty());
        reply.and_then(|reply| reply.until).map_or(deadline, |until| until.min(deadline))
    }

    fn connection_deadline(&mut self, now: Instant) -> Instant {
        let closing = self.closing.as_ref();
        let close = closing.and_then(|closing| closing.deadline());
        // A WebSocket peer that has ended while it is not read is still sent Pings: a failed write
        // shows that it is gone.
        let is_pinged = self.ws_has_ended_unread()
            && closing.is_none_or(|closing| closing.ws_deadline.is_none());
        if let Some(close) = close.filter(|_| !is_pinged) {
            return close;
        }
        let ping = self.ping_timer.deadline(self.config.ping_times());
        let silence = closing.and_then(|closing| closing.silence.deadline(now));
        let idle = self.idle_deadline(now);
        [close, silence, idle].into_iter().flatten().fold(ping, Instant::min)
    }

    #[inline]
    fn idle_deadline(&mut self, now: Instant) -> Option<Instant> {
        self.idle.as_ref()?;
        let delivered = self.delivered_bytes();
        self.idle.as_mut().map(|idle| idle.deadline(now, delivered))
    }

    /// A count that changes whenever bytes are delivered: the payload that was counted so far,
    /// without the bytes that wait to be written and the partial reply.
    fn delivered_bytes(&self) -> u64 {
        let part = self.partial_reply.as_ref().map_or(0, |reply| reply.len());
        let waiting = self.to_ws.len() + self.to_stream.len() + part;
        self.entry.carried_bytes().wrapping_sub(waiting as u64)
    }

    /// Handles a deadline that has passed: of the end, of a Ping, or of the idle timeout.
    /// `all_is_read` says that the WebSocket peer's bytes that have arrived are read.
    pub(super) fn on_timer(&mut self, now: Instant, all_is_read: bool) {
        if self.ws_is_done() {
            self.closing().ws_deadline = None;
            return;
        }
        if let Some(until) = self.closing.as_ref().and_then(|closing| closing.ws_deadline) {
            if until <= now {
                self.ws_is_overdue(now, all_is_read);
            }
            return;
        }
        if self.delivery().is_some() && !self.ws_has_ended_unread() {
            return;
        }
        let delivered = self.delivered_bytes();
        let in_flight = || [self.ws.in_flight(), self.stream.in_flight()];
        if self.watch.is_idle(&mut self.idle, now, delivered, in_flight) {
            return self.idle_timed_out();
        }
        self.ping_timer.running_since(self.watch.running_since(now));
        match self.ping_timer.on_timer(now, self.config.ping_times()) {
            PingAction::Wait => {}
            PingAction::SendPing => self.ping_due = true,
            // The Pong of a peer that is not read cannot arrive. Its kernel's acknowledgement of the
            // Ping is accepted instead. Without that nothing more is written to the peer, and what it
            // sent before is still delivered.
            PingAction::TimedOut if self.is_not_read() => {
                self.ping_timer.activity(now);
                if !self.ws_took_all() {
                    self.ws_not_writable();
                }
            }
            PingAction::TimedOut => self.ws_lost(Disconnect::NoPong),
        }
    }

    fn is_not_read(&self) -> bool {
        self.holds_ws_back() || self.undecoded.is_some()
    }

    /// Whether the kernel of the WebSocket peer has acknowledged everything, as far as that is known.
    fn ws_took_all(&self) -> bool {
        took_all(&self.to_ws, self.ws.in_flight())
    }

    fn idle_timed_out(&mut self) {
        if !self.to_stream.is_empty() {
            self.stream_end = StreamEnd::Reset;
        }
        // A client that spoke last has paused for so long that its output counts as complete, unless
        // it goes on.
        self.client_spoke_last = false;
        self.close_for(CloseCause::Server, ServerClose::IDLE);
        if !self.to_ws.is_empty() {
            // The peer does not read, so the Close would not reach it.
            let unsent = self.ws.in_flight().map_or(0, |in_flight| in_flight.unsent as usize);
            self.closing().unsent_to_ws += self.to_ws.len() + unsent;
            self.ws_lost(Disconnect::NoCloseReply);
        }
    }

    /// Whether the stream is known to owe replies that the WebSocket peer can still be sent.
    fn awaits_replies(&self) -> bool {
        let stage = self.pending_close().map(|close| close.stage);
        self.counts_replies()
            && matches!(stage, None | Some(CloseStage::AfterReplies))
            && self.ws_out == WsOut::Open
            && !self.replies_are_done()
    }

    /// Records the progress from which the deadline of the WebSocket peer is measured, if it depends
    /// on progress.
    fn record_progress(&mut self, now: Instant) {
        if self.awaits_replies() {
            let progress = self.progress();
            self.closing().progress = Some(progress);
        } else if self.awaits_room() {
            self.limit_ws_from(now, END_TIMEOUT);
            let taken = self.taken_by_ws();
            self.closing().progress = Some(taken);
        }
    }

    /// Whether the connection was asked to end, and its Close waits after bytes that the WebSocket
    /// peer does not take. Bytes that the peer sends meanwhile are no progress.
    fn awaits_room(&self) -> bool {
        let stage = self.pending_close().map(|close| close.stage);
        !self.to_ws.is_empty()
            && !matches!(stage, Some(CloseStage::Sent | CloseStage::Reset))
            && self.watch.is_asked_to_end()
    }

    /// A count that changes whenever the WebSocket peer takes bytes, while none are added.
    fn taken_by_ws(&self) -> u64 {
        let acknowledged = self.ws.in_flight().map_or(0, |in_flight| in_flight.acknowledged);
        acknowledged.wrapping_sub(self.to_ws.len() as u64)
    }

    /// A count that changes whenever either peer takes bytes.
    fn progress(&self) -> u64 {
        let in_flight = [self.ws.in_flight(), self.stream.in_flight()];
        let acknowledged = in_flight.into_iter().flatten().map(|side| side.acknowledged);
        acknowledged.fold(self.delivered_bytes(), u64::wrapping_add)
    }

    /// Handles the deadline of the WebSocket peer: it has not ended, or its replies have not arrived.
    fn ws_is_overdue(&mut self, now: Instant, all_is_read: bool) {
        let stage = self.pending_close().map(|close| close.stage);
        if self.awaits_replies() && Some(self.progress()) != self.closing().progress {
            let grace = self.closing().grace;
            return self.limit_ws_from(now, grace);
        }
        let waits_for_replies = match (&self.ws_in, stage) {
            (_, Some(CloseStage::Sent)) if self.waits_with_close() => {
                self.closing().ws_deadline = Some(now + CLOSE_TIMEOUT);
                return;
            }
            (_, Some(CloseStage::Sent)) => return self.close_unanswered(all_is_read),
            (WsIn::Closed { .. }, None) => return self.close_with(CloseCode::NORMAL, ""),
            (ws, stage) => ws.is_gone() || stage == Some(CloseStage::AfterReplies),
        };
        let closing = self.closing();
        if waits_for_replies && closing.replies == Replies::Expected {
            closing.replies = Replies::GivenUp;
            closing.ws_deadline = Some(now + GRACE);
            return;
        }
        let is_awaited = self.awaits_room();
        if is_awaited && Some(self.taken_by_ws()) != self.closing().progress {
            return self.limit_ws_from(now, END_TIMEOUT);
        }
        // A peer that reads slowly is not cut off as long as it makes progress.
        let silence_deadline = self.ping_timer.silence_deadline(self.config.ping_times());
        if !self.to_ws.is_empty() && now < silence_deadline && !is_awaited {
            self.closing().ws_deadline = Some(silence_deadline);
        } else if let WsIn::Gone(how) = self.ws_in {
            self.ws_lost(how);
        } else {
            self.ws_lost(Disconnect::NoCloseReply);
        }
    }
}
