//! The direction from the stream to the WebSocket: bytes are read, framed (frame_stream.rs), and the
//! frames are written.

use std::{
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
};

use echogate_proto::{
    framing::{Framer, Framing, Rest},
    ws::{OpCode, frame::control_frame},
};
use tokio::{io::ReadBuf, time::Instant};

use super::{
    Bridge,
    frame_stream::{FRAGMENT, PARTIAL_REPLY_TIME},
    messages_to_stream::MAX_EXPECTED,
    state::{StreamIn, WsIn, WsOut},
};
use crate::{net::stream::Transport, runtime::buffer_pool::HEADROOM};

/// The maximum number of bytes of one read in framing `line`, where each byte may be a message.
/// Framing them takes at most some 1 ms.
const LINE_READ: usize = 4 * 1024;

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Relays from the stream, until there is nothing more to read or the WebSocket is not writable.
    /// Returns true if the WebSocket can be read again because the number of expected replies has fallen
    /// below its limit.
    pub(super) fn poll_stream_to_messages(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        let full = self.framer.expected() >= MAX_EXPECTED;
        while self.poll_step(cx, scratch, now).is_ready() {}
        full && self.framer.expected() < MAX_EXPECTED
    }

    /// Performs one step; pending if there is nothing more to do now.
    fn poll_step(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Instant) -> Poll<()> {
        if self.ws_out == WsOut::Failed {
            return self.poll_discard(cx, scratch);
        }
        let waiting = self.to_ws.len();
        let flushed = self.to_ws.poll_flush(cx, &mut self.ws);
        if self.to_ws.len() < waiting {
            self.ping_timer.activity(now);
        }
        match flushed {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => {
                self.ws_not_writable();
                return Poll::Ready(());
            }
            Poll::Ready(Ok(())) => self.ws.writes_a_frame(),
        }
        if let Some(reply) = self.partial_reply.as_mut().filter(|_| waiting > 0) {
            // The stream has not been read in the meantime.
            reply.until = reply.until.map(|_| now + PARTIAL_REPLY_TIME);
        }
        if self.ws_is_aborted() {
            return Poll::Pending;
        }
        if self.close_is_sent() {
            self.shut_ws(cx);
            return self.poll_discard(cx, scratch);
        }
        if let Some(frames) = self.next_control() {
            self.send_control(cx, frames);
            return Poll::Ready(());
        }
        match self.stream_in {
            _ if self.ws_in.is_gone() && self.replies_are_done() => {
                self.shut_ws(cx);
                self.poll_discard(cx, scratch)
            }
            StreamIn::Open => self.poll_stream(cx, scratch, now),
            StreamIn::Unframed => self.poll_discard(cx, scratch),
            StreamIn::Ended => Poll::Pending,
        }
    }

    /// The control frames to be sent before further data, if any.
    fn next_control(&mut self) -> Option<Vec<u8>> {
        if let Some(pongs) = self.pongs.take() {
            return Some(pongs.into_bytes());
        }
        if let Some(close) = self.take_due_close() {
            return Some(close);
        }
        std::mem::take(&mut self.ping_due).then(|| control_frame(OpCode::Ping, b""))
    }

    /// Performs one read from the stream and one write to the WebSocket.
    fn poll_stream(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], now: Instant) -> Poll<()> {
        if self.framer.replies_at_once() {
            self.frame(cx, &mut scratch[..HEADROOM], Rest::Wait, now);
            return Poll::Ready(());
        }
        let held = self.partial_reply.as_ref().map_or(0, |reply| reply.len());
        let start = HEADROOM + held;
        let room = scratch.len() - start;
        let room = match self.framer.framing() {
            Framing::Line => room.min(LINE_READ),
            Framing::Message => self.framer.whole_replies(room + held) - held,
            Framing::Bytes | Framing::Text | Framing::Length | Framing::Datagrams => room,
        };
        let mut buf = ReadBuf::new(&mut scratch[start..start + room]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        let len = buf.filled().len();
        let end = start + len;
        if let Some(reply) = &mut self.partial_reply {
            match read {
                Poll::Pending if reply.until.is_none_or(|until| now < until) => {
                    return Poll::Pending;
                }
                Poll::Ready(Ok(()))
                    if (1..room).contains(&len)
                        && held + len < FRAGMENT
                        && self.framer.needs_more(held, &scratch[start..end]) =>
                {
                    reply.append(&scratch[start..end], now);
                    self.latency.read(self.stream_to_ws(), &self.entry);
                    return Poll::Ready(());
                }
                _ => scratch[HEADROOM..start].copy_from_slice(&reply.bytes),
            }
        }
        match read {
            Poll::Pending if held == 0 => return Poll::Pending,
            Poll::Pending => {
                self.frame(cx, &mut scratch[..end], Rest::Send, now);
            }
            Poll::Ready(Ok(())) if len > 0 => {
                self.client_spoke_last = self.is_ws_client();
                self.latency.read(self.stream_to_ws(), &self.entry);
                // After a first fragment the rest of a reply is sent in fragments, too.
                let is_begun = self.framer.is_within_reply();
                let rest = if is_begun { Rest::Send } else { Rest::Wait };
                let mut sent = self.frame(cx, &mut scratch[..end], rest, now);
                let kept = self.partial_reply.as_ref().map_or(0, |reply| reply.len());
                if HEADROOM + kept == scratch.len() {
                    // The buffer has no room for the rest.
                    sent = self.frame(cx, scratch, Rest::Send, now);
                }
                self.latency.written(self.stream_to_ws(), sent, &self.entry);
            }
            Poll::Ready(Ok(())) if !self.stream.has_read_end() => {
                self.latency.read(self.stream_to_ws(), &self.entry);
                self.ws_sent().add(0, 1);
                self.ws_writes();
                self.send_header(cx, &Framer::datagram(0).head);
                self.latency.written(self.stream_to_ws(), true, &self.entry);
            }
            Poll::Ready(done) => {
                let rest = if done.is_ok() { Rest::Last } else { Rest::Send };
                self.frame(cx, &mut scratch[..end], rest, now);
                match done {
                    Ok(()) => self.stream_ended(cx),
                    Err(e) => self.stream_failed(&e),
                }
            }
        }
        Poll::Ready(())
    }

    /// Writes `bytes` to the WebSocket, and buffers those that are not accepted.
    pub(super) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let parts = &mut [IoSlice::new(bytes)];
        if self.ws_out != WsOut::Failed && self.to_ws.write(cx, &mut self.ws, parts).is_err() {
            self.ws_not_writable();
        }
    }

    /// Shuts down the write side of a WebSocket to which nothing more is to be sent, once its input
    /// has ended; in the client role, once its peer has ended the connection (RFC 6455 section 7.1.1).
    fn shut_ws(&mut self, cx: &mut Context<'_>) {
        let has_ended = match self.ws_in {
            WsIn::Open | WsIn::InputEnded => false,
            WsIn::Closed { more: true, .. } | WsIn::Violated => !self.is_ws_client(),
            WsIn::Closed { more: false, .. } | WsIn::Gone(_) => true,
        };
        if self.ws_out == WsOut::Open
            && has_ended
            && Pin::new(&mut self.ws).poll_shutdown(cx).is_ready()
        {
            self.ws_out = WsOut::Shut;
        }
    }

    /// Reads and discards the stream's bytes when nothing more is sent to the WebSocket. Closing a
    /// socket with unread bytes sends a reset, which could destroy the last bytes sent to the stream.
    fn poll_discard(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let held = self.partial_reply.take().map_or(0, |reply| reply.len());
        self.discard_from_stream(held);
        if self.stream_in == StreamIn::Ended {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        self.discard_from_stream(buf.filled().len());
        let read = ready!(read);
        if read.is_err() || buf.filled().is_empty() && self.stream.has_read_end() {
            self.stream_in = StreamIn::Ended;
        }
        if read.is_err() {
            self.stream_broken();
        }
        Poll::Ready(())
    }
}
