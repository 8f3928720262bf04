//! The differences between the two roles of this end of the WebSocket: the peers on both sides, the
//! directions, and the masking of frames, which only a client does (RFC 6455 section 5.3).

use std::{ops::Range, task::Context};

use echogate_proto::{
    reason,
    recording::Direction,
    ws::{FrameHeader, Role, mask},
};

use super::Bridge;
use crate::{
    connections::registry::Counter,
    gateway::{masking_key, websocket::gather::Gather},
    net::stream::Transport,
};

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Whether this end is the client of the WebSocket, and its peer the upstream.
    #[inline]
    pub(super) fn is_ws_client(&self) -> bool {
        self.decoder.role() == Role::Client
    }

    /// The peer of the stream, as reasons and the log name it.
    pub(super) fn stream_peer(&self) -> &'static str {
        if self.is_ws_client() { reason::CLIENT } else { reason::UPSTREAM }
    }

    /// The peer of the WebSocket, as reasons and the log name it.
    pub(super) fn ws_peer(&self) -> &'static str {
        if self.is_ws_client() { reason::UPSTREAM } else { reason::CLIENT }
    }

    /// The direction of the payload from the WebSocket.
    #[inline]
    pub(super) fn ws_to_stream(&self) -> Direction {
        if self.is_ws_client() { Direction::ToClient } else { Direction::ToServer }
    }

    /// The direction of the payload to the WebSocket.
    #[inline]
    pub(super) fn stream_to_ws(&self) -> Direction {
        if self.is_ws_client() { Direction::ToServer } else { Direction::ToClient }
    }

    /// The counter of the payload to the WebSocket.
    pub(super) fn ws_sent(&self) -> &Counter {
        self.entry.counter(self.stream_to_ws())
    }

    /// Event, for the latency: frames are about to be written to the WebSocket.
    #[inline]
    pub(super) fn ws_writes(&mut self) {
        self.latency.writes(self.stream_to_ws());
    }

    /// Sends control frames, masked if this end is the client.
    pub(super) fn send_control(&mut self, cx: &mut Context<'_>, frames: Vec<u8>) {
        self.send(cx, &masking_key::control_frames(frames, self.decoder.role()));
    }

    /// Sends a frame that consists of its header and the payload that the framer has put into it, masked
    /// if this end is the client.
    pub(super) fn send_header(&mut self, cx: &mut Context<'_>, header: &FrameHeader) {
        if self.is_ws_client() {
            self.send(cx, header.masked(masking_key::next()).as_bytes());
        } else {
            self.send(cx, header.as_bytes());
        }
    }

    /// Writes the head of a frame in front of its `payload` in `scratch`, and masks the frame if this
    /// end is the client. Returns the position of the head.
    #[inline]
    pub(super) fn put_head(
        &self,
        head: &FrameHeader,
        scratch: &mut [u8],
        payload: Range<usize>,
    ) -> usize {
        let end = payload.start;
        let mut masked;
        let head = if self.is_ws_client() && !head.is_empty() {
            masked = head.masked(masking_key::next());
            mask::apply(&mut scratch[payload], masked.key());
            masked.as_bytes()
        } else {
            head.as_bytes()
        };
        let start = end - head.len();
        scratch[start..end].copy_from_slice(head);
        start
    }

    /// Adds a frame to `gather`, masked if this end is the client.
    #[inline]
    pub(super) fn gather_frame(
        &self,
        gather: &mut Gather,
        head: &FrameHeader,
        scratch: &mut [u8],
        payload: Range<usize>,
    ) {
        if self.is_ws_client() && !head.is_empty() {
            let mut masked = head.masked(masking_key::next());
            mask::apply(&mut scratch[payload.clone()], masked.key());
            gather.copied().extend_from_slice(masked.as_bytes());
        } else {
            head.append_to(gather.copied());
        }
        gather.add(scratch, payload);
    }
}
