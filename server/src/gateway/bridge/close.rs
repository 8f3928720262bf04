//! The closing handshake (RFC 6455 section 7): the choice of the Close for the WebSocket peer.
//!
//! The states are in state.rs, with their diagram.

use std::{borrow::Cow, io, time::Duration};

use echogate_proto::{close::CloseCode, framing::Framing, reason, ws::frame::close_frame};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    Bridge,
    delivery::{Delivery, Polling},
    state::{
        CloseCause, CloseStage, PendingClose, Replies, StreamEnd, StreamIn, StreamOut, WsIn, WsOut,
    },
    timeouts::{CLOSE_TIMEOUT, GRACE},
};
use crate::{
    net::stream::Transport,
    runtime::drain::{ServerClose, Silence, Stage},
};
use echogate_event_loop::has_turn;

/// The state of the closing handshake, and of the delivery of the last bytes.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) close: Option<PendingClose>,
    /// The deadline of the current step, in which the WebSocket peer ends or replies are awaited.
    pub(super) ws_deadline: Option<Instant>,
    /// The time that was given by that deadline, by which it is renewed.
    pub(super) grace: Duration,
    /// A count of the bytes that the peers had taken when that deadline was set, where the deadline
    /// is renewed for as long as it changes.
    pub(super) progress: Option<u64>,
    pub(super) replies: Replies,
    /// The silence of both peers that a graceful shutdown waits for.
    pub(super) silence: Silence,
    /// The number of the WebSocket peer's bytes that are known to be lost.
    pub(super) undelivered: usize,
    /// The number of the stream's bytes that the WebSocket peer was not sent although it had not ended
    /// the connection.
    pub(super) unsent_to_ws: usize,
    /// The delivery of the last bytes: to the stream, once the WebSocket peer has ended; to the
    /// WebSocket before its reset.
    pub(super) delivery: Option<Delivery>,
    /// The polling of a WebSocket peer that has ended its side, for a failure of its connection;
    /// `None` where a failure wakes the task.
    pub(super) ws_polling: Option<Polling>,
}

impl Closing {
    /// The earliest of these deadlines.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let delivery = self.delivery.as_ref().map(Delivery::next_update);
        let polling = self.ws_polling.as_ref().map(|polling| polling.next);
        [self.ws_deadline, delivery, polling].into_iter().flatten().min()
    }
}

impl<W: Transport, S: Transport> Bridge<W, S> {
    pub(super) fn closing(&mut self) -> &mut Closing {
        self.closing.get_or_insert_default()
    }

    pub(super) fn pending_close(&self) -> Option<&PendingClose> {
        self.closing.as_ref()?.close.as_ref()
    }

    /// Whether the Close is decided on; it may have been sent.
    pub(super) fn close_is_decided(&self) -> bool {
        self.pending_close().is_some()
    }

    pub(super) fn close_is_sent(&self) -> bool {
        self.pending_close().is_some_and(|close| close.stage == CloseStage::Sent)
    }

    /// Whether the WebSocket is to be reset instead of closed.
    pub(super) fn ws_is_aborted(&self) -> bool {
        self.pending_close().is_some_and(|close| close.stage == CloseStage::Reset)
    }

    /// Whether the server has ended the WebSocket by a shutdown, a request or the idle timeout.
    fn server_has_closed(&self) -> bool {
        self.pending_close().is_some_and(|close| {
            close.stage == CloseStage::Sent && close.cause == CloseCause::Server
        })
    }

    /// Handles `bytes` of the stream that are not sent to the WebSocket. Unless a client has ended the
    /// connection, they are counted as lost, and the stream ends by a reset.
    pub(super) fn discard_from_stream(&mut self, bytes: usize) {
        if bytes > 0 && (self.is_ws_client() || self.server_has_closed()) {
            self.closing().unsent_to_ws += bytes;
            self.stream_end = StreamEnd::Reset;
        }
    }

    /// Decides on the Close, unless one is decided on already or the peer is gone, with the cause
    /// [`CloseCause::Own`]. A peer that closed first gets its own code back (RFC 6455 section 5.5.1).
    pub(super) fn close_with(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        self.close_for(CloseCause::Own, ServerClose { code, reason: reason.into() });
    }

    /// Decides on the Close as [`Bridge::close_with`] does, and records its cause.
    pub(super) fn close_for(&mut self, cause: CloseCause, close: ServerClose) {
        if self.close_is_decided() || self.ws_in.is_gone() {
            return;
        }
        let (code, reason, cause) = match self.ws_in {
            WsIn::Closed { code, .. } if self.undelivered() == 0 || self.is_ws_client() => {
                (code, "".into(), CloseCause::Echo)
            }
            _ => (close.code, close.reason, cause),
        };
        let closing = self.closing();
        closing.close = Some(PendingClose { code, reason, cause, stage: CloseStage::Due });
        (closing.ws_deadline, closing.progress) = (Some(Instant::now() + GRACE), None);
    }

    /// The frame of the Close, if it is to be sent now. The Close is then recorded as sent.
    pub(super) fn take_due_close(&mut self) -> Option<Vec<u8>> {
        if !self.close_is_due() {
            return None;
        }
        let closing = self.closing.as_mut()?;
        let close = closing.close.as_mut()?;
        close.stage = CloseStage::Sent;
        closing.ws_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
        Some(close_frame(close.code, &close.reason))
    }

    /// Whether nothing is missing but the client's answer to the Close by which the server ends the
    /// connection (a shutdown, a request or the idle timeout): the client's kernel has acknowledged
    /// everything up to the Close, and the upstream spoke last. Such an end is no abort, so the upstream's
    /// connection ends in order. The caller knows that everything that has arrived is read.
    pub(super) fn only_lacks_close_reply(&self) -> bool {
        self.server_has_closed()
            && !self.is_ws_client()
            && !self.client_spoke_last
            && self.ws_in.is_open()
            && self.ws_out != WsOut::Failed
            && !self.ws.has_ended()
            && self.framer.expected() == 0
            && self.to_ws.is_empty()
            && self.ws.in_flight().is_some_and(|in_flight| in_flight.is_nothing())
            && self.undecoded.is_none()
            && self.decoder.at_message_boundary()
    }

    /// Whether the Close is to be sent now.
    pub(super) fn close_is_due(&self) -> bool {
        match self.pending_close().map(|close| close.stage) {
            None | Some(CloseStage::Sent | CloseStage::Reset) => false,
            Some(CloseStage::AfterReplies) => self.replies_are_done(),
            Some(CloseStage::Due) => true,
        }
    }

    /// Whether the framing determines which replies are expected from the stream.
    pub(super) fn counts_replies(&self) -> bool {
        self.framer.framing() == Framing::Message
    }

    /// Whether the stream is known to have answered everything that the WebSocket peer sent, or to
    /// owe no answers: a client owes none to its upstream, and datagrams may get lost.
    fn all_is_answered(&self) -> bool {
        match self.framer.framing() {
            _ if self.is_ws_client() => true,
            Framing::Message => self.framer.expected() == 0 && self.to_stream.is_empty(),
            Framing::Datagrams => true,
            Framing::Bytes | Framing::Text | Framing::Line | Framing::Length => false,
        }
    }

    /// Whether no more replies from the stream are awaited.
    pub(super) fn replies_are_done(&self) -> bool {
        let closing = self.closing.as_ref();
        self.all_is_answered()
            || closing.is_some_and(|closing| closing.replies == Replies::GivenUp)
            || self.stream_in != StreamIn::Open
            || self.watch.stage() >= Stage::Immediate
    }

    /// Decides on the Close if the states of both sides or the server's shutdown require it; returns
    /// whether they do. `idle` says that nothing more could be read from the WebSocket.
    ///
    /// The server's Close comes first at a shutdown, and the stream's input ends only with the
    /// client's own Close, because nothing else tells that the client has sent everything.
    #[inline]
    pub(super) fn advance_close(&mut self, stage: Stage, idle: bool, now: Instant) -> bool {
        let goes_on =
            stage == Stage::Serving && self.ws_in.is_open() && self.stream_in != StreamIn::Ended;
        !goes_on && !self.close_is_decided() && self.decide_close(stage, idle, now)
    }

    #[inline(never)]
    fn decide_close(&mut self, stage: Stage, idle: bool, now: Instant) -> bool {
        let both_ended = self.half_close && self.stream_in == StreamIn::Ended;
        if both_ended && self.ws_in.is_open() && self.stream_out == StreamOut::Broken {
            self.stream_was_reset();
            return true;
        }
        let is_at_rest = stage > Stage::Serving
            && idle
            && has_turn()
            && self.decoder.at_message_boundary()
            && self.owes_nothing(now);
        let next = self.next_close(stage, is_at_rest);
        let Some((cause, close)) = next else { return false };
        self.close_for(cause, close);
        true
    }

    /// Whether a graceful shutdown may end the connection without loss, as far as that can be known.
    /// A framing that counts no replies does not tell what is owed. There the connection is at rest if
    /// the upstream spoke last, to the end of a message, and both peers have been silent for some time
    /// ([`Silence`]). Datagrams may get lost, and their replies are awaited for that time only.
    fn owes_nothing(&mut self, now: Instant) -> bool {
        if self.counts_replies() && !self.is_ws_client() {
            return self.all_is_answered();
        }
        let may_be_owed = self.client_spoke_last && self.framer.framing() != Framing::Datagrams;
        let is_moving =
            self.partial_reply.is_some() || !self.to_ws.is_empty() || !self.to_stream.is_empty();
        let is_within = !self.framer.is_at_boundary();
        if may_be_owed || is_moving || is_within || !matches!(self.ws_in, WsIn::Open) {
            return false;
        }
        let passed = self.entry.carried_bytes();
        self.closing().silence.is_long_enough(now, passed)
    }

    fn next_close(&self, stage: Stage, is_at_rest: bool) -> Option<(CloseCause, ServerClose)> {
        let normal = |reason: &'static str| {
            (CloseCause::Own, ServerClose { code: CloseCode::NORMAL, reason: reason.into() })
        };
        let by_server = || (CloseCause::Server, self.watch.close());
        let stream_has_ended = self.half_close && self.stream_in == StreamIn::Ended;
        // A Close to a WebSocket upstream would end the upload of a client that spoke last as if it were
        // complete.
        let is_due = is_at_rest
            || stage >= Stage::Immediate && (!self.is_ws_client() || self.watch.is_asked_to_end());
        match self.ws_in {
            WsIn::Closed { .. } => {
                (stage >= Stage::Immediate || self.all_is_answered()).then(|| normal(""))
            }
            WsIn::Violated | WsIn::Gone(_) => None,
            WsIn::InputEnded if stream_has_ended => Some(normal(reason::BOTH_ENDED)),
            WsIn::Open if stream_has_ended => (stage > Stage::Serving).then(by_server),
            WsIn::Open | WsIn::InputEnded => is_due.then(by_server),
        }
    }
}

/// Refuses an upgraded client: sends a Close and waits for the client's end. A page cannot learn
/// of a refusal otherwise, since it cannot read the response to a handshake.
pub(crate) async fn reject<C>(mut client: C, code: CloseCode, reason: &str)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let close = async {
        client.write_all(&close_frame(code, reason)).await?;
        client.shutdown().await?;
        let mut sink = [0; 1024];
        while client.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // Errors and the timeout are ignored: the client is dropped in any case.
    timeout(CLOSE_TIMEOUT, close).await.ok();
}
