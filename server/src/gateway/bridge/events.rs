//! The effect of the end of one side on the other.
//!
//! The states are in state.rs, with their diagram.

use std::{borrow::Cow, io, task::Context, time::Duration};

use echogate_proto::{
    close::CloseCode,
    framing::FramingError,
    reason::{self, fill},
    ws::{FrameHeader, OpCode, Violation},
};
use tokio::time::Instant;

use super::{
    Bridge,
    delivery::STALL,
    state::{CloseCause, CloseStage, Disconnect, StreamEnd, StreamIn, StreamOut, WsIn, WsOut},
    timeouts::{GRACE, VIOLATION_GRACE},
};
use crate::{gateway::failure, net::stream::Transport, runtime::drain::Stage};

/// Events of the WebSocket.
impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Handles the peer's Close; `more` says whether bytes follow it. The stream's input is ended. A
    /// client's Close is answered after what its upstream still sends. An upstream's is answered at
    /// once, and then the upstream is to end the connection first (RFC 6455 section 7.1.1). A Close
    /// within a message or for a failure is not the end of the upstream's output.
    pub(super) fn ws_closed(&mut self, code: CloseCode, more: bool) {
        let is_upstream = self.is_ws_client();
        self.ws_in = WsIn::Closed { code, more: more || is_upstream };
        if is_upstream && !(self.is_complete(code) && self.decoder.at_message_boundary()) {
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
        self.ws_violates(CloseCode::PROTOCOL_ERROR, reason::MESSAGE_AFTER_END.into());
    }

    /// Handles a violation of the protocol by the peer.
    pub(super) fn ws_violated(&mut self, violation: Violation) {
        self.cancel_unforwarded_reply();
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
        self.cancel_unforwarded_reply();
        self.abort_stream();
        self.limit_ws(if self.counts_replies() { STALL } else { GRACE });
    }

    /// Sets the peer's deadline, unless the Close is sent: then the deadline for the answer is set
    /// already.
    fn limit_ws(&mut self, grace: Duration) {
        if !self.close_is_sent() {
            self.limit_ws_from(Instant::now(), grace);
        }
    }

    /// Sets the peer's deadline to `grace` from `now` on.
    pub(super) fn limit_ws_from(&mut self, now: Instant, grace: Duration) {
        let closing = self.closing();
        (closing.ws_deadline, closing.grace, closing.progress) = (Some(now + grace), grace, None);
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

    /// Handles a Close that the peer has not answered in time. The stream ends by a reset, unless a
    /// client, of which everything that has arrived is read, has only left the server's Close unanswered.
    pub(super) fn close_unanswered(&mut self, all_is_read: bool) {
        if !all_is_read || !self.only_lacks_close_reply() {
            return self.ws_lost(Disconnect::NoCloseReply);
        }
        self.ws_not_writable();
        self.ws_in = WsIn::Gone(Disconnect::NoCloseReply);
        self.end_stream();
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
            self.close_for(CloseCause::Server, self.watch.close());
        } else {
            self.close_with(CloseCode::NORMAL, fill(reason::PEER_ENDED, &[self.stream_peer()]));
        }
    }

    pub(super) fn stream_failed(&mut self, error: &io::Error) {
        self.stream_in = StreamIn::Ended;
        self.stream_broken();
        self.close_after_failure(failure::describe(self.stream_peer(), error));
    }

    pub(super) fn stream_was_reset(&mut self) {
        self.close_after_failure(failure::reset(self.stream_peer()));
    }

    /// Passes a failure of the stream on: an upstream's by a Close, a client's by a reset after what
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
        self.close_with(code, fill(error.template(), &[self.stream_peer()]));
    }

    /// Ends the stream's input after the buffered payload.
    pub(super) fn end_stream(&mut self) {
        if let Some(fragments) = self.fragments.take() {
            self.add_undelivered(fragments.len());
            self.stream_end = StreamEnd::Reset;
        }
        if self.stream_out == StreamOut::Open {
            self.stream_out = StreamOut::Ending;
        }
    }

    /// Ends the stream's input after the buffered payload by a reset, unless a client had ended its
    /// output.
    fn abort_stream(&mut self) {
        if self.stream_end == StreamEnd::InOrder || self.is_ws_client() {
            self.stream_end = StreamEnd::Reset;
        }
        self.end_stream();
    }
}
