//! The relay between a WebSocket and a byte stream.
//!
//! The *WebSocket side* carries messages, the *stream side* bytes or datagrams. Which of them is
//! the client depends on the [`Role`] of this end of the WebSocket:
//!
//! | role | WebSocket side | stream side |
//! | --- | --- | --- |
//! | server (a route) | the client | its upstream |
//! | client (a forward) | the upstream | its client |
//!
//! The relay changes no payload and does not depend on the stream's protocol. One task serves a
//! connection; each time it is woken it relays in both directions as far as possible:
//!
//! ```text
//! WebSocket  --frames-->  Decoder  --payload-->  stream     messages_to_stream.rs
//! WebSocket  <--frames--  Framer   <---bytes---  stream     stream_to_messages.rs
//! ```
//!
//! Each direction reads only after all bytes of its previous read are written. So a peer that does
//! not read stops the relay from reading the other peer, and memory is bounded by one read in each
//! direction.
//!
//! The end of a connection is implemented in five files: state.rs has its states, with their
//! diagram; events.rs the effect of the end of one side on the other; close.rs the closing
//! handshake; timeouts.rs the deadlines; and delivery.rs the delivery of the bytes that the
//! WebSocket peer sent before its end. The stream ends in order (FIN, with TLS after a close_notify)
//! only if the WebSocket peer has declared its output complete, by a Close or by the end of input of
//! half-close, or if a client has only failed to answer the Close with which the server ends the
//! connection. Otherwise, if for example the peer vanishes, violates the protocol or does not answer
//! a Ping, the stream ends by a reset, so that nothing truncated looks complete. What differs between
//! the roles is in role.rs.

mod close;
mod delivery;
mod end;
mod events;
mod frame_stream;
mod messages_to_stream;
mod payload;
mod role;
mod state;
mod stream_to_messages;
mod timeouts;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    framing::{Framer, Framing, FramingOptions},
    ws::{Decoder, Role},
};
use tokio::time::Instant;

pub(in crate::gateway) use self::timeouts::CLOSE_TIMEOUT;
use self::{
    close::Closing,
    frame_stream::PartialReply,
    state::{StreamEnd, StreamIn, StreamOut, WsIn, WsOut},
};
pub(crate) use self::{close::reject, state::End};
use crate::{
    connections::registry::RegistryGuard,
    gateway::websocket::{
        latency::Latency,
        ping_timer::{PingTimer, PingTimes},
        pongs::Pongs,
        undecoded::Undecoded,
    },
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, ShutdownWatch, Stage},
        idle_timeout::IdleTimeout,
        write_buffer::WriteBuffer,
    },
};

/// The settings of the connections of a route or forward.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgeConfig {
    /// The rule for message boundaries.
    pub(crate) framing: Framing,
    pub(crate) framing_options: FramingOptions,
    /// The largest message accepted from the WebSocket peer, in bytes.
    pub(crate) max_message: u64,
    /// The silence of the WebSocket peer after which a Ping is sent.
    pub(crate) ping_interval: Duration,
    /// The silence after a Ping after which the WebSocket peer is considered lost.
    pub(crate) ping_timeout: Duration,
    /// The time without payload after which a connection is closed.
    pub(crate) idle_timeout: Option<Duration>,
}

impl BridgeConfig {
    pub(in crate::gateway) fn ping_times(&self) -> PingTimes {
        PingTimes { interval: self.ping_interval, timeout: self.ping_timeout }
    }
}

/// The negotiated terms of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    /// The settings of the route or forward.
    pub(crate) config: Arc<BridgeConfig>,
    /// Whether the subprotocol `half-close` was negotiated: an empty binary message ends the input
    /// of one direction, and the other direction stays open.
    pub(crate) half_close: bool,
}

/// Relays between a WebSocket, at whose end this process has the `role`, and a stream until both
/// connections have ended, and records the end. `read_ahead` holds the bytes of the WebSocket peer
/// that were read together with the handshake.
///
/// Not an `async fn`, whose future would store every argument twice: each connection has one.
pub(crate) fn run<W, S>(
    role: Role,
    ws: W,
    stream: S,
    read_ahead: &[u8],
    negotiated: Negotiated,
    entry: RegistryGuard,
    drain: &Drain,
) -> impl Future<Output = End> + use<W, S>
where
    W: Transport,
    S: Transport,
{
    let Negotiated { config, half_close } = negotiated;
    debug_assert_eq!(stream.reads_messages(), config.framing == Framing::Datagrams);
    let framer = Framer::with_options(config.framing, &config.framing_options);
    let watch = drain.watch_connection(entry.id());
    Bridge {
        ws,
        stream,
        entry,
        decoder: Decoder::with_role(role, config.max_message.min(framer.max_message())),
        framer,
        half_close,
        ws_in: WsIn::Open,
        ws_out: WsOut::Open,
        stream_out: StreamOut::Open,
        stream_in: StreamIn::Open,
        stream_end: StreamEnd::InOrder,
        closing: None,
        last_byte: None,
        only_empty_fragments: false,
        client_spoke_last: false,
        undecoded: Undecoded::new(read_ahead, 0),
        fragments: None,
        partial_reply: None,
        to_stream: WriteBuffer::default(),
        to_ws: WriteBuffer::default(),
        pongs: None,
        ping_due: false,
        ping_timer: PingTimer::new(Instant::now()),
        latency: Latency::default(),
        idle: IdleTimeout::new(config.idle_timeout),
        watch,
        config,
    }
}

struct Bridge<W, S> {
    ws: W,
    stream: S,
    entry: RegistryGuard,
    config: Arc<BridgeConfig>,
    half_close: bool,
    decoder: Decoder,
    framer: Framer,
    ws_in: WsIn,
    ws_out: WsOut,
    stream_out: StreamOut,
    stream_in: StreamIn,
    stream_end: StreamEnd,
    /// The state of the closing handshake and of the delivery, once one of them has begun.
    closing: Option<Box<Closing>>,
    /// The last payload byte so far of the WebSocket peer's current message (framing `line`).
    last_byte: Option<u8>,
    /// Whether the WebSocket peer's current binary message consists of empty fragments so far: with
    /// half-close it is the end of input if it remains empty.
    only_empty_fragments: bool,
    /// Whether the last payload came from the client.
    client_spoke_last: bool,
    /// Bytes of the WebSocket peer that are not decoded yet.
    undecoded: Option<Box<Undecoded>>,
    /// The fragments so far of a message that is written whole (framing `length` and datagrams).
    #[expect(clippy::box_collection, reason = "most connections never have any")]
    fragments: Option<Box<Vec<u8>>>,
    /// The last bytes of the stream, an incomplete reply, record or line.
    partial_reply: Option<Box<PartialReply>>,
    /// Payload that is not written to the stream yet.
    to_stream: WriteBuffer,
    /// Frames that are not written to the WebSocket yet.
    to_ws: WriteBuffer,
    pongs: Option<Box<Pongs>>,
    ping_due: bool,
    ping_timer: PingTimer,
    latency: Latency,
    idle: Option<Box<IdleTimeout>>,
    watch: ShutdownWatch,
}

impl<W: Transport, S: Transport> Future for Bridge<W, S> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let bridge = self.get_mut();
        let end = ready!(buffer_pool::with(|scratch| bridge.poll_all(cx, scratch)));
        if bridge.stream_end == StreamEnd::Reset {
            bridge.stream.reset_on_drop();
        }
        bridge.entry.websocket_closed(end.code);
        bridge.entry.ended(&end);
        Poll::Ready(end)
    }
}

impl<W: Transport, S: Transport> Bridge<W, S> {
    /// Relays until neither side is ready or the connection has ended.
    fn poll_all(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        let now = Instant::now();
        loop {
            let stage = self.watch.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(self.cut(cx, scratch, now));
            }
            let before = (self.close_is_decided(), self.ws_in.is_gone());
            let idle = self.poll_messages_to_stream(cx, scratch, now);
            let reopened = self.poll_stream_to_messages(cx, scratch, now);
            // An end that was detected in this direction affects the other one.
            let ended = before != (self.close_is_decided(), self.ws_in.is_gone());
            if self.advance_close(stage, idle, now) || reopened || ended {
                continue;
            }
            if let Some(end) = self.poll_end(cx, now) {
                return Poll::Ready(end);
            }
            let deadline = self.deadline(now);
            if now < deadline {
                self.watch.wake_at(cx, now, deadline);
                self.framer.shrink();
                return Poll::Pending;
            }
            self.on_timer(now, idle);
        }
    }
}

#[cfg(test)]
pub(in crate::gateway) mod tests;
