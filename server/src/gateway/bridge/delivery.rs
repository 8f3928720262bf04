//! The delivery of the bytes that a peer sent before its end. It continues for as long as the other
//! peer makes progress.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use echogate_proto::close::CloseCode;
use tokio::time::Instant;

use super::{
    Bridge,
    state::{Disconnect, End, StreamEnd, StreamIn, StreamOut, WsIn, WsOut},
};
pub(super) use crate::runtime::delivery::{Delivery, Polling, Progress, STALL, took_all};
use crate::{net::stream::Transport, runtime::drain::END_TIMEOUT};

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// The end of the connection, once the WebSocket peer has ended and its bytes are delivered or
    /// given up.
    pub(super) fn poll_end(&mut self, cx: &mut Context<'_>, now: Instant) -> Option<End> {
        if self.ws_in.is_open() && self.closing.is_none() && !self.holds_ws_back() {
            return None;
        }
        if self.ws_is_aborted() {
            return self.poll_abort(now);
        }
        self.check_ended_ws(cx, now);
        let ws_done = self.ws_is_done();
        let is_aborting = !ws_done && self.stream_awaits_reset();
        if !ws_done && !is_aborting && !self.ws_has_ended_unread() && !self.waits_with_close() {
            if let Some(closing) = &mut self.closing {
                closing.delivery = None;
            }
            return None;
        }
        if ws_done && self.stream_is_done(now) {
            return Some(self.end());
        }
        if is_aborting && self.stream_is_done(now) {
            self.reset_stream();
            return None;
        }
        // The unread bytes of a WebSocket peer that has ended its side may contain a Close.
        let may_be_clean = match self.ws_in {
            WsIn::Closed { .. } => true,
            WsIn::Open | WsIn::InputEnded => !self.ws_has_failed(),
            WsIn::Violated | WsIn::Gone(_) => false,
        };
        let stall = if may_be_clean { STALL } else { STALL.min(self.config.ping_timeout) };
        let stall = self.limit_stall(stall);
        let expected = if ws_done { 0 } else { self.framer.expected() };
        let progress =
            Progress { unwritten: self.to_stream.len(), expected, ..Progress::default() };
        let in_flight = self.stream.in_flight();
        let slot = &mut self.closing().delivery;
        if !Delivery::advance(slot, now, stall, progress, in_flight).has_stalled(now) {
            return None;
        }
        if is_aborting {
            self.add_undelivered(self.unsent());
            self.reset_stream();
            return None;
        }
        self.stream_end = StreamEnd::Reset;
        if !ws_done {
            let failed = self.ws_has_failed();
            self.ws_lost(if failed { Disconnect::Failed } else { Disconnect::WithoutClose });
        }
        Some(self.given_up())
    }

    /// The end of a connection whose WebSocket is to be reset, once the bytes written to it before are
    /// acknowledged or given up.
    fn poll_abort(&mut self, now: Instant) -> Option<End> {
        let progress = Progress { unwritten: self.to_ws.len(), ..Progress::default() };
        let (in_flight, stall) = (self.ws.in_flight(), self.limit_stall(STALL));
        let slot = &mut self.closing().delivery;
        let is_over = Delivery::advance(slot, now, stall, progress, in_flight).has_stalled(now);
        let is_delivered =
            self.to_ws.is_empty() && Delivery::has_arrived(self.delivery(), now, in_flight);
        if !is_over && !is_delivered && !self.ws_has_failed() {
            return None;
        }
        self.ws.reset_on_drop();
        Some(self.end())
    }

    /// The time without progress after which a delivery is given up: `stall`, and at most
    /// [`END_TIMEOUT`] for a connection that was asked to end.
    fn limit_stall(&self, stall: Duration) -> Duration {
        if self.watch.is_asked_to_end() { stall.min(END_TIMEOUT) } else { stall }
    }

    /// Checks whether the connection of a WebSocket peer that has ended its side has failed since:
    /// then the replies to its messages are discarded.
    fn check_ended_ws(&mut self, cx: &mut Context<'_>, now: Instant) {
        let is_checked = self.ws_in.is_gone() && self.ws_out == WsOut::Open;
        let is_polled = is_checked && !self.ws.wakes_on_failure();
        if is_polled {
            let new = || Polling::new(now);
            self.closing().ws_polling.get_or_insert_with(new).advance(now);
        } else if let Some(closing) = &mut self.closing {
            closing.ws_polling = None;
        }
        let failed = if is_polled {
            matches!(Pin::new(&mut self.ws).poll_flush(cx), Poll::Ready(Err(_)))
        } else {
            is_checked && self.ws.has_failed()
        };
        if failed {
            self.ws_not_writable();
        }
    }

    fn ws_has_failed(&self) -> bool {
        self.ws_out == WsOut::Failed || self.ws.has_failed()
    }

    /// Whether nothing more is to be read from the WebSocket or written to it.
    pub(super) fn ws_is_done(&self) -> bool {
        match self.ws_in {
            WsIn::Gone(_) | WsIn::Closed { more: false, .. } => self.ws_out != WsOut::Open,
            WsIn::Closed { more: true, .. } => self.ws_out == WsOut::Failed,
            WsIn::Open | WsIn::InputEnded | WsIn::Violated => false,
        }
    }

    /// Whether the WebSocket peer is known to have ended although its last bytes are not read yet,
    /// because the stream peer is slow. Their delivery is given up if that makes no progress.
    pub(super) fn ws_has_ended_unread(&self) -> bool {
        self.holds_ws_back() && (self.ws_out == WsOut::Failed || self.ws.has_ended())
    }

    /// Whether the upstream's answer to a Close is not read because the client is slow to take what
    /// precedes it (client role).
    pub(super) fn waits_with_close(&self) -> bool {
        self.is_ws_client() && self.close_is_sent() && self.holds_ws_back()
    }

    /// Whether everything that the WebSocket peer sent has been delivered, as far as that is possible.
    fn stream_is_done(&self, now: Instant) -> bool {
        match self.stream_out {
            StreamOut::Open | StreamOut::Ending => false,
            StreamOut::Broken => true,
            StreamOut::Shut
                if self.stream_in == StreamIn::Ended && self.stream_end != StreamEnd::Reset =>
            {
                true
            }
            // Closing the socket answers further bytes of the stream peer with a reset, which may
            // destroy bytes in flight; so does a reset that is due. So the bytes must arrive first.
            StreamOut::Shut if self.stream.has_failed() => true,
            StreamOut::Shut => Delivery::has_arrived(self.delivery(), now, self.stream.in_flight()),
        }
    }

    /// Whether the stream is to be reset after what is in flight, although the end of the WebSocket
    /// peer is still awaited: its last payload and all replies to it have passed.
    fn stream_awaits_reset(&self) -> bool {
        self.stream_end == StreamEnd::Reset
            && matches!(self.stream_out, StreamOut::Ending | StreamOut::Shut)
            && !self.ws_in.is_open()
            && self.close_is_sent()
    }

    /// Resets the stream before the end of the WebSocket.
    fn reset_stream(&mut self) {
        self.stream_broken();
        self.stream_in = StreamIn::Ended;
        self.stream.reset();
        self.closing().delivery = None;
    }

    /// Whether the kernel of the stream peer has acknowledged all payload, as far as that is known.
    fn stream_took_all(&self) -> bool {
        took_all(&self.to_stream, self.stream.in_flight())
    }

    /// The number of bytes that the kernel has not sent to the stream peer.
    fn unsent(&self) -> usize {
        self.stream.in_flight().map_or(0, |in_flight| in_flight.unsent as usize)
    }

    /// The payload bytes and the messages from the WebSocket so far.
    fn received(&self) -> (u64, u64) {
        let counter = self.entry.counter(self.ws_to_stream());
        (counter.bytes(), counter.messages())
    }

    pub(super) fn delivery(&self) -> Option<&Delivery> {
        self.closing.as_ref()?.delivery.as_ref()
    }

    /// Ends a connection whose delivery made no progress for too long.
    fn given_up(&mut self) -> End {
        let undecoded = self.undecoded.as_ref().map_or(0, |undecoded| undecoded.len());
        self.add_undelivered(self.to_stream.len() + self.unsent() + undecoded);
        self.end()
    }

    /// Ends a connection at once, at the end of the server's shutdown or by resets at a request. Frames
    /// that have arrived are read first: a Close or the beginning of a message among them determines
    /// how the stream ends.
    pub(super) fn cut(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Instant) -> End {
        let had_taken_all = self.stream_out == StreamOut::Open && self.stream_took_all();
        let before = self.received();
        let all_is_read = self.poll_messages_to_stream(cx, scratch, now);
        let is_requested = self.watch.is_reset_requested();
        let is_complete =
            !matches!(self.ws_in, WsIn::Open) || all_is_read && self.only_lacks_close_reply();
        let is_ended = match self.stream_out {
            StreamOut::Open => self.stream_took_all(),
            // The end of input alone, which this read has found, is in flight.
            StreamOut::Ending | StreamOut::Shut if had_taken_all && self.received() == before => {
                true
            }
            _ => self.stream_is_done(now),
        };
        if is_requested || !is_complete || !is_ended {
            self.stream_end = StreamEnd::Reset;
        } else if self.stream_out == StreamOut::Open {
            self.end_stream();
            // The last record of TLS may find no room. Then the connection ends without it.
            let _ = self.poll_stream_out(cx);
        }
        self.discard_to_ws();
        if is_requested {
            self.ws.reset_on_drop();
        }
        End { code: CloseCode::ABNORMAL, why: self.watch.cut_reason() }
    }
}
