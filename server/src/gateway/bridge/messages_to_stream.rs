//! The direction from the WebSocket to the stream: frames are decoded, and their payload is written
//! (payload.rs).

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::{
    framing::Framing,
    ws::{Event, OpCode},
};
use tokio::{io::ReadBuf, time::Instant};

use super::{
    Bridge,
    payload::Part,
    state::{Disconnect, StreamEnd, StreamIn, StreamOut, WsIn, WsOut},
};
use crate::{
    gateway::websocket::{
        gather::Gather,
        undecoded::{MAX_FRAMES, Undecoded},
    },
    net::stream::Transport,
    runtime::buffer_pool::HEADROOM,
};
use echogate_event_loop::{has_turn, may_continue};

/// The number of expected replies at which no more frames are read from the WebSocket (framing
/// `message`).
pub(super) const MAX_EXPECTED: usize = 1024;

/// [`MAX_FRAMES`] for datagrams, each of which takes a system call.
const MAX_DATAGRAMS: usize = 64;

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Relays from the WebSocket, until there is nothing more to read or the stream is not writable.
    /// Returns true in the first case, in which all bytes that have arrived are read.
    pub(super) fn poll_messages_to_stream(
        &mut self,
        cx: &mut Context<'_>,
        scratch: &mut [u8],
        now: Instant,
    ) -> bool {
        loop {
            if self.poll_stream_out(cx).is_pending() && self.waits_for_stream() {
                return false;
            }
            let read_on = match self.ws_in {
                WsIn::Open | WsIn::InputEnded | WsIn::Violated => true,
                WsIn::Closed { more, .. } => more,
                WsIn::Gone(_) => false,
            };
            if !read_on || self.holds_ws_back() {
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
            self.ws.reads_at(|| self.decoder.scanner());
            let mut buf = ReadBuf::new(&mut scratch[HEADROOM..]);
            let read = Pin::new(&mut self.ws).poll_read(cx, &mut buf);
            let len = buf.filled().len();
            match read {
                // Without a turn nothing is read, whatever has arrived.
                Poll::Pending => return has_turn(),
                Poll::Ready(Ok(())) if len > 0 => {
                    self.ping_timer.activity(now);
                    self.latency.read(self.ws_to_stream(), &self.entry);
                    let bytes = &mut scratch[HEADROOM..HEADROOM + len];
                    let taken = self.take_frames(cx, bytes, 0);
                    if self.ws_in.is_open() {
                        self.undecoded = Undecoded::new(&bytes[taken..], 0);
                    }
                }
                Poll::Ready(end) => match &mut self.ws_in {
                    WsIn::Closed { more, .. } => *more = false,
                    _ if end.is_ok() => self.ws_ended(),
                    _ => self.ws_lost(Disconnect::Failed),
                },
            }
        }
    }

    /// Whether the WebSocket is not read because earlier messages are not written to the stream yet,
    /// or too many are not answered yet.
    pub(super) fn holds_ws_back(&self) -> bool {
        let full = !self.to_stream.is_empty() || self.framer.expected() >= MAX_EXPECTED;
        full && self.waits_for_stream()
    }

    /// Whether messages wait until the stream is writable. While a client's answer to a Close is
    /// awaited they do not: nothing may delay the answer. An upstream's answer comes after what it
    /// owes to its client.
    fn waits_for_stream(&self) -> bool {
        if self.is_ws_client() { self.ws_in.is_open() } else { !self.close_is_decided() }
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
        let is_left = undecoded.len() > 0;
        self.undecoded = (is_left && self.ws_in.is_open()).then_some(undecoded);
    }

    /// Writes the payload that waits for the stream, and then the end of input if that is due.
    /// Pending while the stream is not writable.
    pub(super) fn poll_stream_out(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let done = match self.stream_out {
            StreamOut::Shut | StreamOut::Broken => return Poll::Ready(()),
            StreamOut::Open => self.to_stream.poll_flush(cx, &mut self.stream),
            StreamOut::Ending => match self.to_stream.poll_flush(cx, &mut self.stream) {
                Poll::Ready(Ok(())) if self.stream_end != StreamEnd::Reset => {
                    Pin::new(&mut self.stream).poll_shutdown(cx)
                }
                other => other,
            },
        };
        match done {
            Poll::Pending => return Poll::Pending,
            Poll::Ready(Ok(())) if self.stream_out == StreamOut::Open => {}
            Poll::Ready(Ok(())) => self.stream_out = StreamOut::Shut,
            Poll::Ready(Err(_)) => self.stream_broken(),
        }
        Poll::Ready(())
    }

    /// Decodes the bytes of the WebSocket in `buf` from `at` on and sends their payload to the stream
    /// in one write. Returns the position up to which bytes are decoded, which is not the end if there
    /// are too many frames or the input ends.
    fn take_frames(&mut self, cx: &mut Context<'_>, buf: &mut [u8], at: usize) -> usize {
        Gather::with(|payload| {
            let (taken, bytes) = self.decode(cx, buf, at, payload);
            // After the Close there is no payload, while earlier payload may still wait.
            if !payload.is_empty() {
                self.latency.writes(self.ws_to_stream());
                if payload.write(buf, cx, &mut self.to_stream, &mut self.stream).is_err() {
                    self.stream_broken();
                }
            }
            let any = bytes > 0 || !payload.is_empty();
            if any {
                self.client_spoke_last = !self.is_ws_client();
            }
            self.latency.written(self.ws_to_stream(), any, &self.entry);
            taken
        })
    }

    /// Decodes frames and adds their payload to `payload`, or sends it if it is a datagram. Returns
    /// the position up to which bytes are decoded, and the number of payload bytes.
    fn decode(
        &mut self,
        cx: &mut Context<'_>,
        buf: &mut [u8],
        mut at: usize,
        payload: &mut Gather,
    ) -> (usize, usize) {
        let (mut bytes, mut messages, mut frames) = (0, 0, 0);
        let is_datagrams = self.framer.framing() == Framing::Datagrams;
        let max_frames = if is_datagrams { MAX_DATAGRAMS } else { MAX_FRAMES };
        while self.ws_in.is_open()
            && frames < max_frames
            && (self.framer.expected() < MAX_EXPECTED || self.close_is_decided())
        {
            frames += 1;
            let (range, part) = match self.decoder.next(buf, &mut at) {
                Ok(None) => break,
                Ok(Some(Event::Message { .. } | Event::Frame { .. }))
                    if matches!(self.ws_in, WsIn::InputEnded) =>
                {
                    self.message_after_end();
                    continue;
                }
                Ok(Some(Event::Message { opcode: OpCode::Binary, range }))
                    if self.half_close && range.is_empty() =>
                {
                    self.ws_input_ended();
                    continue;
                }
                Ok(Some(Event::Payload { ends_message: true, .. }))
                    if std::mem::take(&mut self.only_empty_fragments) =>
                {
                    self.ws_input_ended();
                    continue;
                }
                Ok(Some(Event::Message { opcode, range })) if self.forwards() => {
                    self.expect(opcode, true, range.len() as u64);
                    (range, Part::Whole)
                }
                Ok(Some(Event::Payload { range, ends_message })) if self.forwards() => {
                    (range, if ends_message { Part::Last } else { Part::Middle })
                }
                Ok(Some(Event::Frame { opcode, fin, len }))
                    if self.framer.framing() == Framing::Length && self.forwards() =>
                {
                    self.begin_record(opcode, fin, len, payload);
                    continue;
                }
                Ok(Some(other)) => {
                    self.take_other(&other, at < buf.len());
                    continue;
                }
                Err(violation) => {
                    self.ws_violated(violation);
                    continue;
                }
            };
            bytes += range.len();
            messages += u64::from(part.ends_message());
            match self.framer.framing() {
                Framing::Bytes | Framing::Text | Framing::Message => payload.add(buf, range),
                Framing::Line => self.add_line(buf, range, part, payload),
                Framing::Length => self.add_record(buf, range, part, payload),
                Framing::Datagrams => self.send_datagram(cx, &buf[range], part),
            }
        }
        self.entry.counter(self.ws_to_stream()).add(bytes, messages);
        if bytes > 0 && self.is_ws_client() && self.close_is_sent() {
            self.payload_behind_close();
        }
        (at, bytes)
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
                if self.ws_out != WsOut::Failed {
                    self.pongs.get_or_insert_default().answer(payload);
                }
            }
            Event::Close(code) => self.ws_closed(code, more),
            Event::Message { ref range, .. } | Event::Payload { ref range, .. } => {
                // The payload is discarded. Unless the stream has failed already, it ends by a reset,
                // which shows that the input is incomplete.
                if !range.is_empty() && self.stream_out != StreamOut::Broken {
                    self.stream_end = StreamEnd::Reset;
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

    /// Expects a reply to a frame, unless the stream has ended its side (half-close) or nothing more
    /// is sent to the WebSocket.
    fn expect(&mut self, opcode: OpCode, fin: bool, len: u64) {
        if self.is_answered() {
            self.framer.expect(opcode, fin, len);
        }
    }

    /// Cancels the reply that is expected to the part of a frame that will not be forwarded any more.
    pub(super) fn cancel_unforwarded_reply(&mut self) {
        if let Some(missing) = self.decoder.missing_payload()
            && self.is_answered()
            && !self.only_empty_fragments
        {
            self.framer.shorten_last(missing);
            // The bytes that are held back may be all of the reply now.
            if let Some(reply) = &mut self.partial_reply {
                reply.until = reply.until.map(|_| Instant::now());
            }
        }
    }

    fn is_answered(&self) -> bool {
        let is_open = self.stream_in == StreamIn::Open && self.ws_out != WsOut::Failed;
        is_open && !self.close_is_decided()
    }

    /// Whether payload is still forwarded: where it does not wait for the stream, only as far as the
    /// stream is writable at once, and nothing after payload that is lost.
    fn forwards(&self) -> bool {
        self.stream_out == StreamOut::Open
            && (self.waits_for_stream()
                || self.to_stream.is_empty() && self.stream_end != StreamEnd::Reset)
    }
}
