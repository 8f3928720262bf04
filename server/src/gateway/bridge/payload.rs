//! The payload of messages as the framing writes it to the stream.

use std::{
    ops::Range,
    pin::Pin,
    task::{Context, Poll},
};

use echogate_proto::{framing::Newline, ws::OpCode};
use tokio::time::Instant;

use super::{
    Bridge,
    state::{CloseCause, StreamEnd},
    timeouts::CLOSE_TIMEOUT,
};
use crate::{gateway::websocket::gather::Gather, net::stream::Transport};

/// The part of a message that a payload is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    Whole,
    /// A part with more after it.
    Middle,
    Last,
}

impl Part {
    pub(super) fn ends_message(self) -> bool {
        self != Part::Middle
    }
}

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Adds a part of a message (framing `line`), and the line endings within the message and at
    /// its end as the stream requires them ([`Newline`]).
    pub(super) fn add_line(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        part: Part,
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
                    payload.copied().push(b'\r');
                    start = at;
                }
            }
        } else {
            last = buf[range.clone()].last().copied().or(last);
        }
        payload.add(buf, start..range.end);
        if part.ends_message() && last != Some(b'\n') {
            if crlf && last != Some(b'\r') {
                payload.copied().push(b'\r');
            }
            payload.copied().push(b'\n');
        }
        self.last_byte = last.filter(|_| !part.ends_message());
    }

    /// Begins a frame whose payload comes in parts (framing `length`). The length of a message in one
    /// frame is known. A message in several frames is written when it is complete.
    pub(super) fn begin_record(
        &mut self,
        opcode: OpCode,
        fin: bool,
        len: u64,
        payload: &mut Gather,
    ) {
        if !fin && opcode != OpCode::Continuation {
            self.fragments = Some(Box::default());
        } else if self.fragments.is_none() {
            self.framer.append_prefix(len, payload.copied());
        }
    }

    /// Adds a part of a message with the length in front of it (framing `length`).
    pub(super) fn add_record(
        &mut self,
        buf: &[u8],
        range: Range<usize>,
        part: Part,
        payload: &mut Gather,
    ) {
        match &mut self.fragments {
            None => {
                if part == Part::Whole {
                    self.framer.append_prefix(range.len() as u64, payload.copied());
                }
                payload.add(buf, range);
            }
            Some(fragments) => {
                fragments.extend_from_slice(&buf[range]);
                if part.ends_message() {
                    self.framer.append_prefix(fragments.len() as u64, payload.copied());
                    payload.copied().extend_from_slice(fragments);
                    self.fragments = None;
                }
            }
        }
    }

    /// Sends a message as one datagram when its last `part` has arrived. A datagram that the
    /// transport does not take at once is dropped.
    pub(super) fn send_datagram(&mut self, cx: &mut Context<'_>, bytes: &[u8], part: Part) {
        let whole;
        let datagram = if part == Part::Whole {
            bytes
        } else {
            self.fragments.get_or_insert_default().extend_from_slice(bytes);
            if part == Part::Middle {
                return;
            }
            whole = self.fragments.take().unwrap_or_default();
            &whole
        };
        self.latency.writes(self.ws_to_stream());
        if let Poll::Ready(Err(e)) = Pin::new(&mut self.stream).poll_write(cx, datagram) {
            self.stream_failed(&e);
        }
    }

    /// Handles payload of an upstream after the Close of this end: the upstream sends what it owes,
    /// and its answer may take longer. After a Close for a shutdown, a request or the idle timeout
    /// nothing tells whether that is everything.
    pub(super) fn payload_behind_close(&mut self) {
        if self.pending_close().is_some_and(|close| close.cause == CloseCause::Server) {
            self.stream_end = StreamEnd::Reset;
        }
        self.closing().ws_deadline = Some(Instant::now() + CLOSE_TIMEOUT);
    }
}
