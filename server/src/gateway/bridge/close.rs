//! The closing handshake (RFC 6455 section 7): the effect of the end of one side on the other, and
//! the choice of the Close for the client.
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
        ClientIn, ClientOut, CloseStage, Disconnect, End, PendingClose, Replies, UpstreamEnd,
        UpstreamIn, UpstreamOut,
    },
    timeouts::{CLOSE_TIMEOUT, GRACE, VIOLATION_GRACE},
};
use crate::{net::stream::Transport, runtime::drain::Stage};
use echogate_event_loop::has_turn;

const RESET: &str = "the upstream reset the connection";
pub(in crate::gateway) const SHUTDOWN: &str = "the server is shutting down";

/// The state of the closing handshake, and of the delivery of the client's last bytes.
#[derive(Debug, Default)]
pub(super) struct Closing {
    pub(super) close: Option<PendingClose>,
    /// The deadline of the current step, in which the client ends or replies are awaited.
    pub(super) client_deadline: Option<Instant>,
    pub(super) replies: Replies,
    /// The number of the client's bytes that are known to be lost.
    pub(super) undelivered: usize,
    /// The delivery of the client's last bytes, once the client has ended.
    pub(super) delivery: Option<Delivery>,
    /// The polling of a client that has ended its side, for a failure of its connection; `None`
    /// where a failure wakes the task.
    pub(super) client_polling: Option<Polling>,
}

impl Closing {
    /// The earliest of these deadlines.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let delivery = self.delivery.as_ref().map(Delivery::next_update);
        let client = self.client_polling.as_ref().map(|polling| polling.next);
        [self.client_deadline, delivery, client].into_iter().flatten().min()
    }
}

/// Events of the client.
impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Handles the client's Close; `more` says whether bytes follow it. The upstream's input is
    /// ended, and its remaining output is relayed before the Close is answered.
    pub(super) fn client_closed(&mut self, code: CloseCode, more: bool) {
        self.client_in = ClientIn::Closed { code, more };
        self.end_upstream();
        self.limit_client(GRACE);
    }

    /// Handles the end of the client's input (half-close): the upstream's input is ended too.
    pub(super) fn client_input_ended(&mut self) {
        self.client_in = ClientIn::InputEnded;
        if self.upstream_end == UpstreamEnd::InOrder {
            self.upstream_end = UpstreamEnd::EndOfInput;
        }
        self.end_upstream();
    }

    /// Handles a message after the end of the client's input.
    pub(super) fn message_after_end(&mut self) {
        let reason = "a message after the end of input (half-close)";
        self.client_violates(CloseCode::PROTOCOL_ERROR, reason.into());
    }

    /// Handles a violation of the protocol by the client.
    pub(super) fn client_violated(&mut self, violation: Violation) {
        self.client_violates(violation.close_code(), violation.to_string().into());
    }

    /// Ends the client's input. Earlier messages are still delivered and answered before the Close
    /// is sent.
    fn client_violates(&mut self, code: CloseCode, reason: Cow<'static, str>) {
        self.client_in = ClientIn::Violated;
        self.abort_upstream();
        self.close_with(code, reason);
        if let Some(close) = &mut self.closing().close
            && close.stage != CloseStage::Sent
        {
            close.stage = CloseStage::AfterReplies;
        }
        self.limit_client(if self.counts_replies() { GRACE } else { VIOLATION_GRACE });
    }

    /// Handles a FIN of the client without a Close. Its earlier messages are still delivered, and
    /// the replies sent to it: it may have ended its own side only.
    pub(super) fn client_ended(&mut self) {
        self.client_in = ClientIn::Gone(Disconnect::WithoutClose);
        self.abort_upstream();
        self.limit_client(if self.counts_replies() { STALL } else { GRACE });
    }

    /// Sets the client's deadline, unless the Close is sent: then the deadline for the answer is
    /// set already.
    fn limit_client(&mut self, grace: Duration) {
        if !self.close_is_sent() {
            self.closing().client_deadline = Some(Instant::now() + grace);
        }
    }

    /// Handles the loss of the client: nothing more is read from it or written to it. Its earlier
    /// messages are still delivered.
    pub(super) fn client_lost(&mut self, how: Disconnect) {
        self.client_not_writable();
        if !matches!(self.client_in, ClientIn::Closed { .. }) {
            self.client_in = ClientIn::Gone(how);
            self.abort_upstream();
        }
        self.closing().client_deadline = None;
    }

    /// Stops writing to the client, because a write has failed or the client is lost. Bytes that it
    /// sent before may still be in the kernel, and are read to their end.
    pub(super) fn client_not_writable(&mut self) {
        self.client_out = ClientOut::Failed;
        self.discard_to_client();
        self.framer.forget_expected();
        self.pongs = None;
    }

    /// Discards the bytes buffered for the client. If there are any, its connection ends by a
    /// reset, so that the client does not take the output for complete.
    pub(super) fn discard_to_client(&mut self) {
        if !self.to_client.is_empty() {
            self.to_client.clear();
            self.client.reset_on_drop();
        }
    }
}

/// Events of the upstream.
impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Handles the end of the upstream's output. The client gets the end of input, or a Close.
    pub(super) fn upstream_ended(&mut self, cx: &mut Context<'_>) {
        self.upstream_in = UpstreamIn::Ended;
        let last = match self.framer.finish() {
            Ok(last) => last,
            Err(e) => return self.framing_failed(e),
        };
        if let Some(piece) = last {
            self.entry.sent().add(piece.payload_len(), 1);
            self.send(cx, piece.head.as_bytes());
        }
        if self.upstream_out == UpstreamOut::Broken {
            self.close_with(CloseCode::INTERNAL_ERROR, RESET);
        } else if self.half_close && self.client_in.is_open() {
            // The client may continue to send; when it has ended too, advance_close() closes.
            self.send(cx, FrameHeader::new(OpCode::Binary, true, 0).as_bytes());
        } else if self.watch.stage() > Stage::Serving {
            self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
        } else {
            self.close_with(CloseCode::NORMAL, "the upstream ended the stream");
        }
    }

    /// Handles a read error of the upstream.
    pub(super) fn upstream_failed(&mut self, error: &io::Error) {
        self.upstream_in = UpstreamIn::Ended;
        self.upstream_broken();
        let reason: Cow<'static, str> = match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => RESET.into(),
            io::ErrorKind::TimedOut => "the upstream timed out".into(),
            // TLS without close_notify: the stream may be truncated.
            io::ErrorKind::UnexpectedEof => format!("the upstream was {error}").into(),
            _ => format!("the upstream failed: {error}").into(),
        };
        self.close_with(CloseCode::INTERNAL_ERROR, reason);
    }

    /// Stops writing to the upstream after a failure. A read reports the reason.
    pub(super) fn upstream_broken(&mut self) {
        self.add_undelivered(self.to_upstream.len());
        self.to_upstream.clear();
        self.upstream_out = UpstreamOut::Broken;
    }

    /// Handles bytes of the upstream that the route's framing cannot carry.
    pub(super) fn framing_failed(&mut self, error: FramingError) {
        // Nothing of what follows may pass for the rest of a message that is begun.
        if self.upstream_in == UpstreamIn::Open {
            self.upstream_in = UpstreamIn::Unframed;
        }
        let code = match error {
            FramingError::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            FramingError::NotAsked | FramingError::ReplyMissing => CloseCode::INTERNAL_ERROR,
        };
        self.close_with(code, error.to_string());
    }

    /// Ends the upstream's input behind the buffered payload.
    fn end_upstream(&mut self) {
        if self.upstream_out == UpstreamOut::Open {
            self.upstream_out = UpstreamOut::Ending;
        }
    }

    /// Ends the upstream's input behind the buffered payload by a reset, unless the client had
    /// ended its input.
    fn abort_upstream(&mut self) {
        if self.upstream_end == UpstreamEnd::InOrder {
            self.upstream_end = UpstreamEnd::Reset;
        }
        self.end_upstream();
    }
}

/// The Close.
impl<C: Transport, U: Transport> Bridge<C, U> {
    pub(super) fn closing(&mut self) -> &mut Closing {
        self.closing.get_or_insert_default()
    }

    pub(super) fn pending_close(&self) -> Option<&PendingClose> {
        self.closing.as_ref()?.close.as_ref()
    }

    /// Whether the Close for the client is decided on; it may have been sent.
    pub(super) fn close_is_decided(&self) -> bool {
        self.pending_close().is_some()
    }

    pub(super) fn close_is_sent(&self) -> bool {
        self.pending_close().is_some_and(|close| close.stage == CloseStage::Sent)
    }

    /// Decides on the Close, unless one is decided on already or the client is gone. A client that
    /// closed first gets its own code back (RFC 6455 section 5.5.1).
    pub(super) fn close_with(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.close_is_decided() || self.client_in.is_gone() {
            return;
        }
        let (code, reason, is_echo) = match self.client_in {
            ClientIn::Closed { code, .. } if self.undelivered() == 0 => (code, "".into(), true),
            _ => (code, reason.into(), false),
        };
        let closing = self.closing();
        closing.close = Some(PendingClose { code, reason, is_echo, stage: CloseStage::Due });
        closing.client_deadline = Some(Instant::now() + GRACE);
    }

    /// The frame of the Close, if it is to be sent now. The Close is then recorded as sent.
    pub(super) fn take_due_close(&mut self) -> Option<Vec<u8>> {
        if !self.close_is_due() {
            return None;
        }
        let closing = self.closing.as_mut()?;
        let close = closing.close.as_mut()?;
        close.stage = CloseStage::Sent;
        closing.client_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
        Some(close_frame(close.code, &close.reason))
    }

    /// Whether the Close is to be sent now.
    pub(super) fn close_is_due(&self) -> bool {
        match self.pending_close().map(|close| close.stage) {
            None | Some(CloseStage::Sent) => false,
            Some(CloseStage::AfterReplies) => self.replies_are_done(),
            Some(CloseStage::Due) => true,
        }
    }

    /// Whether the framing determines which replies are expected from the upstream.
    fn counts_replies(&self) -> bool {
        self.framer.framing() == Framing::Message
    }

    /// Whether the upstream is known to have answered everything that the client sent.
    fn all_is_answered(&self) -> bool {
        self.counts_replies() && self.framer.expected() == 0 && self.to_upstream.is_empty()
    }

    /// Whether no more replies from the upstream are awaited.
    pub(super) fn replies_are_done(&self) -> bool {
        let closing = self.closing.as_ref();
        self.all_is_answered()
            || closing.is_some_and(|closing| closing.replies == Replies::GivenUp)
            || self.upstream_in != UpstreamIn::Open
    }

    /// Decides on the Close, or ends the upstream's input, if the states of both sides or the
    /// server's shutdown require it; returns whether they do. `idle` says that
    /// nothing more could be read from the client.
    pub(super) fn advance_close(&mut self, stage: Stage, idle: bool) -> bool {
        if self.close_is_decided() {
            return false;
        }
        let is_quiet =
            stage == Stage::Graceful && idle && has_turn() && self.decoder.at_message_boundary();
        if let Some((code, reason)) = self.next_close(stage, is_quiet) {
            self.close_with(code, reason);
        } else if is_quiet
            && self.client_in.is_open()
            && self.upstream_out == UpstreamOut::Open
            && !self.counts_replies()
        {
            // Only the upstream knows whether it has more to send: it is asked by the end of input.
            self.end_upstream();
        } else {
            return false;
        }
        true
    }

    fn next_close(&self, stage: Stage, is_quiet: bool) -> Option<(CloseCode, &'static str)> {
        let shutdown = (CloseCode::GOING_AWAY, SHUTDOWN);
        match self.client_in {
            ClientIn::Closed { .. } => self.all_is_answered().then_some((CloseCode::NORMAL, "")),
            ClientIn::Violated | ClientIn::Gone(_) => None,
            ClientIn::Open | ClientIn::InputEnded
                if self.half_close && self.upstream_in == UpstreamIn::Ended =>
            {
                match self.client_in {
                    _ if self.upstream_out == UpstreamOut::Broken => {
                        Some((CloseCode::INTERNAL_ERROR, RESET))
                    }
                    ClientIn::InputEnded => {
                        Some((CloseCode::NORMAL, "both sides ended the stream"))
                    }
                    _ => (stage > Stage::Serving).then_some(shutdown),
                }
            }
            ClientIn::Open | ClientIn::InputEnded => {
                let is_due = stage >= Stage::Immediate || is_quiet && self.all_is_answered();
                is_due.then_some(shutdown)
            }
        }
    }
}

/// The result, for the log.
impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Counts bytes of the client as lost.
    pub(super) fn add_undelivered(&mut self, bytes: usize) {
        if bytes > 0 {
            self.closing().undelivered += bytes;
        }
    }

    fn undelivered(&self) -> usize {
        self.closing.as_ref().map_or(0, |closing| closing.undelivered)
    }

    /// The description of the end, by the states of the connection.
    pub(super) fn end(&self) -> End {
        let close = self.pending_close();
        let (code, why) = match (&self.client_in, close) {
            (_, Some(close)) if close.stage == CloseStage::Sent && !close.is_echo => {
                (close.code, close.reason.clone())
            }
            (ClientIn::Closed { code, .. }, _) => (*code, "the client closed".into()),
            (_, Some(close)) => (CloseCode::ABNORMAL, format!("{}; cut off", close.reason).into()),
            (ClientIn::Gone(how), None) => (CloseCode::ABNORMAL, how.description().into()),
            (_, None) => (CloseCode::ABNORMAL, "cut off".into()),
        };
        let why = match self.undelivered() {
            0 => why,
            lost => format!("{why}; {lost} bytes were not delivered to the upstream").into(),
        };
        End { code, why }
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
