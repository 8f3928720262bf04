//! The latency of an exchange in three legs, measured while the connection has subscribers: from
//! the read of the client's bytes to the beginning of their write to the upstream, from there to the
//! read of the first bytes of the reply, and from there to the end of their write to the client. So
//! the upstream's leg contains all that the upstream does, even what it does during that write. One
//! exchange is measured at a time.

use std::time::{Duration, Instant};

use echogate_proto::{api::Legs, recording::Direction};

use crate::connections::registry::Entry;

/// The measurement in progress; `None` while the connection has no subscribers.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Latency(Option<Box<Leg>>);

/// The current leg of an exchange, its beginning, and the durations of the previous legs.
#[derive(Debug)]
enum Leg {
    Up { since: Instant },
    Upstream { since: Instant, up: Duration, received: Option<u64> },
    Down { since: Instant, up: Duration, upstream: Duration, received: u64 },
}

impl Latency {
    /// Event: bytes of this direction were read.
    #[inline]
    pub(in crate::gateway) fn read(&mut self, direction: Direction, entry: &Entry) {
        match direction {
            Direction::ToServer => self.client_read(entry),
            Direction::ToClient => self.upstream_read(),
        }
    }

    /// Event: payload of those bytes is about to be written.
    #[inline]
    pub(in crate::gateway) fn writes(&mut self, direction: Direction) {
        if direction == Direction::ToServer
            && let Some(leg) = self.0.as_deref_mut()
            && let Leg::Up { since } = *leg
        {
            let now = Instant::now();
            *leg = Leg::Upstream { since: now, up: now - since, received: None };
        }
    }

    /// Event: those bytes are handled and counted, and their payload, if there was `any`, is written.
    #[inline]
    pub(in crate::gateway) fn written(&mut self, direction: Direction, any: bool, entry: &Entry) {
        match direction {
            Direction::ToServer => self.client_handled(entry),
            Direction::ToClient if any => self.client_written(entry),
            Direction::ToClient => {}
        }
    }

    fn client_read(&mut self, entry: &Entry) {
        match (entry.has_subscribers(), &self.0) {
            (true, None) => self.0 = Some(Leg::Up { since: Instant::now() }.into()),
            (false, Some(_)) => self.0 = None,
            _ => {}
        }
    }

    fn upstream_read(&mut self) {
        if let Some(leg) = self.0.as_deref_mut()
            && let Leg::Upstream { since, up, received: Some(received) } = *leg
        {
            let now = Instant::now();
            *leg = Leg::Down { since: now, up, upstream: now - since, received };
        }
    }

    /// Without payload the client's bytes are no exchange.
    fn client_handled(&mut self, entry: &Entry) {
        match self.0.as_deref_mut() {
            Some(Leg::Up { .. }) => self.0 = None,
            Some(Leg::Upstream { received, .. }) => {
                received.get_or_insert_with(|| entry.received().bytes());
            }
            Some(Leg::Down { .. }) | None => {}
        }
    }

    fn client_written(&mut self, entry: &Entry) {
        if let Some(&Leg::Down { since, up, upstream, received }) = self.0.as_deref() {
            let [up, upstream, down] =
                [up, upstream, since.elapsed()].map(|time| time.as_secs_f64() * 1e6);
            entry.record_latency(Legs::Bridge { up, upstream, down, received });
            self.0 = None;
        }
    }
}
