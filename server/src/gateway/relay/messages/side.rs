//! One of the two WebSocket connections of a relay.

use std::{
    borrow::Cow,
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    close::CloseCode,
    recording::Direction,
    ws::{
        Decoder, OpCode, Role,
        frame::{close_frame, control_frame},
    },
};
use tokio::time::Instant;

use super::{
    frames::MAX_HEAD,
    state::{Closing, Input, Output},
};
use crate::{
    gateway::{
        bridge::{BridgeConfig, CLOSE_TIMEOUT},
        masking_key,
        websocket::{ping_timer::PingTimer, pongs::Pongs, undecoded::Undecoded},
    },
    net::stream::Transport,
    runtime::{delivery::took_all, write_buffer::WriteBuffer},
};

/// The time for the upstream's replies to the client's last messages, which the relay cannot count:
/// a silence of this length means that nothing is owed.
pub(super) const REPLY_TIME: Duration = Duration::from_millis(200);

pub(super) struct Side<S> {
    pub(super) stream: S,
    /// The role of this process on the connection.
    pub(super) role: Role,
    pub(super) decoder: Decoder,
    pub(super) input: Input,
    pub(super) output: Output,
    /// The type of a message that the peer has begun and of which nothing is passed yet.
    pub(super) begun: Option<OpCode>,
    /// Bytes of the peer that are not decoded yet.
    pub(super) undecoded: Option<Box<Undecoded>>,
    /// Frames that are not written to the peer yet.
    pub(super) unwritten: WriteBuffer,
    pongs: Option<Box<Pongs>>,
    pub(super) ping_due: bool,
    pub(super) ping_timer: PingTimer,
    /// The state of the end, once it has begun.
    pub(super) closing: Option<Box<Closing>>,
}

impl<S: Transport> Side<S> {
    /// An open connection on which this process has the `role`; `read_ahead` was read together with
    /// the opening handshake.
    pub(super) fn new(
        stream: S,
        role: Role,
        read_ahead: &[u8],
        config: &BridgeConfig,
        now: Instant,
    ) -> Side<S> {
        Side {
            stream,
            role,
            decoder: Decoder::with_role(role, config.max_message),
            input: Input::Open,
            output: Output::Open,
            begun: None,
            undecoded: Undecoded::new(read_ahead, MAX_HEAD),
            unwritten: WriteBuffer::default(),
            pongs: None,
            ping_due: false,
            ping_timer: PingTimer::new(now),
            closing: None,
        }
    }

    /// The direction of the messages that come from the peer.
    #[inline]
    pub(super) fn direction(&self) -> Direction {
        match self.role {
            Role::Server => Direction::ToServer,
            Role::Client => Direction::ToClient,
        }
    }

    pub(super) fn states(&self) -> (Input, Output) {
        (self.input, self.output)
    }

    pub(super) fn closing(&mut self) -> &mut Closing {
        self.closing.get_or_insert_default()
    }

    /// Whether bytes may follow the peer's Close.
    pub(super) fn may_send_more(&self) -> bool {
        self.closing.as_ref().is_some_and(|closing| closing.more)
    }

    /// Whether frames of the other side are written to the peer.
    pub(super) fn passes(&self) -> bool {
        matches!(self.output, Output::Open | Output::Replies)
    }

    /// Whether the peer's input, as far as it was read, ends with a complete message.
    pub(super) fn is_at_boundary(&self) -> bool {
        self.decoder.at_message_boundary() && self.undecoded.is_none()
    }

    /// Answers a Ping of the peer with the payload of the decoder's control frame.
    pub(super) fn answer_ping(&mut self) {
        if let Some(ping) = self.decoder.take_control()
            && self.passes()
        {
            self.pongs.get_or_insert_default().answer(ping.as_bytes());
        }
    }

    /// Writes what waits for the peer, and then the end of the stream if that is due. Pending while
    /// bytes wait.
    pub(super) fn poll_output(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if matches!(self.output, Output::Shut | Output::Delivered | Output::Failed) {
            return Poll::Ready(());
        }
        let waiting = self.unwritten.len();
        let flushed = self.unwritten.poll_flush(cx, &mut self.stream);
        if self.unwritten.len() < waiting {
            self.ping_timer.activity(now);
            if self.output == Output::Closed {
                self.awaits_end(now);
            }
        }
        if ready!(flushed).is_err() {
            self.fail();
            return Poll::Ready(());
        }
        self.stream.writes_a_frame();
        self.send_control(cx);
        if !self.unwritten.is_empty() {
            return Poll::Pending;
        }
        // A server ends the TCP connection first (RFC 6455 section 7.1.1).
        let is_last = match self.role {
            Role::Server => self.input != Input::Open,
            Role::Client => self.input == Input::Ended,
        };
        if self.output == Output::Closed && is_last {
            // After an error there is nothing to shut.
            let _error = ready!(Pin::new(&mut self.stream).poll_shutdown(cx));
            self.output = Output::Shut;
            self.awaits_end(now);
        }
        Poll::Ready(())
    }

    /// Sends the Pongs and the Ping that are due, if nothing waits to be written before them.
    pub(super) fn send_control(&mut self, cx: &mut Context<'_>) {
        if (self.pongs.is_none() && !self.ping_due) || !self.unwritten.is_empty() || !self.passes()
        {
            return;
        }
        let mut frames = self.take_pongs();
        if std::mem::take(&mut self.ping_due) {
            frames.extend(control_frame(OpCode::Ping, b""));
        }
        self.send_frames(cx, frames);
    }

    fn take_pongs(&mut self) -> Vec<u8> {
        self.pongs.take().map_or_else(Vec::new, |pongs| pongs.into_bytes())
    }

    /// Writes control frames to the peer, and buffers what is not accepted.
    fn send_frames(&mut self, cx: &mut Context<'_>, frames: Vec<u8>) {
        let frames = masking_key::control_frames(frames, self.role);
        if self.unwritten.write(cx, &mut self.stream, &mut [IoSlice::new(&frames)]).is_err() {
            self.fail();
        }
    }

    /// Sends a Close after everything else. The peer's Close, or its end, is awaited.
    pub(super) fn send_close(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        code: CloseCode,
        reason: &str,
    ) {
        let mut frames = self.take_pongs();
        frames.extend(close_frame(code, reason));
        self.output = Output::Closed;
        self.awaits_end(now);
        self.send_frames(cx, frames);
    }

    /// Gives the peer [`CLOSE_TIMEOUT`] from `now` on for its next step towards the end.
    pub(super) fn awaits_end(&mut self, now: Instant) {
        let acknowledged = self.acknowledged();
        let closing = self.closing();
        (closing.deadline, closing.acknowledged) = (Some(now + CLOSE_TIMEOUT), acknowledged);
    }

    /// Whether bytes for the peer are in flight, of which some have arrived since its deadline was
    /// set.
    pub(super) fn is_moving(&self) -> bool {
        let before = self.closing.as_ref().map_or(0, |closing| closing.acknowledged);
        !self.took_all() && self.acknowledged() > before
    }

    /// The number of bytes that the peer's kernel has acknowledged, as far as that is known.
    fn acknowledged(&self) -> u64 {
        self.stream.in_flight().map_or(0, |in_flight| in_flight.acknowledged)
    }

    /// Waits for replies of the other side for [`REPLY_TIME`], and then sends the Close `due`.
    pub(super) fn await_replies(
        &mut self,
        now: Instant,
        due: Option<(CloseCode, Cow<'static, str>)>,
    ) {
        self.output = Output::Replies;
        let closing = self.closing();
        (closing.deadline, closing.due) = (Some(now + REPLY_TIME), due);
    }

    /// Ends the wait for replies: sends the Close, if one is due.
    pub(super) fn end_replies(&mut self, cx: &mut Context<'_>, now: Instant) {
        if let Some((code, reason)) = self.closing().due.take() {
            return self.send_close(cx, now, code, &reason);
        }
        self.output = Output::Closed;
        self.awaits_end(now);
    }

    /// Ends the connection as soon as everything written has arrived, by a reset if it `resets`.
    pub(super) fn end_after_delivery(&mut self, resets: bool) {
        self.output = Output::Last;
        self.closing().resets |= resets;
    }

    /// Stops writing to the peer, because a write has failed or the peer is lost. If bytes wait, the
    /// connection ends by a reset, so that the peer does not take the output for complete.
    pub(super) fn fail(&mut self) {
        self.output = Output::Failed;
        self.pongs = None;
        if !self.unwritten.is_empty() {
            let lost = self.unwritten.len();
            self.closing().undelivered += lost;
            self.unwritten.clear();
            self.stream.reset_on_drop();
        }
    }

    /// The number of bytes for the peer that are known to be lost.
    pub(super) fn undelivered(&self) -> u64 {
        self.closing.as_ref().map_or(0, |closing| closing.undelivered as u64)
    }

    /// Whether everything written has reached the peer's kernel, as far as that is known.
    pub(super) fn took_all(&self) -> bool {
        took_all(&self.unwritten, self.stream.in_flight())
    }
}
