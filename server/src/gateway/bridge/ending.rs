//! How a connection ends: what each side's end means for the other, and which Close
//! the client gets (RFC 6455 section 7).

use std::{borrow::Cow, fmt, io, task::Context, time::Duration};

use echogate_proto::{
    close::CloseCode,
    framing::{Framing, FramingError},
    ws::{Head, OpCode, Violation, frame::close_frame},
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    Bridge, ClientIn, UpstreamIn, UpstreamOut,
    delivery::{Delivery, STALL},
    heartbeat::Beat,
    up::MAX_OWED,
};
use crate::{net::stream::Transport, runtime::drain::Stage};

/// How long after the client's end the upstream may go on, and how long what is written to
/// the client may take before a Close that waits behind it is given up.
const GRACE: Duration = Duration::from_secs(2);

/// How long what a client sent before it broke the protocol may take to be answered, where
/// the framing does not tell whether an answer is owed.
const VIOLATION_GRACE: Duration = Duration::from_millis(200);

/// How long the client may take to answer a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

const RESET: &str = "the upstream reset the connection";
const IDLE: &str = "nothing was carried for too long (--idle-timeout)";
const SHUTDOWN: &str = "the server is shutting down";

/// An ending in progress.
#[derive(Debug, Default)]
pub(super) struct Ending {
    /// The Close that is to be sent to the client, or was.
    close: Option<PendingClose>,
    /// When the client's part of the ending is cut short.
    until: Option<Instant>,
    /// No more replies of the upstream are waited for.
    no_more_replies: bool,
    /// Bytes of the client that are known not to reach the upstream.
    undelivered: usize,
    /// How what the client sent reaches the upstream, when the client has ended.
    delivery: Option<Delivery>,
}

impl Ending {
    /// When something is to be done about it.
    pub(super) fn deadline(&self) -> Option<Instant> {
        let next_look = self.delivery.as_ref().map(Delivery::next_look);
        [self.until, next_look].into_iter().flatten().min()
    }

    /// Whether the client's part has a deadline.
    pub(super) fn cuts_the_client_short(&self) -> bool {
        self.until.is_some()
    }
}

/// A Close that is to be sent to the client.
#[derive(Clone, Debug)]
pub(super) struct PendingClose {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
    /// It answers the client's own Close.
    echo: bool,
    /// It waits for replies to what the client sent before.
    after_replies: bool,
}

/// How a client's connection ended without a Close.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Disconnect {
    /// The client ended the stream: a FIN.
    WithoutClose,
    /// The connection failed: a reset, a timeout, TLS without its end.
    Failed,
    /// The client did not answer a Ping and was given up.
    NoPong,
    /// The client did not answer a Close, or did not take what was to be sent before it.
    NoCloseReply,
}

impl Disconnect {
    fn words(self) -> &'static str {
        match self {
            Disconnect::WithoutClose => "the client went away without a Close",
            Disconnect::Failed => "the client's connection failed",
            Disconnect::NoPong => "the client did not answer a Ping",
            Disconnect::NoCloseReply => "cut off",
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub(crate) struct End {
    /// The code of the Close that was sent or received;
    /// [`CloseCode::ABNORMAL`] if the connection ended without.
    pub(crate) code: CloseCode,
    /// Why, in words.
    pub(crate) why: Cow<'static, str>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.code.0)
    }
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// The client's Close came: the upstream is told of the end of input, and what it
    /// still sends is delivered before the Close is answered.
    pub(super) fn client_closed(&mut self, code: CloseCode) {
        self.client_in = ClientIn::Closed(code);
        self.end_upstream();
        if !self.close_sent {
            self.ending().until = Some(Instant::now() + GRACE);
        }
    }

    /// The client has sent its last message: the upstream is told of the end of input.
    pub(super) fn client_input_ended(&mut self) {
        self.input_ended = true;
        self.end_upstream();
    }

    /// The client goes on after its last message.
    pub(super) fn message_after_end(&mut self) {
        let reason = "a message after the end of input (half-close)";
        self.client_violates(CloseCode::PROTOCOL_ERROR, reason.into());
    }

    /// The client broke the protocol.
    pub(super) fn client_violated(&mut self, violation: Violation) {
        self.client_violates(violation.close_code(), violation.to_string().into());
    }

    /// What the client sent before is still delivered and answered, and then it gets its
    /// Close.
    fn client_violates(&mut self, code: CloseCode, reason: Cow<'static, str>) {
        self.client_in = ClientIn::Violated;
        self.abort_upstream();
        self.close_with(code, reason);
        if !self.close_sent {
            let grace = if self.counts_replies() { GRACE } else { VIOLATION_GRACE };
            let ending = self.ending();
            ending.until = Some(Instant::now() + grace);
            if let Some(close) = &mut ending.close {
                close.after_replies = true;
            }
        }
    }

    /// The client ended the stream without a Close. What it sent before is still delivered,
    /// and it gets the replies to that: it may have ended its own side only.
    pub(super) fn client_ended(&mut self) {
        self.client_in = ClientIn::Gone(Disconnect::WithoutClose);
        self.abort_upstream();
        if !self.close_sent {
            let grace = if self.counts_replies() { STALL } else { GRACE };
            self.ending().until = Some(Instant::now() + grace);
        }
    }

    /// Nothing more comes from the client, and it takes nothing. What it sent before is
    /// still delivered.
    pub(super) fn client_lost(&mut self, how: Disconnect) {
        self.client_not_writable();
        if !matches!(self.client_in, ClientIn::Closed(_)) {
            self.client_in = ClientIn::Gone(how);
            self.abort_upstream();
        }
        self.ending().until = None;
    }

    /// Nothing can be written to the client any more. What it sent before may still lie in
    /// the kernel, and is read to its end.
    pub(super) fn client_not_writable(&mut self) {
        self.client_unwritable = true;
        self.discard_to_client();
        self.framer.forget_owed();
        self.pongs = None;
    }

    /// Throws away what waits for the client, whose connection then must not end as if it had
    /// got everything.
    fn discard_to_client(&mut self) {
        if !self.to_client.is_empty() {
            self.to_client.clear();
            self.client.reset_on_drop();
        }
    }

    /// The upstream ended its side: so does the client's, when all is delivered.
    pub(super) fn upstream_ended(&mut self, cx: &mut Context<'_>) {
        self.upstream_in = UpstreamIn::Ended;
        match self.framer.finish() {
            Err(e) => self.framing_failed(e),
            Ok(last) => {
                if let Some(piece) = last {
                    self.entry.sent().add(piece.payload_len(), 1);
                    self.send(cx, piece.head.as_bytes());
                }
                if self.upstream_out == UpstreamOut::Broken {
                    self.close_with(CloseCode::INTERNAL_ERROR, RESET);
                } else if self.half_close && matches!(self.client_in, ClientIn::Open) {
                    // The client may still send; when it has ended too, settle() closes.
                    self.send(cx, Head::new(OpCode::Binary, true, 0).as_bytes());
                } else if self.watch.stage() > Stage::Serving {
                    self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
                } else {
                    self.close_with(CloseCode::NORMAL, "the upstream ended the stream");
                }
            }
        }
    }

    /// The upstream failed.
    pub(super) fn upstream_failed(&mut self, error: &io::Error) {
        self.upstream_in = UpstreamIn::Ended;
        self.upstream_broken();
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.close_with(CloseCode::INTERNAL_ERROR, RESET);
            }
            io::ErrorKind::TimedOut => {
                self.close_with(CloseCode::INTERNAL_ERROR, "the upstream timed out");
            }
            // TLS without close_notify: the stream may be truncated.
            io::ErrorKind::UnexpectedEof => {
                self.close_with(CloseCode::INTERNAL_ERROR, format!("the upstream was {error}"));
            }
            _ => {
                self.close_with(CloseCode::INTERNAL_ERROR, format!("the upstream failed: {error}"));
            }
        }
    }

    /// The upstream sent what the route's framing cannot carry.
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

    /// Decides on the Close, if none is decided on yet and there is a client to be sent it. A
    /// client that closed first gets its own code back (RFC 6455 section 5.5.1).
    fn close_with(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.has_pending_close() || self.client_in.is_gone() {
            return;
        }
        let (code, reason, echo) = match self.client_in {
            ClientIn::Closed(code) if self.undelivered() == 0 => (code, "".into(), true),
            _ => (code, reason.into(), false),
        };
        let ending = self.ending();
        ending.close = Some(PendingClose { code, reason, echo, after_replies: false });
        ending.until = Some(Instant::now() + GRACE);
    }

    /// Notes that so many bytes of the client do not reach the upstream.
    pub(super) fn give_up(&mut self, bytes: usize) {
        if bytes > 0 {
            self.ending().undelivered += bytes;
        }
    }

    fn undelivered(&self) -> usize {
        self.ending.as_ref().map_or(0, |ending| ending.undelivered)
    }

    /// The upstream gets what waits, and then the end of input.
    fn end_upstream(&mut self) {
        if self.upstream_out == UpstreamOut::Open {
            self.upstream_out = UpstreamOut::Ending;
        }
    }

    /// The upstream gets what waits, and then a reset, unless it has got the end of input.
    fn abort_upstream(&mut self) {
        self.aborted |= !self.input_ended;
        self.end_upstream();
    }

    fn ending(&mut self) -> &mut Ending {
        self.ending.get_or_insert_default()
    }

    fn pending_close(&self) -> Option<&PendingClose> {
        self.ending.as_ref()?.close.as_ref()
    }

    /// Whether it is decided which Close the client gets.
    pub(super) fn has_pending_close(&self) -> bool {
        self.pending_close().is_some()
    }

    /// The Close that is to be sent now, if there is one.
    pub(super) fn due_close(&self) -> Option<&PendingClose> {
        let close = self.pending_close()?;
        (!close.after_replies || self.replies_are_done()).then_some(close)
    }

    /// The Close is on its way.
    pub(super) fn sent_close(&mut self) {
        self.close_sent = true;
        self.ending().until = Some(Instant::now() + CLOSE_TIMEOUT);
    }

    /// Whether the framing tells which replies the upstream owes.
    fn counts_replies(&self) -> bool {
        self.framer.framing() == Framing::Message
    }

    /// Whether the upstream is known to have answered everything that the client sent, or has
    /// had its time to.
    pub(super) fn replies_are_done(&self) -> bool {
        let all_answered =
            self.counts_replies() && self.framer.owed() == 0 && self.to_upstream.is_empty();
        let no_more = self.ending.as_ref().is_some_and(|ending| ending.no_more_replies);
        all_answered || no_more || self.upstream_in != UpstreamIn::Open
    }

    /// What follows from both sides' states together; true if that changed them.
    /// `idle` says that all the client sent has been read.
    pub(super) fn settle(&mut self, stage: Stage, idle: bool) -> bool {
        if self.has_pending_close() {
            return false;
        }
        let counted = self.counts_replies();
        let nothing_owed = counted && self.framer.owed() == 0 && self.to_upstream.is_empty();
        match self.client_in {
            ClientIn::Closed(_) if nothing_owed => self.close_with(CloseCode::NORMAL, ""),
            ClientIn::Open if self.half_close && self.upstream_in == UpstreamIn::Ended => {
                if self.upstream_out == UpstreamOut::Broken {
                    self.close_with(CloseCode::INTERNAL_ERROR, RESET);
                } else if self.input_ended {
                    self.close_with(CloseCode::NORMAL, "both sides ended the stream");
                } else if stage > Stage::Serving {
                    self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
                } else {
                    return false;
                }
            }
            ClientIn::Open if stage >= Stage::Now => {
                self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
            }
            ClientIn::Open
                if stage == Stage::WhenQuiet && idle && self.decoder.at_message_boundary() =>
            {
                if nothing_owed {
                    self.close_with(CloseCode::GOING_AWAY, SHUTDOWN);
                } else if !counted && self.upstream_out == UpstreamOut::Open {
                    // Only the upstream knows whether it has more to say.
                    self.end_upstream();
                } else {
                    return false;
                }
            }
            _ => return false,
        }
        true
    }

    /// The end, when everything that belongs to it is done.
    pub(super) fn end(&mut self, now: Instant) -> Option<End> {
        if self.client_in.is_gone() && !self.client_unwritable && self.client.has_failed() {
            // The client had ended its side only, and now its connection has failed.
            self.client_not_writable();
        }
        let client_done = self.client_is_done();
        if !client_done && !self.client_has_left_unread() {
            if let Some(ending) = &mut self.ending {
                ending.delivery = None;
            }
            return None;
        }
        if client_done && self.upstream_is_done(now) {
            return Some(self.as_it_stands());
        }
        // Unread bytes of a client that has ended its side may end in a Close.
        let may_be_clean = match self.client_in {
            ClientIn::Closed(_) => true,
            ClientIn::Open => !self.client_unwritable && !self.client.has_failed(),
            ClientIn::Violated | ClientIn::Gone(_) => false,
        };
        let stall = if may_be_clean { STALL } else { STALL.min(self.options.ping_timeout) };
        let owed = if client_done { 0 } else { self.framer.owed() };
        let (unwritten, in_flight) = (self.to_upstream.len(), self.upstream.in_flight());
        let new = || Delivery::new(now, stall);
        let delivery = self.ending().delivery.get_or_insert_with(new);
        delivery.set_stall(now, stall);
        delivery.look(now, unwritten, owed, in_flight);
        if !delivery.has_stalled(now) {
            return None;
        }
        self.aborted = true;
        if !client_done {
            let failed = self.client_unwritable || self.client.has_failed();
            let how = if failed { Disconnect::Failed } else { Disconnect::WithoutClose };
            self.client_lost(how);
        }
        Some(self.given_up())
    }

    /// Whether nothing more is read from the client, nor written to it.
    fn client_is_done(&self) -> bool {
        match self.client_in {
            ClientIn::Gone(_) => self.client_unwritable || self.client_told,
            ClientIn::Closed(_) => self.client_unwritable || self.client_told && !self.behind_close,
            ClientIn::Open | ClientIn::Violated => false,
        }
    }

    /// Whether the client is known to have ended although it is not read, for the upstream's
    /// sake: what it sent is owed to the upstream only as long as that takes any of it.
    pub(super) fn client_has_left_unread(&self) -> bool {
        self.holds_client_back() && (self.client_unwritable || self.client.has_ended())
    }

    /// Whether the client is not read because the upstream has to take or answer what came
    /// before.
    pub(super) fn holds_client_back(&self) -> bool {
        let full = !self.to_upstream.is_empty() || self.framer.owed() >= MAX_OWED;
        full && !self.has_pending_close()
    }

    /// Whether everything that the client sent has been delivered, as far as that can be.
    fn upstream_is_done(&self, now: Instant) -> bool {
        match self.upstream_out {
            UpstreamOut::Open | UpstreamOut::Ending => false,
            UpstreamOut::Broken => true,
            UpstreamOut::Shut if self.upstream_in == UpstreamIn::Ended && !self.aborted => true,
            // A close of the socket would answer what the upstream still sends with a reset,
            // which may overtake what is in flight; and a reset is due if this is aborted.
            UpstreamOut::Shut if self.upstream.has_failed() => true,
            UpstreamOut::Shut => match self.upstream.in_flight() {
                Some(in_flight) => in_flight.is_nothing(),
                None => self.delivery().is_some_and(|delivery| delivery.has_waited_blindly(now)),
            },
        }
    }

    fn delivery(&self) -> Option<&Delivery> {
        self.ending.as_ref()?.delivery.as_ref()
    }

    /// The timer fired: for an ending that takes too long, for the heartbeat, or because the
    /// connection is idle.
    pub(super) fn on_timer(&mut self, now: Instant) {
        if self.client_is_done() {
            self.ending().until = None;
            return;
        }
        if let Some(until) = self.ending.as_ref().and_then(|ending| ending.until) {
            if until <= now {
                self.overdue(now);
            }
            return;
        }
        if self.delivery().is_some() && !self.client_has_left_unread() {
            return;
        }
        let running_since = self.watch.running_since(now);
        if self.is_idle(now, running_since) {
            return self.idle_for_too_long();
        }
        self.heartbeat.running_since(running_since);
        match self.heartbeat.on_timer(now, &self.options) {
            Beat::Wait => {}
            Beat::Ask => self.ping_due = true,
            // A client that is not read cannot be heard. That its kernel took the Ping has to do;
            // if not, what it sent before is still owed to the upstream.
            Beat::GiveUp if self.is_not_read() => {
                self.heartbeat.heard(now);
                if !self.client_took_all() {
                    self.client_not_writable();
                }
            }
            Beat::GiveUp => self.client_lost(Disconnect::NoPong),
        }
    }

    fn is_not_read(&self) -> bool {
        self.holds_client_back() || self.undecoded.is_some()
    }

    /// Whether the client's kernel has acknowledged all that was sent, as far as that is told.
    fn client_took_all(&self) -> bool {
        self.to_client.is_empty()
            && self.client.in_flight().is_none_or(|in_flight| in_flight.is_nothing())
    }

    /// Whether the connection has been idle for too long.
    fn is_idle(&mut self, now: Instant, running_since: Instant) -> bool {
        let delivered = self.delivered_bytes();
        let Some(idle) = &mut self.idle else { return false };
        if now < idle.deadline(now, delivered) {
            return false;
        }
        let in_flight = [self.client.in_flight(), self.upstream.in_flight()];
        let moving = in_flight.into_iter().flatten().filter(|side| !side.is_nothing());
        let acknowledged = moving.map(|side| side.acknowledged).reduce(|sum, more| sum + more);
        idle.is_over(now, running_since, acknowledged)
    }

    fn idle_for_too_long(&mut self) {
        if !self.to_upstream.is_empty() {
            self.aborted = true;
        }
        if !self.to_client.is_empty() {
            // The client takes nothing, and would not take a Close.
            return self.client_lost(Disconnect::NoCloseReply);
        }
        self.close_with(CloseCode::GOING_AWAY, IDLE);
    }

    /// The client's part of the ending takes too long.
    fn overdue(&mut self, now: Instant) {
        if self.close_sent {
            return self.client_lost(Disconnect::NoCloseReply);
        }
        if matches!(self.client_in, ClientIn::Closed(_)) && !self.has_pending_close() {
            return self.close_with(CloseCode::NORMAL, "");
        }
        let waits_for_replies = self.client_in.is_gone()
            || self.pending_close().is_some_and(|close| close.after_replies);
        let ending = self.ending();
        if waits_for_replies && !std::mem::replace(&mut ending.no_more_replies, true) {
            ending.until = Some(now + GRACE);
            return;
        }
        // A client that is slow but takes what waits for it is not cut off.
        let patience_ends = self.heartbeat.patience_ends(&self.options);
        if !self.to_client.is_empty() && now < patience_ends {
            self.ending().until = Some(patience_ends);
        } else if let ClientIn::Gone(how) = self.client_in {
            self.client_lost(how);
        } else {
            self.client_lost(Disconnect::NoCloseReply);
        }
    }

    /// Ends at once, because the time for the server's end is over.
    pub(super) fn cut(&mut self) -> End {
        if !self.upstream_is_done(Instant::now()) {
            self.aborted = true;
        }
        self.discard_to_client();
        End { code: CloseCode::ABNORMAL, why: "cut off by the server's end".into() }
    }

    fn as_it_stands(&self) -> End {
        let (code, why) = match (self.pending_close(), &self.client_in) {
            (Some(close), _) if self.close_sent && !close.echo => {
                (close.code, close.reason.clone())
            }
            (_, ClientIn::Closed(code)) => (*code, "the client closed".into()),
            (Some(close), _) => (CloseCode::ABNORMAL, format!("{}; cut off", close.reason).into()),
            (None, ClientIn::Gone(how)) => (CloseCode::ABNORMAL, how.words().into()),
            (None, _) => (CloseCode::ABNORMAL, "cut off".into()),
        };
        let why = match self.undelivered() {
            0 => why,
            lost => format!("{why}; {lost} bytes were not delivered to the upstream").into(),
        };
        End { code, why }
    }

    /// The end of a connection whose upstream took nothing for too long.
    fn given_up(&mut self) -> End {
        let unsent = self.upstream.in_flight().map_or(0, |in_flight| in_flight.unsent as usize);
        let undecoded = self.undecoded.as_ref().map_or(0, |undecoded| undecoded.len());
        self.give_up(self.to_upstream.len() + unsent + undecoded);
        self.as_it_stands()
    }
}

/// Tells a client that has been upgraded why it gets no upstream, and sees it off.
/// A page learns of a failure in no other way: it cannot read the answer to a
/// handshake.
pub(crate) async fn turn_away<C>(mut client: C, code: CloseCode, reason: &str)
where
    C: AsyncRead + AsyncWrite + Unpin,
{
    let goodbye = async {
        client.write_all(&close_frame(code, reason)).await?;
        client.shutdown().await?;
        let mut sink = [0; 1024];
        while client.read(&mut sink).await? > 0 {}
        io::Result::Ok(())
    };
    // A client that is gone already, or never answers, needs no more.
    timeout(CLOSE_TIMEOUT, goodbye).await.ok();
}
