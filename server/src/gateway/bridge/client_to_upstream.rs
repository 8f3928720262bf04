//! The direction from the client to the upstream: frames are decoded, and their payload is
//! written.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::{
    framing::{Framing, Newline},
    ws::{Event, OpCode},
};
use tokio::{io::ReadBuf, time::Instant};

use super::{
    Bridge,
    state::{ClientIn, ClientOut, Disconnect, UpstreamEnd, UpstreamIn, UpstreamOut},
};
use crate::{
    gateway::websocket::gather::Gather, net::stream::Transport, runtime::buffer_pool::HEADROOM,
};
use echogate_event_loop::may_continue;

/// The number of expected replies at which no more frames are read from the client (framing
/// `message`).
pub(super) const MAX_EXPECTED: usize = 1024;

/// The maximum number of frames decoded in one step. That takes some 0.1 ms, after which other
/// connections get their turn.
const MAX_FRAMES: usize = 2048;

/// Bytes of the client that are not decoded yet: bytes read together with the handshake, and bytes
/// behind [`MAX_FRAMES`] or [`MAX_EXPECTED`] frames of one read.
#[derive(Debug)]
pub(super) struct Undecoded {
    bytes: Vec<u8>,
    at: usize,
}

impl Undecoded {
    /// Keeps `bytes`, if there are any.
    pub(super) fn new(bytes: &[u8]) -> Option<Box<Undecoded>> {
        (!bytes.is_empty()).then(|| Box::new(Undecoded { bytes: bytes.to_vec(), at: 0 }))
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Relays from the client, until there is nothing more to read or the upstream is not writable.
    /// Returns true in the first case: all bytes that have arrived are read, unless the task's
    /// budget is used up.
    pub(super) fn poll_client_to_upstream(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        loop {
            if self.poll_upstream_out(cx).is_pending() && !self.close_is_decided() {
                return false;
            }
            let read_on = match self.client_in {
                ClientIn::Open | ClientIn::InputEnded | ClientIn::Violated => true,
                ClientIn::Closed { more, .. } => more,
                ClientIn::Gone(_) => false,
            };
            if !read_on || self.holds_client_back() {
                return false;
            }
            if let Some(undecoded) = self.undecoded.take() {
                let may_continue = may_continue(cx);
                self.take_undecoded(cx, undecoded, may_continue);
                if may_continue {
                    continue;
                }
                return false;
            }
            let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
            let read = Pin::new(&mut self.client).poll_read(cx, &mut buf);
            let len = buf.filled().len();
            match read {
                Poll::Pending => return true,
                Poll::Ready(Ok(())) if len > 0 => {
                    self.heartbeat.activity(now);
                    self.latency.client_read(&self.entry);
                    let bytes = &mut scratch[HEADROOM..HEADROOM + len];
                    let taken = self.take_frames(cx, bytes, 0);
                    if self.client_in.is_open() {
                        self.undecoded = Undecoded::new(&bytes[taken..]);
                    }
                }
                Poll::Ready(end) => match &mut self.client_in {
                    ClientIn::Closed { more, .. } => *more = false,
                    _ if end.is_ok() => self.client_ended(),
                    _ => self.client_lost(Disconnect::Failed),
                },
            }
        }
    }

    /// Whether the client is not read because earlier messages are not written to the upstream yet,
    /// or too many are not answered yet.
    pub(super) fn holds_client_back(&self) -> bool {
        let full = !self.to_upstream.is_empty() || self.framer.expected() >= MAX_EXPECTED;
        full && !self.close_is_decided()
    }

    /// Decodes undecoded bytes, if the task `may_continue`, and keeps the remaining ones.
    fn take_undecoded(
        &mut self,
        cx: &mut Context<'_>,
        mut undecoded: Box<Undecoded>,
        may_continue: bool,
    ) {
        if may_continue {
            undecoded.at = self.take_frames(cx, &mut undecoded.bytes, undecoded.at);
        }
        let is_left = undecoded.at < undecoded.bytes.len();
        self.undecoded = (is_left && self.client_in.is_open()).then_some(undecoded);
    }

    /// Writes the payload that waits for the upstream, and then the end of input if that is due.
    /// Pending while the upstream is not writable.
    fn poll_upstream_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done = match self.upstream_out {
            UpstreamOut::Shut | UpstreamOut::Broken => return Poll::Ready(()),
            UpstreamOut::Open => self.to_upstream.poll_flush(cx, &mut self.upstream),
            UpstreamOut::Ending => match self.to_upstream.poll_flush(cx, &mut self.upstream) {
                Poll::Ready(Ok(())) if self.upstream_end != UpstreamEnd::Reset => {
                    Pin::new(&mut self.upstream).poll_shutdown(cx)
                }
                other => other,
            },
        };
        match done {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if self.upstream_out == UpstreamOut::Open => {}
            Poll::Ready(Ok(())) => self.upstream_out = UpstreamOut::Shut,
            Poll::Ready(Err(_)) => self.upstream_broken(),
        }
        Poll::Ready(())
    }

    /// Decodes the client's bytes in `buf` from `at` on and sends their payload to the upstream in
    /// one write. Returns the position up to which bytes are decoded, which is not the end if there
    /// are too many frames or the client's input ends.
    fn take_frames(&mut self, cx: &mut Context<'_>, buf: &mut [u8], at: usize) -> usize {
        Gather::with(|payload| {
            let taken = self.decode(buf, at, payload);
            // After the Close there is no payload, while earlier payload may still wait.
            if !payload.is_empty()
                && payload.write(buf, cx, &mut self.to_upstream, &mut self.upstream).is_err()
            {
                self.upstream_broken();
            }
            self.latency.upstream_written(!payload.is_empty());
            taken
        })
    }

    fn decode(&mut self, buf: &mut [u8], mut at: usize, payload: &mut Gather) -> usize {
        let (mut bytes, mut messages, mut frames) = (0, 0, 0);
        while self.client_in.is_open()
            && frames < MAX_FRAMES
            && (self.framer.expected() < MAX_EXPECTED || self.close_is_decided())
        {
            frames += 1;
            let (range, ends_message) = match self.decoder.next(buf, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message { .. } | Event::Frame { .. }))
                    if matches!(self.client_in, ClientIn::InputEnded) =>
                {
                    self.message_after_end();
                    continue;
                }
                Ok(Some(Event::Message { opcode: OpCode::Binary, range }))
                    if self.half_close && range.is_empty() =>
                {
                    self.client_input_ended();
                    continue;
                }
                Ok(Some(Event::Payload { ends_message: true, .. }))
                    if std::mem::take(&mut self.only_empty_fragments) =>
                {
                    self.client_input_ended();
                    continue;
                }
                Ok(Some(Event::Message { opcode, range })) if self.forwards() => {
                    self.expect(opcode, true, range.len() as u64);
                    (range, true)
                }
                Ok(Some(Event::Payload { range, ends_message })) if self.forwards() => {
                    (range, ends_message)
                }
                Ok(Some(other)) => {
                    self.take_other(&other, at < buf.len());
                    continue;
                }
                Err(violation) => {
                    self.client_violated(violation);
                    continue;
                }
            };
            bytes += range.len();
            messages += u64::from(ends_message);
            if self.framer.framing() == Framing::Line {
                self.add_line(buf, range, ends_message, payload);
            } else {
                payload.add(buf, range);
            }
        }
        self.entry.received().add(bytes, messages);
        at
    }

    /// Adds a part of a message (framing `line`), and the line endings within the message and at
    /// its end as the upstream requires them ([`Newline`]).
    fn add_line(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        ends_message: bool,
        payload: &mut Gather,
    ) {
        let crlf = self.config.framing_options.newline == Newline::CrLf;
        let mut last = self.last_byte;
        let mut start = range.start;
        if crlf {
            for at in range.clone() {
                let before = last.replace(buf[at]);
                if buf[at] == b'\n' && before != Some(b'\r') {
                    payload.add(buf, start..at);
                    payload.byte(b'\r');
                    start = at;
                }
            }
        } else {
            last = buf[range.clone()].last().copied().or(last);
        }
        payload.add(buf, start..range.end);
        if ends_message && last != Some(b'\n') {
            if crlf && last != Some(b'\r') {
                payload.byte(b'\r');
            }
            payload.byte(b'\n');
        }
        self.last_byte = last.filter(|_| !ends_message);
    }

    /// Handles an event other than payload to be forwarded; `more` says whether bytes follow it.
    fn take_other(&mut self, event: &Event, more: bool) {
        match *event {
            Event::Frame { opcode, fin, len } if self.forwards() => {
                self.expect_fragment(opcode, fin, len);
            }
            Event::Ping => {
                let payload = self.decoder.take_control();
                let payload = payload.as_ref().map_or(&[][..], |control| control.as_bytes());
                if self.client_out != ClientOut::Failed {
                    self.pongs.get_or_insert_default().answer(payload);
                }
            }
            Event::Close(code) => self.client_closed(code, more),
            Event::Message { ref range, .. } | Event::Payload { ref range, .. } => {
                // The payload is discarded. Unless the upstream's connection has failed already, it
                // ends by a reset, which shows that the input is incomplete.
                if !range.is_empty() && self.upstream_out != UpstreamOut::Broken {
                    self.upstream_end = UpstreamEnd::Reset;
                }
                self.add_undelivered(range.len());
            }
            Event::Frame { .. } | Event::Pong => {}
        }
    }

    /// Expects a reply to a fragment. With half-close an empty binary message is the end of input,
    /// however it is fragmented (RFC 6455 section 5.4: fragments have no meaning). So no reply is
    /// expected to empty fragments at the beginning of a binary message.
    fn expect_fragment(&mut self, opcode: OpCode, fin: bool, len: u64) {
        match opcode {
            OpCode::Binary if self.half_close && len == 0 => self.only_empty_fragments = true,
            OpCode::Continuation if self.only_empty_fragments && len == 0 => {}
            OpCode::Continuation if std::mem::take(&mut self.only_empty_fragments) => {
                self.expect(OpCode::Binary, fin, len);
            }
            _ => self.expect(opcode, fin, len),
        }
    }

    /// Expects a reply to a frame, unless the upstream has ended its side (half-close) or nothing
    /// more is sent to the client.
    fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        let is_answered =
            self.upstream_in == UpstreamIn::Open && self.client_out != ClientOut::Failed;
        if is_answered && !self.close_is_decided() {
            self.framer.expect(opcode, fin, len);
        }
    }

    /// Whether payload is still forwarded. While the answer to a Close is awaited, it is forwarded
    /// only as far as the upstream is writable at once: nothing may delay the answer.
    fn forwards(&self) -> bool {
        self.upstream_out == UpstreamOut::Open
            && (!self.close_is_decided() || self.to_upstream.is_empty())
    }
}
