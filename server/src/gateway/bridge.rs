//! The relay between a WebSocket client and its upstream.
//!
//! The relay changes no payload and does not depend on the upstream's protocol. One task serves a
//! connection; each time it is woken it relays in both directions as far as possible:
//!
//! ```text
//! client  --frames-->  Decoder  --payload-->  upstream     client_to_upstream.rs
//! client  <--frames--  Framer   <---bytes---  upstream     upstream_to_client.rs
//! ```
//!
//! Each direction reads only after all bytes of its previous read are written. So a peer that does
//! not read stops the relay from reading the other peer, and memory is bounded by one read in each
//! direction.
//!
//! The end of a connection is implemented in four files: state.rs has its states, with their
//! diagram; close.rs the closing handshake; timeouts.rs the deadlines; and delivery.rs the delivery
//! of the bytes that the client sent before its end. The upstream's connection ends in order (FIN,
//! with TLS after a close_notify) only if the client has declared its input complete, by a Close or
//! by the end of input of half-close. Otherwise, if for example the client vanishes, violates the
//! protocol or does not answer, it ends by a reset, so that no truncated upload looks complete.

mod client_to_upstream;
mod close;
mod delivery;
mod state;
mod timeouts;
mod upstream_to_client;

use std::{
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_proto::{
    framing::{Framer, Framing, FramingOptions},
    ws::Decoder,
};
use tokio::time::Instant;

use self::{
    client_to_upstream::Undecoded,
    close::Closing,
    state::{ClientIn, ClientOut, UpstreamEnd, UpstreamIn, UpstreamOut},
    upstream_to_client::PartialReply,
};
pub(crate) use self::{close::reject, state::End};
use crate::{
    connections::registry::RegistryGuard,
    gateway::websocket::{
        heartbeat::{Heartbeat, PingTimes},
        latency::Latency,
        pongs::Pongs,
    },
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, ShutdownWatch, Stage},
        idle_timeout::IdleTimeout,
        write_buffer::WriteBuffer,
    },
};

/// The settings of a route's connections.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BridgeConfig {
    /// The rule for message boundaries.
    pub(crate) framing: Framing,
    /// The options of the framing.
    pub(crate) framing_options: FramingOptions,
    /// The largest message accepted from the client, in bytes.
    pub(crate) max_message: u64,
    /// The silence of the client after which a Ping is sent.
    pub(crate) ping_interval: Duration,
    /// The silence after a Ping after which the client is considered lost.
    pub(crate) ping_timeout: Duration,
    /// The time without payload after which a connection is closed.
    pub(crate) idle_timeout: Option<Duration>,
}

impl BridgeConfig {
    /// The times of the heartbeat.
    pub(in crate::gateway) fn ping_times(&self) -> PingTimes {
        PingTimes { interval: self.ping_interval, timeout: self.ping_timeout }
    }
}

/// The negotiated terms of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    /// The settings of the route.
    pub(crate) config: Arc<BridgeConfig>,
    /// Whether the subprotocol `half-close` was negotiated: an empty binary message ends the input
    /// of one direction, and the other direction stays open.
    pub(crate) half_close: bool,
}

/// Relays between a client and an upstream until both connections have ended, and records the end.
/// `read_ahead` holds the client's bytes that were read together with the handshake.
///
/// Not an `async fn`, whose future would store every argument twice: each connection has one.
pub(crate) fn run<C, U>(
    client: C,
    upstream: U,
    read_ahead: &[u8],
    negotiated: Negotiated,
    entry: RegistryGuard,
    drain: &Drain,
) -> impl Future<Output = End> + use<C, U>
where
    C: Transport,
    U: Transport,
{
    let Negotiated { config, half_close } = negotiated;
    Bridge {
        client,
        upstream,
        entry,
        decoder: Decoder::new(config.max_message),
        framer: Framer::with_options(config.framing, &config.framing_options),
        half_close,
        client_in: ClientIn::Open,
        client_out: ClientOut::Open,
        upstream_out: UpstreamOut::Open,
        upstream_in: UpstreamIn::Open,
        upstream_end: UpstreamEnd::InOrder,
        closing: None,
        last_byte: None,
        only_empty_fragments: false,
        undecoded: Undecoded::new(read_ahead),
        partial_reply: None,
        to_upstream: WriteBuffer::default(),
        to_client: WriteBuffer::default(),
        pongs: None,
        ping_due: false,
        heartbeat: Heartbeat::new(Instant::now()),
        latency: Latency::default(),
        idle: IdleTimeout::new(config.idle_timeout),
        watch: drain.watch(),
        config,
    }
}

struct Bridge<C, U> {
    client: C,
    upstream: U,
    entry: RegistryGuard,
    config: Arc<BridgeConfig>,
    half_close: bool,
    decoder: Decoder,
    framer: Framer,
    client_in: ClientIn,
    client_out: ClientOut,
    upstream_out: UpstreamOut,
    upstream_in: UpstreamIn,
    upstream_end: UpstreamEnd,
    /// The state of the closing handshake and of the delivery, once one of them has begun.
    closing: Option<Box<Closing>>,
    /// The last payload byte so far of the client's current message (framing `line`).
    last_byte: Option<u8>,
    /// Whether the client's current binary message consists of empty fragments so far: with
    /// half-close it is the end of input if it remains empty.
    only_empty_fragments: bool,
    /// Bytes of the client that are not decoded yet.
    undecoded: Option<Box<Undecoded>>,
    /// The upstream's last bytes, an incomplete reply or line.
    partial_reply: Option<Box<PartialReply>>,
    /// Payload that is not written to the upstream yet.
    to_upstream: WriteBuffer,
    /// Frames that are not written to the client yet.
    to_client: WriteBuffer,
    /// Pong frames that are to be written.
    pongs: Option<Box<Pongs>>,
    /// Whether a Ping is to be sent.
    ping_due: bool,
    heartbeat: Heartbeat,
    latency: Latency,
    idle: Option<Box<IdleTimeout>>,
    watch: ShutdownWatch,
}

impl<C: Transport, U: Transport> Future for Bridge<C, U> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let bridge = self.get_mut();
        let end = ready!(buffer_pool::with(|scratch| bridge.poll_all(cx, scratch)));
        if bridge.upstream_end == UpstreamEnd::Reset {
            bridge.upstream.reset_on_drop();
        }
        bridge.entry.ended(&end);
        Poll::Ready(end)
    }
}

impl<C: Transport, U: Transport> Bridge<C, U> {
    /// Relays until neither side is ready or the connection has ended.
    fn poll_all(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        let now = Instant::now();
        loop {
            let stage = self.watch.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(self.cut());
            }
            let before = (self.close_is_decided(), self.client_in.is_gone());
            let idle = self.poll_client_to_upstream(cx, scratch, now);
            let reopened = self.poll_upstream_to_client(cx, scratch, now);
            // An end that was detected in this direction affects the other one.
            let ended = before != (self.close_is_decided(), self.client_in.is_gone());
            if self.advance_close(stage, idle) || reopened || ended {
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
            self.on_timer(now);
        }
    }
}

#[cfg(test)]
mod tests;
