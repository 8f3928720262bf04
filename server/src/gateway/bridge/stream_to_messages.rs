//! The direction from the stream to the WebSocket: bytes are framed, and the frames are written.

use std::{
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    framing::{Framer, Framing, FramingError, Outgoing, Rest},
    ws::{OpCode, frame::control_frame},
};
use tokio::{io::ReadBuf, time::Instant};

use super::{
    Bridge,
    messages_to_stream::MAX_EXPECTED,
    state::{StreamEnd, StreamIn, WsIn, WsOut},
};
use crate::{
    gateway::websocket::gather::Gather, net::stream::Transport, runtime::buffer_pool::HEADROOM,
};

/// The time for which a part of a reply or record waits for more bytes (framing `message` and
/// `length`). Most that arrive in parts have shorter pauses, and are sent in one frame.
const PARTIAL_REPLY_TIME: Duration = Duration::from_millis(500);

/// The size at which a part of a reply or record is sent at once, as a fragment. Keeping it would
/// cost two copies and memory for each of many connections, which the caches do not hold.
const FRAGMENT: usize = 16 * 1024;

/// The maximum number of bytes of one read in framing `line`, where each byte may be a message.
/// Framing them takes at most some 1 ms.
const LINE_READ: usize = 4 * 1024;

/// An incomplete reply, record or line.
#[derive(Debug)]
pub(super) struct PartialReply {
    bytes: Vec<u8>,
    /// The time at which the part is sent as a fragment; `None` for a line.
    pub(super) until: Option<Instant>,
}

impl PartialReply {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    fn append(&mut self, bytes: &[u8], now: Instant) {
        self.bytes.extend_from_slice(bytes);
        self.until = self.until.map(|_| now + PARTIAL_REPLY_TIME);
    }
}

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Relays from the stream, until there is nothing more to read or the WebSocket is not writable.
    /// Returns true if the WebSocket may be read again, which it was not because of the number of
    /// expected replies.
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
            self.heartbeat.activity(now);
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

    /// Frames the stream's bytes in `scratch[HEADROOM..]` and sends them to the WebSocket in one write;
    /// returns whether anything was sent. An incomplete reply at their end is kept or sent, as `rest`
    /// says.
    fn frame(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        rest: Rest,
        now: Instant,
    ) -> bool {
        if self.framer.replaces_invalid()
            && let Some(mut text) = self.framer.replace_invalid(&scratch[HEADROOM..], HEADROOM)
        {
            return self.frame_valid(cx, &mut text, rest, now);
        }
        self.frame_valid(cx, scratch, rest, now)
    }

    /// Frames bytes after the replacement of invalid UTF-8, as [`Bridge::frame`] does.
    fn frame_valid(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        rest: Rest,
        now: Instant,
    ) -> bool {
        let held = self.partial_reply.take();
        let mut piece = match self.next_piece(&scratch[HEADROOM..], rest) {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                let memory = held.map(|held| held.bytes).unwrap_or_default();
                self.hold_back(&scratch[HEADROOM..], rest, now, memory);
                return false;
            }
            Err(e) => {
                self.framing_failed(e);
                return false;
            }
        };
        if HEADROOM + piece.taken == scratch.len() && !self.framer.replies_at_once() {
            // A single frame is sent without a copy: its head is written in front of its payload.
            let (start, end) = (HEADROOM + piece.payload.start, HEADROOM + piece.payload.end);
            let start = self.put_head(&piece.head, scratch, start..end);
            self.ws_sent().add(piece.payload_len(), u64::from(piece.ends_message));
            self.ws_writes();
            self.send(cx, &scratch[start..end]);
            return start < end;
        }
        Gather::with(|gather| {
            let (mut at, mut bytes, mut messages) = (HEADROOM, 0, 0);
            let failed = loop {
                let payload = at + piece.payload.start..at + piece.payload.end;
                self.gather_frame(gather, &piece.head, scratch, payload);
                at += piece.taken;
                bytes += piece.payload_len();
                messages += u64::from(piece.ends_message);
                piece = match self.next_piece(&scratch[at..], rest) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break None,
                    Err(e) => break Some(e),
                };
            };
            self.ws_sent().add(bytes, messages);
            self.ws_writes();
            let sent = gather.write(scratch, cx, &mut self.to_ws, &mut self.ws);
            if sent.is_err() {
                self.ws_not_writable();
            }
            match failed {
                Some(e) => self.framing_failed(e),
                None => self.hold_back(&scratch[at..], rest, now, Vec::new()),
            }
        });
        true
    }

    /// Keeps an incomplete reply, record or line in `memory` until the rest arrives.
    fn hold_back(&mut self, part: &[u8], rest: Rest, now: Instant, mut memory: Vec<u8>) {
        if rest == Rest::Wait && !part.is_empty() {
            memory.clear();
            memory.extend_from_slice(part);
            let is_line = self.framer.framing() == Framing::Line;
            let until = (!is_line).then(|| now + PARTIAL_REPLY_TIME);
            self.partial_reply = Some(PartialReply { bytes: memory, until }.into());
        }
    }

    /// The next piece, unless a Close is to be sent first.
    #[inline]
    fn next_piece(&mut self, input: &[u8], rest: Rest) -> Result<Option<Outgoing>, FramingError> {
        if self.close_is_due() {
            return Ok(None);
        }
        let is_line = self.framer.framing() == Framing::Line;
        let is_fragment = input.len() >= FRAGMENT && !is_line;
        self.framer.next(input, if is_fragment { Rest::Send } else { rest })
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
    /// A client whose bytes are discarded gets a reset behind those last bytes.
    fn poll_discard(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        let is_partial = self.partial_reply.take().is_some();
        if self.stream_in == StreamIn::Ended {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
        let read = Pin::new(&mut self.stream).poll_read(cx, &mut buf);
        if self.is_ws_client() && (is_partial || !buf.filled().is_empty()) {
            self.stream_end = StreamEnd::Reset;
        }
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
