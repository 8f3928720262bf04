//! From the client to the upstream.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::{
    framing::Framing,
    ws::{Event, OpCode},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::Instant,
};

use super::{Bridge, ClientIn, Departure, UpstreamIn, UpstreamOut, gather::Gather};
use crate::{event_loop::has_budget_remaining, scratch::HEADROOM};

/// Frames that an upstream may owe before no more are read from the client (framing
/// `message`). Those of one read may come on top.
pub(super) const MAX_OWED: usize = 1024;

impl<C, U> Bridge<C, U>
where
    C: AsyncRead + AsyncWrite + Unpin,
    U: AsyncRead + AsyncWrite + Unpin,
{
    /// Forwards what the client sends, until it or the upstream makes us wait.
    /// True when all that the client sent has been read.
    pub(super) fn poll_up(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        loop {
            if self.poll_upstream_out(cx).is_pending() && self.verdict.is_none() {
                return false;
            }
            let read_on = match self.client_in {
                ClientIn::Open | ClientIn::Violated => true,
                ClientIn::Closed(_) => self.behind_close,
                ClientIn::Gone(_) => false,
            };
            if !read_on || (self.framer.owed() >= MAX_OWED && self.verdict.is_none()) {
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
                    self.take_frames(cx, scratch, HEADROOM + len);
                }
                Poll::Ready(_) if self.behind_close => self.behind_close = false,
                Poll::Ready(Ok(())) => self.client_gone(Departure::WithoutClose),
                Poll::Ready(Err(_)) => self.client_gone(Departure::Failed),
            }
        }
    }

    /// Takes what was read with the handshake.
    pub(super) fn take_early(&mut self, cx: &mut Context<'_>, early: &[u8]) {
        let mut bytes = vec![0; HEADROOM];
        bytes.extend_from_slice(early);
        let end = bytes.len();
        self.take_frames(cx, &mut bytes, end);
    }

    /// Writes what waits for the upstream, and the end of input behind it if that
    /// has come. Pending as long as the upstream takes no more.
    fn poll_upstream_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done = match self.upstream_out {
            UpstreamOut::Shut | UpstreamOut::Broken => return Poll::Ready(()),
            UpstreamOut::Open => self.to_upstream.poll_flush(cx, &mut self.upstream),
            UpstreamOut::Ending => match self.to_upstream.poll_flush(cx, &mut self.upstream) {
                Poll::Ready(Ok(())) => Pin::new(&mut self.upstream).poll_shutdown(cx),
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
    fn upstream_broken(&mut self) {
        self.to_upstream.clear();
        self.upstream_out = UpstreamOut::Broken;
    }

    /// Decodes the client's bytes in `scratch[HEADROOM..end]` and sends their payload
    /// to the upstream in one write.
    fn take_frames(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], end: usize) {
        let buf = &mut scratch[..end];
        Gather::with(|payload| {
            self.decode(buf, payload);
            // After the verdict there is none, and an earlier part may still wait.
            if !payload.is_empty()
                && payload.write(buf, cx, &mut self.to_upstream, &mut self.upstream).is_err()
            {
                self.upstream_broken();
            }
            self.stopwatch.upstream_written(!payload.is_empty());
        });
    }

    fn decode(&mut self, buf: &mut [u8], payload: &mut Gather) {
        let mut at = HEADROOM;
        let (mut bytes, mut messages) = (0, 0);
        while matches!(self.client_in, ClientIn::Open) {
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
                self.last_byte = buf[range.clone()].last().copied().or(self.last_byte);
                payload.add(buf, range);
                if ends_message && self.last_byte.take() != Some(b'\n') {
                    payload.byte(b'\n');
                }
            } else {
                payload.add(buf, range);
            }
        }
        self.entry.received().add(bytes, messages);
    }

    /// Takes what is no payload to be forwarded; `more` says whether anything lies
    /// behind it.
    fn take_other(&mut self, event: &Event, more: bool) {
        match *event {
            Event::Frame { opcode, fin, len } if self.forwards() => {
                self.expect(opcode, fin, len);
            }
            Event::Ping => self.pong = self.decoder.take_control(),
            Event::Close(code) => {
                self.client_closed(code);
                self.behind_close = more;
            }
            Event::Message { .. } | Event::Frame { .. } | Event::Payload { .. } | Event::Pong => {}
        }
    }

    /// Notes that the upstream owes a frame, unless it has ended its side already
    /// (half-close).
    fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        if self.upstream_in == UpstreamIn::Open {
            self.framer.expect(opcode, fin, len);
        }
    }

    /// Whether payload still goes to the upstream. (After [`UpstreamOut::Ending`] is
    /// set by the very bytes that are decoded, what came before still goes.)
    fn forwards(&self) -> bool {
        self.upstream_out == UpstreamOut::Open
    }
}
