//! The relay between two byte streams, or two transports of datagrams, unchanged.
//!
//! One task serves a connection; each time it is woken it relays in both directions as far as
//! possible. A direction is one read and one write. It reads only after all bytes of its previous
//! read are written, so that a peer that does not read stops the relay from reading the other peer,
//! and memory is bounded by one read in each direction.
//!
//! Each of the two sides has an input and an output (side.rs):
//!
//! ```text
//! Input   Open ──FIN──▶ Ended
//!           └──reset, TLS without close_notify, read error──▶ Failed
//!
//! Output  Open ──the other input is not open──▶ Ending ──other input Ended──▶ Shut (FIN sent)
//!           │                                     ├──other input Failed──▶ Truncated
//!           └─────────── write error ─────────────┴──▶ Failed
//! ```
//!
//! An end of input ends its own direction only: half-close passes. After a failure of one side all
//! that it sent before is delivered, and then the other side is reset, so that nothing truncated
//! looks complete. A reset discards bytes in flight, so that the peer must have acknowledged them
//! before (ending.rs). The server's shutdown is in shutdown.rs.
//!
//! There is no time limit for a peer that accepts no bytes while the other side may still expect a
//! reply, as there is none on a direct connection; `--idle-timeout` sets one. Once the side that
//! sent the bytes is known to be gone, their delivery is given up after 60 s without progress: its
//! connection has failed, or both of its directions have ended. TCP keepalive finds a peer that has
//! closed its socket without having been answered.

mod ending;
mod shutdown;
mod side;

use std::{
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use echogate_event_loop::has_turn;
use tokio::time::Instant;

pub(crate) use self::ending::End;
use self::side::{Side, Step, relay_once};
use crate::{
    connections::registry::RegistryGuard,
    net::stream::Transport,
    runtime::{
        buffer_pool,
        drain::{Drain, ShutdownWatch, Stage},
        idle_timeout::IdleTimeout,
    },
};

/// Relays between a client and an upstream until both connections have ended, and records the end.
/// On an event loop, or in the runtime if one of the two is a transport of datagrams.
///
/// Not an `async fn`, whose future would store every argument twice: each connection has one.
pub(crate) fn run<C, U>(
    client: C,
    upstream: U,
    idle_timeout: Option<Duration>,
    entry: RegistryGuard,
    drain: &Drain,
) -> impl Future<Output = End> + use<C, U>
where
    C: Transport,
    U: Transport,
{
    let watch = drain.watch_connection(entry.id());
    Relay {
        client: Side::new(client),
        upstream: Side::new(upstream),
        entry,
        idle: IdleTimeout::new(idle_timeout),
        watch,
        client_spoke_last: false,
    }
}

struct Relay<C, U> {
    client: Side<C>,
    upstream: Side<U>,
    entry: RegistryGuard,
    idle: Option<Box<IdleTimeout>>,
    watch: ShutdownWatch,
    /// Whether the client was the last to send something.
    client_spoke_last: bool,
}

impl<C: Transport, U: Transport> Future for Relay<C, U> {
    type Output = End;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<End> {
        let relay = self.get_mut();
        let end = ready!(buffer_pool::with(|scratch| relay.poll_all(cx, scratch)));
        if relay.client.has_ended_first {
            relay.entry.ended_by_client(&end);
        } else {
            relay.entry.ended(&end);
        }
        Poll::Ready(end)
    }
}

impl<C: Transport, U: Transport> Relay<C, U> {
    /// Relays until neither side is ready or the connection has ended. The directions take turns, so
    /// that a busy one does not hold up the other one. The upstream is read first: what is read in the
    /// same round of the client cannot have been answered yet.
    fn poll_all(&mut self, cx: &mut Context<'_>, scratch: &mut [u8]) -> Poll<End> {
        loop {
            let stage = self.watch.poll(cx);
            if stage == Stage::Cut {
                return Poll::Ready(self.cut());
            }
            self.watch.limit_idle(stage, &mut self.idle);
            let (client, upstream) = (&mut self.client, &mut self.upstream);
            let down = relay_once(upstream, client, self.entry.sent(), cx, scratch);
            let up = relay_once(client, upstream, self.entry.received(), cx, scratch);
            if up == Step::Moved || down == Step::Moved {
                self.client_spoke_last = up == Step::Moved;
                continue;
            }
            if self.client.check_failure() || self.upstream.check_failure() {
                continue;
            }
            let has_no_limit = stage == Stage::Serving && self.idle.is_none();
            if has_no_limit && self.client.is_settled() && self.upstream.is_settled() {
                return Poll::Pending;
            }
            let now = Instant::now();
            if stage > Stage::Serving {
                let all_is_read = [up, down] == [Step::Waits; 2] && has_turn();
                if let Some(end) = self.poll_shutdown_limits(now) {
                    return Poll::Ready(end);
                }
                if all_is_read && self.ask_upstream(now) {
                    continue;
                }
            }
            if let Some(end) = self.poll_end(now).or_else(|| self.poll_idle(now)) {
                return Poll::Ready(end);
            }
            if let Some(deadline) = self.deadline(now) {
                self.watch.wake_at(cx, now, deadline);
            }
            return Poll::Pending;
        }
    }
}

#[cfg(test)]
mod tests;
