//! The closing handshake (RFC 6455 section 7): the effect of the end of one side on the other, and
//! the choice of the Close for the WebSocket peer.
//!
//! The states are in state.rs, with their diagram.

use std::{borrow::Cow, io, task::Context, time::Duration};

use echogate_proto::{
    close::CloseCode,
    framing::{Framing, FramingError},
    ws::{FrameHeader, OpCode, Violation, frame::close_frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    Bridge,
    delivery::{Delivery, Polling, STALL},
    state::{
        CloseCause, CloseStage, Disconnect, PendingClose, Replies, StreamEnd, StreamIn, StreamOut,
        WsIn, WsOut,
    },
    timeouts::{CLOSE_TIMEOUT, GRACE, VIOLATION_GRACE},
};
use crate::{net::stream::Transport, runtime::drain::Stage};
use echogate_event_loop::has_turn;

pub(in crate::gateway) const SHUTDOWN: &str = "the server is shutting down";

/// The state of the closing handshake, and of the delivery of the last bytes.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) close: Option<PendingClose>,
    /// The deadline of the current step, in which the WebSocket peer ends or replies are awaited.
    pub(super) ws_deadline: Option<Instant>,
    pub(super) replies: Replies,
    /// The number of the WebSocket peer's bytes that are known to be lost.
    pub(super) undelivered: usize,
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

/// Events of the WebSocket.
impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Handles the peer's Close; `more` says whether bytes follow it. The stream's input is ended. A
    /// client's Close is answered after what its upstream still sends. An upstream's is answered at
    /// once, and then the upstream is to end the connection first (RFC 6455 section 7.1.1).
    pub(super) fn ws_closed(&mut self, code: CloseCode, more: bool) {
        let is_upstream = self.is_ws_client();
        self.ws_in = WsIn::Closed { code, more: more || is_upstream };
        if is_upstream && !self.is_complete(code) {
            self.abort_stream();
        } else {
            self.end_stream();
        }
        if is_upstream {
            self.close_with(code, "");
        } else {
            self.limit_ws(GRACE);
        }
    }

    /// Handles the end of the peer's output (half-close): the stream's input is ended too.
    pub(super) fn ws_input_ended(&mut self) {
        self.ws_in = WsIn::InputEnded;
        if self.stream_end == StreamEnd::InOrder {
            self.stream_end = StreamEnd::EndOfInput;
        }
        self.end_stream();
    }

    /// Handles a message after the end of the peer's output.
    pub(super) fn message_after_end(&mut self) {
        let reason = "a message after the end of input (half-close)";
        self.ws_violates(CloseCode::PROTOCOL_ERROR, reason.into());
    }

    /// Handles a violation of the protocol by the peer.
    pub(super) fn ws_violated(&mut self, violation: Violation) {
        self.ws_violates(violation.close_code(), violation.to_string().into());
    }

    /// Ends the input from the WebSocket. Earlier messages are still delivered and answered before
    /// the Close is sent.
    fn ws_violates(&mut self, code: CloseCode, reason: Cow<'static, str>) {
        self.ws_in = WsIn::Violated;
        self.abort_stream();
        self.close_with(code, reason);
        if let Some(close) = &mut self.closing().close
            && close.stage == CloseStage::Due
        {
            (close.stage, close.cause) = (CloseStage::AfterReplies, CloseCause::Violation);
        }
        self.limit_ws(if self.counts_replies() { GRACE } else { VIOLATION_GRACE });
    }

    /// Handles a FIN of the peer without a Close. Its earlier messages are still delivered, and a
    /// client is sent the replies: it may have ended its own side only.
    pub(super) fn ws_ended(&mut self) {
        self.ws_in = WsIn::Gone(Disconnect::WithoutClose);
        self.abort_stream();
        self.limit_ws(if self.counts_replies() { STALL } else { GRACE });
    }

    /// Sets the peer's deadline, unless the Close is sent: then the deadline for the answer is set
    /// already.
    fn limit_ws(&mut self, grace: Duration) {
        if !self.close_is_sent() {
            self.closing().ws_deadline = Some(Instant::now() + grace);
        }
    }

    /// Handles the loss of the peer: nothing more is read from it or written to it. Its earlier
    /// messages are still delivered.
    pub(super) fn ws_lost(&mut self, how: Disconnect) {
        self.ws_not_writable();
        if !matches!(self.ws_in, WsIn::Closed { .. }) {
            self.ws_in = WsIn::Gone(how);
            self.abort_stream();
        }
        self.closing().ws_deadline = None;
    }

    /// Stops writing to the WebSocket, because a write has failed or the peer is lost. Bytes that it
    /// sent before may still be in the kernel, and are read to their end.
    pub(super) fn ws_not_writable(&mut self) {
        self.ws_out = WsOut::Failed;
        self.discard_to_ws();
        self.framer.forget_expected();
        self.pongs = None;
    }

    /// Discards the bytes buffered for the WebSocket. If there are any, its connection ends by a
    /// reset, so that the peer does not take the output for complete.
    pub(super) fn discard_to_ws(&mut self) {
        if !self.to_ws.is_empty() {
            self.to_ws.clear();
            self.ws.reset_on_drop();
        }
    }
}

/// Events of the stream.
impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Handles the end of the stream's output. The WebSocket peer gets the end of input, or a Close.
    pub(super) fn stream_ended(&mut self, cx: &mut Context<'_>) {
        self.stream_in = StreamIn::Ended;
        let last = match self.framer.finish() {
            Ok(last) => last,
            Err(e) => return self.framing_failed(e),
        };
        if let Some(piece) = last {
            self.ws_sent().add(piece.payload_len(), 1);
            self.send_header(cx, &piece.head);
        }
        if self.stream_out == StreamOut::Broken {
            self.stream_was_reset();
        } else if self.half_close && self.ws_in.is_open() {
            // The peer may continue to send; when it has ended too, advance_close() closes.
            self.send_header(cx, &FrameHeader::new(OpCode::Binary, true, 0));
        } else if self.watch.stage() > Stage::Serving && !self.is_ws_client() {
            self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
        } else {
            self.close_with(CloseCode::NORMAL, format!("{} ended the stream", self.stream_peer()));
        }
    }

    /// Handles an error of the stream.
    pub(super) fn stream_failed(&mut self, error: &io::Error) {
        let stream = self.stream_peer();
        self.stream_in = StreamIn::Ended;
        self.stream_broken();
        let reason = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                return self.stream_was_reset();
            }
            io::ErrorKind::TimedOut => format!("{stream} timed out"),
            // TLS without close_notify: the stream may be truncated.
            io::ErrorKind::UnexpectedEof => format!("{stream} was {error}"),
            _ => format!("{stream} failed: {error}"),
        };
        self.close_after_failure(reason);
    }

    fn stream_was_reset(&mut self) {
        self.close_after_failure(format!("{} reset the connection", self.stream_peer()));
    }

    /// Passes a failure of the stream on: an upstream's by a Close, a client's by a reset behind what
    /// it sent before.
    fn close_after_failure(&mut self, reason: String) {
        self.close_with(CloseCode::INTERNAL_ERROR, reason);
        if self.is_ws_client()
            && let Some(close) = &mut self.closing().close
            && close.stage == CloseStage::Due
        {
            (close.code, close.stage) = (CloseCode::ABNORMAL, CloseStage::Reset);
            self.closing().ws_deadline = None;
        }
    }

    /// Stops writing to the stream after a failure. A read reports the reason.
    pub(super) fn stream_broken(&mut self) {
        self.add_undelivered(self.to_stream.len());
        self.to_stream.clear();
        self.stream_out = StreamOut::Broken;
    }

    /// Handles bytes of the stream that the framing cannot carry.
    pub(super) fn framing_failed(&mut self, error: FramingError) {
        // Nothing of what follows may pass for the rest of a message that is begun.
        if self.stream_in == StreamIn::Open {
            self.stream_in = StreamIn::Unframed;
        }
        let code = match error {
            FramingError::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            FramingError::NotAsked | FramingError::ReplyMissing | FramingError::RecordCut => {
                CloseCode::INTERNAL_ERROR
            }
        };
        self.close_with(code, format!("{} {error}", self.stream_peer()));
    }

    /// Ends the stream's input behind the buffered payload.
    fn end_stream(&mut self) {
        if let Some(fragments) = self.fragments.take() {
            self.add_undelivered(fragments.len());
            self.stream_end = StreamEnd::Reset;
        }
        if self.stream_out == StreamOut::Open {
            self.stream_out = StreamOut::Ending;
        }
    }

    /// Ends the stream's input behind the buffered payload by a reset, unless a client had ended its
    /// output.
    fn abort_stream(&mut self) {
        if self.stream_end == StreamEnd::InOrder || self.is_ws_client() {
            self.stream_end = StreamEnd::Reset;
        }
        self.end_stream();
    }
}

/// The Close.
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

    /// Decides on the Close, unless one is decided on already or the peer is gone. A peer that closed
    /// first gets its own code back (RFC 6455 section 5.5.1).
    pub(super) fn close_with(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.close_is_decided() || self.ws_in.is_gone() {
            return;
        }
        let (code, reason, cause) = match self.ws_in {
            WsIn::Closed { code, .. } if self.undelivered() == 0 || self.is_ws_client() => {
                (code, "".into(), CloseCause::Echo)
            }
            _ => (code, reason.into(), CloseCause::Own),
        };
        let closing = self.closing();
        closing.close = Some(PendingClose { code, reason, cause, stage: CloseStage::Due });
        closing.ws_deadline = Some(Instant::now() + GRACE);
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

    /// Whether the Close is to be sent now.
    pub(super) fn close_is_due(&self) -> bool {
        match self.pending_close().map(|close| close.stage) {
            None | Some(CloseStage::Sent | CloseStage::Reset) => false,
            Some(CloseStage::AfterReplies) => self.replies_are_done(),
            Some(CloseStage::Due) => true,
        }
    }

    /// Whether the framing determines which replies are expected from the stream.
    fn counts_replies(&self) -> bool {
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
    }

    /// Decides on the Close, or ends the stream's input, if the states of both sides or the
    /// server's shutdown require it; returns whether they do. `idle` says that nothing more could be
    /// read from the WebSocket.
    pub(super) fn advance_close(&mut self, stage: Stage, idle: bool) -> bool {
        if self.close_is_decided() {
            return false;
        }
        let both_ended = self.half_close && self.stream_in == StreamIn::Ended;
        if both_ended && self.ws_in.is_open() && self.stream_out == StreamOut::Broken {
            self.stream_was_reset();
            return true;
        }
        let is_quiet = stage == Stage::Graceful
            && idle
            && has_turn()
            && self.decoder.at_message_boundary()
            && !(self.is_ws_client() && self.partial_reply.is_some());
        if let Some((code, reason)) = self.next_close(stage, is_quiet) {
            self.close_with(code, reason);
        } else if is_quiet
            && self.ws_in.is_open()
            && self.stream_out == StreamOut::Open
            && !self.counts_replies()
        {
            // Only the upstream knows whether it has more to send: it is asked by the end of input.
            self.end_stream();
        } else {
            return false;
        }
        true
    }

    fn next_close(&self, stage: Stage, is_quiet: bool) -> Option<(CloseCode, &'static str)> {
        let shutdown = (CloseCode::GOING_AWAY, SHUTDOWN);
        let stream_has_ended = self.half_close && self.stream_in == StreamIn::Ended;
        match self.ws_in {
            WsIn::Closed { .. } => self.all_is_answered().then_some((CloseCode::NORMAL, "")),
            WsIn::Violated | WsIn::Gone(_) => None,
            WsIn::InputEnded if stream_has_ended => {
                Some((CloseCode::NORMAL, "both sides ended the stream"))
            }
            WsIn::Open if stream_has_ended => (stage > Stage::Serving).then_some(shutdown),
            WsIn::Open | WsIn::InputEnded => {
                let is_due = stage >= Stage::Immediate || is_quiet && self.all_is_answered();
                is_due.then_some(shutdown)
            }
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
