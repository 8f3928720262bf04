//! The framing of the stream's bytes, and the incomplete reply, record or line at their end.

use std::{task::Context, time::Duration};

use echogate_proto::framing::{Framing, FramingError, Outgoing, Rest};
use tokio::time::Instant;

use super::Bridge;
use crate::{
    gateway::websocket::gather::Gather, net::stream::Transport, runtime::buffer_pool::HEADROOM,
};

/// The time for which a part of a reply or record waits for more bytes (framing `message` and
/// `length`). Most that arrive in parts have shorter pauses, and are sent in one frame.
pub(super) const PARTIAL_REPLY_TIME: Duration = Duration::from_millis(500);

/// The size at which a part of a reply or record is sent at once, as a fragment. Keeping it would
/// cost two copies, and with many connections more memory than the processor's caches hold.
pub(super) const FRAGMENT: usize = 16 * 1024;

/// An incomplete reply, record or line.
#[derive(Debug)]
pub(super) struct PartialReply {
    pub(super) bytes: Vec<u8>,
    /// The time at which the part is sent as a fragment; `None` for a line.
    pub(super) until: Option<Instant>,
}

impl PartialReply {
    pub(super) fn len(&self) -> usize {
        self.bytes.len()
    }

    pub(super) fn append(&mut self, bytes: &[u8], now: Instant) {
        self.bytes.extend_from_slice(bytes);
        self.until = self.until.map(|_| now + PARTIAL_REPLY_TIME);
    }
}

/// The frames of one write.
struct Framed {
    /// The position in the buffer after the last byte that is framed.
    end: usize,
    /// The number of payload bytes.
    bytes: usize,
    /// The number of messages that end with one of the frames.
    messages: u64,
}

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Frames the stream's bytes in `scratch[HEADROOM..]` and sends them to the WebSocket in one write;
    /// returns whether anything was sent. An incomplete reply at their end is kept or sent, as `rest`
    /// says.
    pub(super) fn frame(
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
        let piece = match self.next_piece(&scratch[HEADROOM..], rest) {
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
            let mut framed = Framed { end: HEADROOM, bytes: 0, messages: 0 };
            self.gather_piece(gather, &piece, scratch, &mut framed);
            let failed = loop {
                // By reference: a piece that is moved is stored and loaded again for each frame.
                match &self.next_piece(&scratch[framed.end..], rest) {
                    Ok(Some(piece)) => self.gather_piece(gather, piece, scratch, &mut framed),
                    Ok(None) => break None,
                    Err(e) => break Some(*e),
                }
            };
            let Framed { end, bytes, messages } = framed;
            self.ws_sent().add(bytes, messages);
            self.ws_writes();
            let sent = gather.write(scratch, cx, &mut self.to_ws, &mut self.ws);
            if sent.is_err() {
                self.ws_not_writable();
            }
            match failed {
                Some(e) => self.framing_failed(e),
                None => self.hold_back(&scratch[end..], rest, now, Vec::new()),
            }
        });
        true
    }

    /// Appends the frame of a piece, whose input begins at `framed.end`, to `gather`.
    #[inline]
    fn gather_piece(
        &self,
        gather: &mut Gather,
        piece: &Outgoing,
        scratch: &mut [u8],
        framed: &mut Framed,
    ) {
        let payload = framed.end + piece.payload.start..framed.end + piece.payload.end;
        self.gather_frame(gather, &piece.head, scratch, payload);
        framed.end += piece.taken;
        framed.bytes += piece.payload_len();
        framed.messages += u64::from(piece.ends_message);
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
}
