//! The relay between a WebSocket client and a WebSocket upstream.
//!
//! One task serves a connection; each time it is woken it relays in both directions as far as
//! possible. A direction is written once ([`direction`]): a [`Side`] knows by its role which frames
//! are masked (RFC 6455 section 5.3).
//!
//! ```text
//!          Side, role server                     Side, role client
//! client ──▶ Decoder ───────── frames, masked anew ────────▶ upstream
//! client ◀── frames ──────────────────────────── Decoder ◀── upstream
//! ```
//!
//! A frame that lies in the read buffer completely is passed as one frame; of any other frame each
//! part is passed as a fragment when it arrives. The new header takes the place of the old one, so
//! that the payload is not copied. Each direction reads only after all bytes of its previous read
//! are written: memory is bounded by one read in each direction.
//!
//! Pings are answered on each side, and the relay sends its own. A Close passes to the
//! other side with its code and reason, after all messages before it; so does the answer. If none
//! comes in time, the relay answers with the code of the Close.
//!
//! If a client ends without a Close, the upstream's connection is reset, once everything that the
//! client sent before has arrived. If an upstream ends without a Close, the client is sent Close 1011.
//! state.rs has the states, with their diagram; close.rs the events that end a side; timeouts.rs the
//! deadlines and the shutdown; delivery.rs the delivery of the last bytes.

mod close;
mod delivery;
mod direction;
mod frames;
mod side;
mod state;
mod timeouts;

use std::{
    borrow::Cow,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use echogate_proto::{close::CloseCode, ws::Role};
use tokio::time::Instant;

use self::{
    side::Side,
    state::{Input, Output},
};
use crate::{
    connections::registry::RegistryGuard,
    gateway::{
        bridge::{BridgeConfig, End},
        websocket::latency::Latency,
    },
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, ShutdownWatch, Stage},
        idle_timeout::IdleTimeout,
    },
};

/// Bytes that were read together with each opening handshake.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct ReadAhead<'a> {
    /// Bytes of the client behind its request.
    pub(crate) client: &'a [u8],
    /// Bytes of the upstream after its response.
    pub(crate) upstream: &'a [u8],
}

/// Relays between a WebSocket client and a WebSocket upstream until both connections have ended,
/// and records the end.
///
/// Not an `async fn`, whose future would store every argument twice: each connection has one.
pub(crate) fn run<C, U>(
    client: C,
    upstream: U,
    read_ahead: ReadAhead<'_>,
    config: Arc<BridgeConfig>,
    entry: RegistryGuard,
    drain: &Drain,
) -> impl Future<Output = End> + use<C, U>
where
    C: Transport,
    U: Transport,
{
    let now = Instant::now();
    let watch = drain.watch_connection(entry.id());
    MessageRelay {
        client: Side::new(client, Role::Server, read_ahead.client, &config, now),
        upstream: Side::new(upstream, Role::Client, read_ahead.upstream, &config, now),
        idle: IdleTimeout::new(config.idle_timeout),
        watch,
        shared: RelayState {
            entry,
            config,
            latency: Latency::default(),
            client_spoke_last: false,
            end: None,
        },
    }
}

struct MessageRelay<C, U> {
    client: Side<C>,
    upstream: Side<U>,
    shared: RelayState,
    idle: Option<Box<IdleTimeout>>,
    watch: ShutdownWatch,
}

/// The state that both directions use.
struct RelayState {
    entry: RegistryGuard,
    config: Arc<BridgeConfig>,
    latency: Latency,
    /// Whether the last payload came from the client.
    client_spoke_last: bool,
    /// The cause of the end, once there is one.
    end: Option<Box<End>>,
}

/// One poll of the task.
struct PollContext<'a, 'b> {
    cx: &'a mut Context<'b>,
    scratch: &'a mut [u8],
    now: Instant,
}

impl RelayState {
    /// Records the cause of the end, unless there was one before.
    fn ends(&mut self, code: CloseCode, why: impl Into<Cow<'static, str>>) {
        self.end.get_or_insert_with(|| End { code, why: why.into() }.into());
    }
}

impl<C: Transport, U: Transport> Future for MessageRelay<C, U> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let relay = self.get_mut();
        let end = ready!(buffer_pool::with(|scratch| {
            relay.poll_all(&mut PollContext { cx, scratch, now: Instant::now() })
        }));
        relay.shared.entry.websocket_closed(end.code);
        relay.shared.entry.ended(&end);
        Poll::Ready(end)
    }
}

impl<C: Transport, U: Transport> MessageRelay<C, U> {
    /// Relays until neither side is ready or the connection has ended.
    fn poll_all(&mut self, poll: &mut PollContext<'_, '_>) -> Poll<End> {
        let now = poll.now;
        loop {
            let stage = self.watch.poll(poll.cx);
            if stage == Stage::Cut {
                return Poll::Ready(self.cut());
            }
            self.watch.limit_idle(stage, &mut self.idle);
            let before = self.states();
            let MessageRelay { client, upstream, shared, .. } = self;
            let up_idle = direction::relay(client, upstream, shared, poll);
            let down_idle = direction::relay(upstream, client, shared, poll);
            // The upstream's Pongs; the second direction has sent those of the client.
            upstream.send_control(poll.cx);
            if stage > Stage::Serving {
                self.shut_down(poll, stage, up_idle && down_idle);
            }
            let is_done = self.poll_end(poll);
            // An end that was detected in one direction affects the other one.
            if before != self.states() {
                continue;
            }
            if is_done {
                return Poll::Ready(self.end());
            }
            match self.deadline(stage, now) {
                Some(deadline) if deadline <= now => self.on_timer(poll),
                deadline => {
                    if let Some(deadline) = deadline {
                        self.watch.wake_at(poll.cx, now, deadline);
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    fn states(&self) -> [(Input, Output); 2] {
        [self.client.states(), self.upstream.states()]
    }
}

#[cfg(test)]
mod tests;
