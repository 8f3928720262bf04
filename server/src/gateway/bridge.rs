//! The relay between a WebSocket client and its upstream.
//!
//! The relay changes no payload and does not depend on the upstream's protocol. One task serves
//! a connection; at each wake-up it moves what can be moved in both directions:
//!
//! ```text
//! client  --frames-->  Decoder  --payload-->  upstream     client_to_upstream.rs
//! client  <--frames--  Framer   <---bytes---  upstream     upstream_to_client.rs
//! ```
//!
//! Each direction reads only when everything it read before is written: a peer that does not
//! read stops the other peer from being read, and memory is bounded by one step's worth each
//! way.
//!
//! The end of a connection takes four files: its states, with their diagram, are in state.rs, the
//! closing handshake is in close.rs, the deadlines are in timeouts.rs, and the delivery of what
//! the client sent before its end is in delivery.rs. The upstream's connection ends in order (FIN, with TLS
//! after a close_notify) only when the client has declared its input complete, by its Close or
//! by the end of input of half-close. In every other case, such as a client that vanishes,
//! breaks the protocol or does not answer, it ends by a reset, so that no truncated upload looks
//! complete.

mod client_to_upstream;
mod close;
mod delivery;
mod gather;
mod heartbeat;
mod latency;
mod pongs;
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
    heartbeat::Heartbeat,
    latency::Latency,
    pongs::Pongs,
    state::{ClientIn, ClientOut, UpstreamEnd, UpstreamIn, UpstreamOut},
    upstream_to_client::PartialReply,
};
pub(crate) use self::{close::reject, state::End};
use crate::{
    connections::registry::RegistryGuard,
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
    /// The rule for the boundaries of messages to the client.
    pub(crate) framing: Framing,
    /// The options of the framing.
    pub(crate) framing_options: FramingOptions,
    /// The largest message taken from the client, in bytes.
    pub(crate) max_message: u64,
    /// The silence of the client after which it is sent a Ping.
    pub(crate) ping_interval: Duration,
    /// The silence after a Ping for which the client is given up.
    pub(crate) ping_timeout: Duration,
    /// The time without payload after which a connection is closed.
    pub(crate) idle_timeout: Option<Duration>,
}

/// The terms of one connection.
#[derive(Clone, Debug)]
pub(crate) struct Negotiated {
    /// The settings of its route.
    pub(crate) config: Arc<BridgeConfig>,
    /// Whether the subprotocol `half-close` was negotiated: an empty binary message is the end
    /// of input, in either direction, and the other direction goes on.
    pub(crate) half_close: bool,
}

/// Relays between a client and an upstream until both connections have ended, and logs the end.
/// `read_ahead` holds the client's bytes that were read together with its handshake.
///
/// (Not an `async fn`, which would keep every argument twice: there is one of these for each
/// connection.)
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
    /// The closing handshake and the delivery of the rest, once one of them has begun.
    closing: Option<Box<Closing>>,
    /// The last payload byte of the message that is coming in (framing `line`).
    last_byte: Option<u8>,
    /// The binary message that is coming in consists of empty fragments so far: with half-close
    /// it is the end of input if it ends like that.
    only_empty_fragments: bool,
    /// Bytes of the client that are read and not decoded yet.
    undecoded: Option<Box<Undecoded>>,
    /// Bytes of the upstream that wait for the rest of a reply or of a line.
    partial_reply: Option<Box<PartialReply>>,
    /// Payload that the upstream has not taken yet.
    to_upstream: WriteBuffer,
    /// Frames that the client has not taken yet.
    to_client: WriteBuffer,
    /// Answers to Pings that are not written yet.
    pongs: Option<Box<Pongs>>,
    /// A Ping is to be sent.
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
    /// Moves what can be moved, until nothing can be or the connection has ended.
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
            // An end found in this direction changes what is to be done in the other.
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
