//! From the upstream to the client.

use std::{
    io::IoSlice,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    framing::{Framing, FramingError, Piece},
    ws::{
        OpCode,
        frame::{close_frame, control_frame},
    },
};
use tokio::{io::ReadBuf, time::Instant};

use super::{Bridge, ClientIn, UpstreamIn, gather::Gather, up::MAX_OWED};
use crate::{net::stream::Transport, runtime::buffer_pool::HEADROOM};

/// How long a part of a reply waits for more (framing `message`). Most replies that come in
/// parts do so without such a pause, and go out in one frame.
const PARTIAL_REPLY_TIME: Duration = Duration::from_millis(500);

/// Bytes read from the upstream at once in framing `line`, where each may be a message: they
/// take some 1 ms at the most.
const LINE_READ: usize = 4 * 1024;

/// A part of a reply, or of a line, that waits for the rest.
#[derive(Debug)]
pub(super) struct PartialReply {
    bytes: Vec<u8>,
    /// When it goes out as a fragment; a part of a line does not.
    pub(super) until: Option<Instant>,
}

impl PartialReply {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }
}

/// What becomes of a part of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Parts {
    /// It waits for the rest, from now on.
    Wait(Instant),
    /// It goes out as a fragment.
    Send,
    /// It is all that there is: the stream has ended.
    Finish,
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Forwards what the upstream sends, until it or the client makes us wait.
    /// True when the client may be read again that was not before, for what the
    /// upstream owed.
    pub(super) fn poll_down(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        let full = self.framer.owed() >= MAX_OWED;
        while self.poll_down_step(cx, scratch, now).is_ready() {}
        full && self.framer.owed() < MAX_OWED
    }

    /// One step; pending when there is nothing more to do now.
    fn poll_down_step(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> Poll<()> {
        if self.client_unwritable {
            return self.poll_discard(cx, scratch);
        }
        let waiting = self.to_client.len();
        let flushed = self.to_client.poll_flush(cx, &mut self.client);
        if self.to_client.len() < waiting {
            self.heartbeat.heard(now);
        }
        match flushed {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Err(_)) => {
                self.client_not_writable();
                return Poll::Ready(());
            }
            Poll::Ready(Ok(())) => {}
        }
        if let Some(reply) = self.partial_reply.as_mut().filter(|_| waiting > 0) {
            // The upstream has not been read meanwhile.
            reply.until = reply.until.map(|_| now + PARTIAL_REPLY_TIME);
        }
        if self.close_sent {
            self.tell_client(cx);
            return self.poll_discard(cx, scratch);
        }
        if let Some(frames) = self.next_control() {
            self.send(cx, &frames);
            return Poll::Ready(());
        }
        match self.upstream_in {
            _ if self.client_in.is_gone() && self.replies_are_done() => {
                self.tell_client(cx);
                self.poll_discard(cx, scratch)
            }
            UpstreamIn::Open => self.poll_upstream(cx, scratch, now),
            UpstreamIn::Unframed => self.poll_discard(cx, scratch),
            UpstreamIn::Ended => Poll::Pending,
        }
    }

    /// The control frames that go out before any more data, if there are some.
    fn next_control(&mut self) -> Option<Vec<u8>> {
        if let Some(pongs) = self.pongs.take() {
            return Some(pongs.into_bytes());
        }
        if let Some(close) = self.due_close() {
            let frame = close_frame(close.code, &close.reason);
            self.sent_close();
            return Some(frame);
        }
        std::mem::take(&mut self.ping_due).then(|| control_frame(OpCode::Ping, b""))
    }

    /// One read from the upstream and one write to the client.
    fn poll_upstream(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> Poll<()> {
        if self.framer.replies_at_once() {
            self.frame(cx, &mut scratch[..HEADROOM], Parts::Wait(now));
            return Poll::Ready(());
        }
        let held = self.partial_reply.as_ref().map_or(&[][..], |reply| &reply.bytes);
        let start = HEADROOM + held.len();
        let held_len = held.len();
        scratch[HEADROOM..start].copy_from_slice(held);
        let room = scratch.len() - start;
        let room = match self.framer.framing() {
            Framing::Line => room.min(LINE_READ),
            Framing::Message => self.framer.whole_replies(room + held_len) - held_len,
            Framing::Bytes | Framing::Text => room,
        };
        let mut buf = ReadBuf::new(&mut scratch[start..start + room]);
        let read = Pin::new(&mut self.upstream).poll_read(cx, &mut buf);
        let len = buf.filled().len();
        let end = start + len;
        match read {
            Poll::Pending => {
                let until = self.partial_reply.as_ref().and_then(|reply| reply.until);
                if until.is_none_or(|until| now < until) {
                    return Poll::Pending;
                }
                self.frame(cx, &mut scratch[..end], Parts::Send);
            }
            Poll::Ready(Ok(())) if len > 0 => {
                self.stopwatch.upstream_read();
                // The rest of a reply that goes out in fragments does so, too.
                let is_begun = self.framer.is_within_reply();
                let parts = if is_begun { Parts::Send } else { Parts::Wait(now) };
                let mut sent = self.frame(cx, &mut scratch[..end], parts);
                let kept = self.partial_reply.as_ref().map_or(0, |reply| reply.bytes.len());
                if HEADROOM + kept == scratch.len() {
                    // There is no room for more of it.
                    sent = self.frame(cx, scratch, Parts::Send);
                }
                if sent {
                    self.stopwatch.client_written(&self.entry);
                }
            }
            Poll::Ready(done) => {
                let parts = if done.is_ok() { Parts::Finish } else { Parts::Send };
                self.frame(cx, &mut scratch[..end], parts);
                match done {
                    Ok(()) => self.upstream_ended(cx),
                    Err(e) => self.upstream_failed(&e),
                }
            }
        }
        Poll::Ready(())
    }

    /// Frames the upstream's bytes in `scratch[HEADROOM..]` and sends them to the
    /// client in one write; whether there was anything to be sent. A part of a reply at their
    /// end is kept back or sent as `parts` says.
    fn frame(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], parts: Parts) -> bool {
        if self.framer.replaces_invalid()
            && let Some(mut text) = self.framer.replace_invalid(&scratch[HEADROOM..], HEADROOM)
        {
            return self.frame_valid(cx, &mut text, parts);
        }
        self.frame_valid(cx, scratch, parts)
    }

    /// Frames bytes in which invalid UTF-8 is replaced if it is to be.
    fn frame_valid(&mut self, cx: &mut Context<'_>, scratch: &mut [u8], parts: Parts) -> bool {
        let held = self.partial_reply.take();
        let piece = match self.next_piece(&scratch[HEADROOM..], parts) {
            Ok(Some(piece)) => piece,
            Ok(None) => {
                self.hold_back(&scratch[HEADROOM..], parts, held.map(|held| held.bytes));
                return false;
            }
            Err(e) => {
                self.framing_failed(e);
                return false;
            }
        };
        // A single frame goes out from where it lies, with its head put before it.
        let head = piece.head.as_bytes();
        let start = HEADROOM + piece.payload.start - head.len();
        scratch[start..start + head.len()].copy_from_slice(head);
        let end = HEADROOM + piece.payload.end;
        let mut at = HEADROOM + piece.taken;
        let (mut bytes, mut messages) = (piece.payload_len(), u64::from(piece.ends_message));
        if at == scratch.len() && !self.framer.replies_at_once() {
            self.entry.sent().add(bytes, messages);
            self.send(cx, &scratch[start..end]);
            return true;
        }
        Gather::with(|gather| {
            gather.add(scratch, start..end);
            let failed = loop {
                let piece = match self.next_piece(&scratch[at..], parts) {
                    Ok(Some(piece)) => piece,
                    Ok(None) => break None,
                    Err(e) => break Some(e),
                };
                gather.head(&piece.head);
                gather.add(scratch, at + piece.payload.start..at + piece.payload.end);
                at += piece.taken;
                bytes += piece.payload_len();
                messages += u64::from(piece.ends_message);
            };
            self.entry.sent().add(bytes, messages);
            let sent = gather.write(scratch, cx, &mut self.to_client, &mut self.client);
            if sent.is_err() {
                self.client_not_writable();
            }
            match failed {
                Some(e) => self.framing_failed(e),
                None => self.hold_back(&scratch[at..], parts, None),
            }
        });
        true
    }

    /// Keeps a part of a reply until the rest comes, in the memory of a part before if there
    /// is one.
    fn hold_back(&mut self, part: &[u8], parts: Parts, memory: Option<Vec<u8>>) {
        let Parts::Wait(now) = parts else { return };
        if !part.is_empty() {
            let mut bytes = memory.unwrap_or_default();
            bytes.clear();
            bytes.extend_from_slice(part);
            let is_reply = self.framer.framing() == Framing::Message;
            let until = is_reply.then(|| now + PARTIAL_REPLY_TIME);
            self.partial_reply = Some(PartialReply { bytes, until }.into());
        }
    }

    /// The next piece, unless a Close is to go in front of it.
    fn next_piece(&mut self, input: &[u8], parts: Parts) -> Result<Option<Piece>, FramingError> {
        if self.due_close().is_some() {
            return Ok(None);
        }
        match self.framer.next(input)? {
            None if parts == Parts::Send => self.framer.next_part(input),
            None if parts == Parts::Finish => self.framer.next_at_end(input),
            next => Ok(next),
        }
    }

    pub(super) fn send(&mut self, cx: &mut Context<'_>, bytes: &[u8]) {
        let parts = &mut [IoSlice::new(bytes)];
        if !self.client_unwritable && self.to_client.write(cx, &mut self.client, parts).is_err() {
            self.client_not_writable();
        }
    }

    /// Shuts our write side when nothing more is to be said and the client has said all.
    fn tell_client(&mut self, cx: &mut Context<'_>) {
        let said_all = !matches!(self.client_in, ClientIn::Open);
        if !self.client_told && said_all && Pin::new(&mut self.client).poll_shutdown(cx).is_ready()
        {
            self.client_told = true;
        }
    }

    /// When the client gets no more, the upstream's bytes are read and thrown away: left
    /// unread, they would turn the end of its connection into a reset, which could destroy
    /// what it was sent last.
    fn poll_discard(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<()> {
        self.partial_reply = None;
        if self.upstream_in == UpstreamIn::Ended {
            return Poll::Pending;
        }
        let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
        let read = ready!(Pin::new(&mut self.upstream).poll_read(cx, &mut buf));
        if read.is_err() || buf.filled().is_empty() {
            self.upstream_in = UpstreamIn::Ended;
        }
        if read.is_err() {
            self.upstream_broken();
        }
        Poll::Ready(())
    }
}
