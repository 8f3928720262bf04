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

use super::{Bridge, ClientIn, UpstreamIn, UpstreamOut, heartbeat::Beat, up::MAX_OWED};
use crate::drain::Stage;

/// How long after the client's end the upstream may go on, and how long a frame that
/// is begun may take to its end when a Close waits behind it.
const GRACE: Duration = Duration::from_secs(2);

/// How long the client may take to answer a Close.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

const RESET: &str = "the upstream reset the connection";
const IDLE: &str = "nothing was carried for too long (--idle-timeout)";
const SHUTDOWN: &str = "the server is shutting down";

/// What the client is told at the end.
#[derive(Clone, Debug)]
pub(super) struct Verdict {
    pub(super) code: CloseCode,
    pub(super) reason: Cow<'static, str>,
    /// It answers the client's own Close.
    echo: bool,
}

/// How a client went without a Close.
#[derive(Clone, Copy, Debug)]
pub(super) enum Departure {
    /// It ended the stream.
    WithoutClose,
    /// Its connection failed.
    Failed,
    /// It was given up.
    Unanswered,
}

impl Departure {
    fn words(self) -> &'static str {
        match self {
            Departure::WithoutClose => "the client went away without a Close",
            Departure::Failed => "the client's connection failed",
            Departure::Unanswered => "the client did not answer a Ping",
        }
    }
}

/// How a connection ended.
#[derive(Clone, Debug)]
pub struct End {
    /// The code of the Close that was sent or received;
    /// [`CloseCode::ABNORMAL`] if the connection ended without.
    pub code: CloseCode,
    /// Why, in words.
    pub why: Cow<'static, str>,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.why, self.code.0)
    }
}

impl<C, U> Bridge<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// The client's Close came: the upstream is told of the end of input, and what it
    /// still sends is delivered before the Close is answered.
    pub(super) fn client_closed(&mut self, code: CloseCode) {
        self.client_in = ClientIn::Closed(code);
        self.end_upstream();
        if !self.close_sent {
            self.until = Some(Instant::now() + GRACE);
        }
    }

    /// The client has sent its last message: the upstream is told of the end of input.
    pub(super) fn client_input_ended(&mut self) {
        self.input_ended = true;
        self.end_upstream();
    }

    /// The client goes on after its last message.
    pub(super) fn message_after_end(&mut self) {
        self.client_in = ClientIn::Violated;
        let reason = "a message after the end of input (half-close)";
        self.close_with(CloseCode::PROTOCOL_ERROR, reason);
    }

    /// The client broke the protocol: what it sent before is still delivered.
    pub(super) fn client_violated(&mut self, violation: Violation) {
        self.client_in = ClientIn::Violated;
        self.close_with(violation.close_code(), violation.to_string());
    }

    /// The client went without a Close: what it sent before is still delivered.
    pub(super) fn client_gone(&mut self, how: Departure) {
        self.client_in = ClientIn::Gone(how);
        self.to_client.clear();
        self.end_upstream();
        self.until = Some(Instant::now() + GRACE);
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
                } else if self.half_close && self.verdict.is_none() {
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
        self.upstream_out = UpstreamOut::Broken;
        self.to_upstream.clear();
        match error.kind() {
            io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe => {
                self.close_with(CloseCode::INTERNAL_ERROR, RESET);
            }
            io::ErrorKind::TimedOut => {
                self.close_with(CloseCode::INTERNAL_ERROR, "the upstream timed out");
            }
            // Of TLS only: what came may lack its end.
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
        // Nothing of what follows may pass for the rest of a frame that is begun.
        self.upstream_in = UpstreamIn::Ended;
        let code = match error {
            FramingError::InvalidUtf8 => CloseCode::INVALID_PAYLOAD,
            FramingError::NotAsked | FramingError::ReplyMissing => CloseCode::INTERNAL_ERROR,
        };
        self.close_with(code, error.to_string());
    }

    /// Decides on the Close, if none is decided on yet. A client that closed first
    /// gets its own code back (RFC 6455 section 5.5.1).
    fn close_with(&mut self, code: CloseCode, reason: impl Into<Cow<'static, str>>) {
        if self.verdict.is_some() {
            return;
        }
        self.verdict = Some(Box::new(match self.client_in {
            ClientIn::Closed(code) => Verdict { code, reason: "".into(), echo: true },
            _ => Verdict { code, reason: reason.into(), echo: false },
        }));
        self.until = Some(Instant::now() + GRACE);
        self.end_upstream();
    }

    fn end_upstream(&mut self) {
        if self.upstream_out == UpstreamOut::Open {
            self.upstream_out = UpstreamOut::Ending;
        }
    }

    /// The Close is on its way.
    pub(super) fn sent_close(&mut self) {
        self.close_sent = true;
        self.until = Some(Instant::now() + CLOSE_TIMEOUT);
    }

    /// What follows from both sides' states together; true if that changed them.
    /// `idle` says that all the client sent has been read.
    pub(super) fn settle(&mut self, stage: Stage, idle: bool) -> bool {
        if self.verdict.is_some() {
            return false;
        }
        let counted = self.framer.framing() == Framing::Message;
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
            ClientIn::Open if stage == Stage::Now => {
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
    pub(super) fn end(&self) -> Option<End> {
        let upstream_told = matches!(self.upstream_out, UpstreamOut::Shut | UpstreamOut::Broken);
        let upstream_done = self.upstream_in == UpstreamIn::Ended;
        if matches!(self.client_in, ClientIn::Gone(_)) {
            return (upstream_told && upstream_done || self.close_sent)
                .then(|| self.as_it_stands());
        }
        if self.close_sent
            && self.client_told
            && upstream_told
            && !self.behind_close
            && !matches!(self.client_in, ClientIn::Violated)
        {
            return Some(self.as_it_stands());
        }
        // A frame is begun that nothing will end: no Close can come any more.
        let cut = self.verdict.is_some() && !self.framer.at_frame_boundary();
        (cut && upstream_done && self.to_client.is_empty()).then(|| self.as_it_stands())
    }

    /// The timer fired: for an ending that takes too long, or for the heartbeat.
    pub(super) fn on_timer(&mut self, now: Instant) -> Option<End> {
        if self.until.is_none() {
            let carried = self.entry.carried_bytes();
            if self.idle.as_mut().is_some_and(|idle| idle.deadline(now, carried) <= now) {
                self.close_with(CloseCode::GOING_AWAY, IDLE);
                return None;
            }
            // As long as it is not read, for the upstream's sake, it cannot be heard;
            // nor asked, as long as the upstream does not finish a frame it began.
            let not_read = !self.to_upstream.is_empty() || self.framer.owed() >= MAX_OWED;
            let not_asked = !self.framer.at_frame_boundary() && self.to_client.is_empty();
            if not_read || not_asked {
                self.heartbeat.heard(now);
            }
            match self.heartbeat.on_timer(now, &self.options) {
                Beat::Wait => {}
                Beat::Ask => self.ping_due = true,
                Beat::GiveUp => {
                    self.client_gone(Departure::Unanswered);
                    return Some(self.as_it_stands());
                }
            }
            return None;
        }
        if self.until.is_some_and(|until| now < until) {
            return None;
        }
        if self.verdict.is_none() && matches!(self.client_in, ClientIn::Closed(_)) {
            self.close_with(CloseCode::NORMAL, "");
            return None;
        }
        // A client that is slow but takes what waits for it is not cut off.
        let patience_ends = self.heartbeat.patience_ends(&self.options);
        if !self.close_sent && !self.to_client.is_empty() && now < patience_ends {
            self.until = Some(patience_ends);
            return None;
        }
        Some(self.as_it_stands())
    }

    fn as_it_stands(&self) -> End {
        let (code, why) = match (&self.verdict, &self.client_in) {
            (Some(verdict), _) if self.close_sent && !verdict.echo => {
                (verdict.code, verdict.reason.clone())
            }
            (_, ClientIn::Closed(code)) => (*code, "the client closed".into()),
            (Some(verdict), _) => {
                (CloseCode::ABNORMAL, format!("{}; cut off", verdict.reason).into())
            }
            (None, ClientIn::Gone(how)) => (CloseCode::ABNORMAL, how.words().into()),
            (None, _) => (CloseCode::ABNORMAL, "cut off".into()),
        };
        End { code, why }
    }
}

/// Tells a client that has been upgraded why it gets no upstream, and sees it off.
/// A page learns of a failure in no other way: it cannot read the answer to a
/// handshake.
pub async fn turn_away<C>(mut client: C, code: CloseCode, reason: &str)
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
