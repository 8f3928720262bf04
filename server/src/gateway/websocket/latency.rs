//! The latency of an exchange in three legs, measured while the connection has subscribers: from
//! the read of the client's bytes to their write to the upstream, from there to the read of the
//! first bytes of the reply, and from there to their write to the client. One exchange is measured
//! at a time.

use std::time::{Duration, Instant};

use echogate_proto::api::Legs;

use crate::connections::registry::Entry;

/// The measurement in progress; `None` while the connection has no subscribers.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Latency(Option<Box<Leg>>);

/// The current leg of an exchange, its beginning, and the durations of the previous legs.
#[derive(Debug)]
enum Leg {
    Up { since: Instant },
    Upstream { since: Instant, up: Duration },
    Down { since: Instant, up: Duration, upstream: Duration },
}

impl Latency {
    /// Event: bytes of the client were read.
    pub(in crate::gateway) fn client_read(&mut self, entry: &Entry) {
        match (entry.has_subscribers(), &self.0) {
            (true, None) => self.0 = Some(Leg::Up { since: Instant::now() }.into()),
            (false, Some(_)) => self.0 = None,
            _ => {}
        }
    }

    /// Event: the payload of those bytes, if there was `any`, was written to the upstream.
    pub(in crate::gateway) fn upstream_written(&mut self, any: bool) {
        if let Some(Leg::Up { since }) = self.0.as_deref() {
            let leg = Leg::Upstream { since: Instant::now(), up: since.elapsed() };
            self.0 = any.then(|| leg.into());
        }
    }

    /// Event: bytes of the upstream were read.
    pub(in crate::gateway) fn upstream_read(&mut self) {
        if let Some(&Leg::Upstream { since, up }) = self.0.as_deref() {
            let upstream = since.elapsed();
            self.0 = Some(Leg::Down { since: Instant::now(), up, upstream }.into());
        }
    }

    /// Event: those bytes were written to the client.
    pub(in crate::gateway) fn client_written(&mut self, entry: &Entry) {
        if let Some(&Leg::Down { since, up, upstream }) = self.0.as_deref() {
            let [up, upstream, down] =
                [up, upstream, since.elapsed()].map(|time| time.as_secs_f64() * 1e6);
            entry.record_latency(Legs::Bridge { up, upstream, down });
            self.0 = None;
        }
    }
}
