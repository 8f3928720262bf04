//! From the client to the upstream.

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

use super::{Bridge, ClientIn, Disconnect, UpstreamIn, UpstreamOut, gather::Gather};
use crate::{net::stream::Transport, runtime::buffer_pool::HEADROOM};
use echogate_event_loop::{goes_on, goes_on_in_runtime, has_budget_remaining};

/// Frames that an upstream may owe before no more are read from the client (framing
/// `message`).
pub(super) const MAX_OWED: usize = 1024;

/// Frames that are decoded in one go. It takes some 0.1 ms, after which others may have
/// their turn.
const MAX_FRAMES: usize = 2048;

/// Bytes that were read from the client and not decoded yet: what was read with the
/// handshake, and what lay behind [`MAX_FRAMES`] or [`MAX_OWED`] frames in one read.
#[derive(Debug)]
pub(super) struct Undecoded {
    bytes: Vec<u8>,
    at: usize,
}

impl Undecoded {
    /// `bytes` that are still to be decoded, if there are any.
    pub(super) fn new(bytes: &[u8]) -> Option<Box<Undecoded>> {
        (!bytes.is_empty()).then(|| Box::new(Undecoded { bytes: bytes.to_vec(), at: 0 }))
    }

    pub(super) fn len(&self) -> usize {
        self.bytes.len() - self.at
    }
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Forwards what the client sends, until it or the upstream makes us wait.
    /// True when all that the client sent has been read.
    pub(super) fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        loop {
            if self.poll_upstream_out(cx).is_pending() && !self.has_pending_close() {
                return false;
            }
            let read_on = match self.client_in {
                ClientIn::Open | ClientIn::Violated => true,
                ClientIn::Closed(_) => self.behind_close,
                ClientIn::Gone(_) => false,
            };
            if !read_on || self.holds_client_back() {
                return false;
            }
            if let Some(undecoded) = self.undecoded.take() {
                let goes_on = goes_on(cx);
                self.take_undecoded(cx, undecoded, goes_on);
                if goes_on {
                    continue;
                }
                return false;
            }
            if !goes_on_in_runtime(cx) {
                return false;
            }
            let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
            let read = Pin::new(&mut self.client).poll_read(cx, &mut buf);
            let len = buf.filled().len();
            match read {
                Poll::Pending => return has_budget_remaining(),
                Poll::Ready(Ok(())) if len > 0 => {
                    self.heartbeat.heard(now);
                    self.stopwatch.client_read(&self.entry);
                    let bytes = &mut scratch[HEADROOM..HEADROOM + len];
                    let taken = self.take_frames(cx, bytes, 0);
                    if matches!(self.client_in, ClientIn::Open) {
                        self.undecoded = Undecoded::new(&bytes[taken..]);
                    }
                }
                Poll::Ready(_) if self.behind_close => self.behind_close = false,
                Poll::Ready(Ok(())) => self.client_ended(),
                Poll::Ready(Err(_)) => self.client_lost(Disconnect::Failed),
            }
        }
    }

    /// Decodes what was left, if the task `goes_on`, and keeps what is left then.
    fn take_undecoded(
        &mut self,
        cx: &mut Context<'_>,
        mut undecoded: Box<Undecoded>,
        goes_on: bool,
    ) {
        if goes_on {
            undecoded.at = self.take_frames(cx, &mut undecoded.bytes, undecoded.at);
        }
        let is_left = undecoded.at < undecoded.bytes.len();
        self.undecoded = (is_left && matches!(self.client_in, ClientIn::Open)).then_some(undecoded);
    }

    /// Writes what waits for the upstream, and the end of input behind it if that
    /// has come. Pending as long as the upstream takes no more.
    fn poll_upstream_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done = match self.upstream_out {
            UpstreamOut::Shut | UpstreamOut::Broken => return Poll::Ready(()),
            UpstreamOut::Open => self.to_upstream.poll_flush(cx, &mut self.upstream),
            UpstreamOut::Ending => match self.to_upstream.poll_flush(cx, &mut self.upstream) {
                Poll::Ready(Ok(())) if !self.aborted => {
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

    /// The upstream takes no more. Why, its read side will tell.
    pub(super) fn upstream_broken(&mut self) {
        self.give_up(self.to_upstream.len());
        self.to_upstream.clear();
        self.upstream_out = UpstreamOut::Broken;
    }

    /// Decodes the client's bytes in `buf` from `at` on and sends their payload to the
    /// upstream in one write. Returns how far it came: not to the end if there are many
    /// frames, or if nothing more is to be decoded.
    fn take_frames(&mut self, cx: &mut Context<'_>, buf: &mut [u8], at: usize) -> usize {
        Gather::with(|payload| {
            let taken = self.decode(buf, at, payload);
            // After the Close there is none, and an earlier part may still wait.
            if !payload.is_empty()
                && payload.write(buf, cx, &mut self.to_upstream, &mut self.upstream).is_err()
            {
                self.upstream_broken();
            }
            self.stopwatch.upstream_written(!payload.is_empty());
            taken
        })
    }

    fn decode(&mut self, buf: &mut [u8], mut at: usize, payload: &mut Gather) -> usize {
        let (mut bytes, mut messages, mut frames) = (0, 0, 0);
        while matches!(self.client_in, ClientIn::Open)
            && frames < MAX_FRAMES
            && (self.framer.owed() < MAX_OWED || self.has_pending_close())
        {
            frames += 1;
            let (range, ends_message) = match self.decoder.next(buf, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message { .. } | Event::Frame { .. })) if self.input_ended => {
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

    /// Adds a part of a message (framing `line`), and the line ending that the upstream wants
    /// behind the message and within it ([`Newline`]).
    fn add_line(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        ends_message: bool,
        payload: &mut Gather,
    ) {
        let crlf = self.options.framing_options.newline == Newline::CrLf;
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

    /// Takes what is no payload to be forwarded; `more` says whether anything lies
    /// behind it.
    fn take_other(&mut self, event: &Event, more: bool) {
        match *event {
            Event::Frame { opcode, fin, len } if self.forwards() => {
                self.expect_fragment(opcode, fin, len);
            }
            Event::Ping => {
                let payload = self.decoder.take_control();
                let payload = payload.as_ref().map_or(&[][..], |control| control.as_bytes());
                if !self.client_unwritable {
                    self.pongs.get_or_insert_default().answer(payload);
                }
            }
            Event::Close(code) => {
                self.client_closed(code);
                self.behind_close = more;
            }
            Event::Message { ref range, .. } | Event::Payload { ref range, .. } => {
                // Thrown away: what the upstream got is not all. (If it takes no more it
                // knows that by itself.)
                self.aborted |= !range.is_empty() && self.upstream_out != UpstreamOut::Broken;
                self.give_up(range.len());
            }
            Event::Frame { .. } | Event::Pong => {}
        }
    }

    /// Notes that the upstream owes a fragment. With half-close an empty binary message is no
    /// message but the end of input, whatever fragments it comes in (RFC 6455 section 5.4:
    /// they have no meaning): empty ones at its beginning are owed nothing.
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

    /// Notes that the upstream owes a frame, unless it has ended its side already
    /// (half-close), or nothing more goes to the client.
    fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        let is_answered = self.upstream_in == UpstreamIn::Open && !self.client_unwritable;
        if is_answered && !self.has_pending_close() {
            self.framer.expect(opcode, fin, len);
        }
    }

    /// Whether payload still goes to the upstream. While a Close waits for its answer it
    /// does as far as the upstream takes it: nothing may hold the answer back.
    fn forwards(&self) -> bool {
        self.upstream_out == UpstreamOut::Open
            && (!self.has_pending_close() || self.to_upstream.is_empty())
    }
}
