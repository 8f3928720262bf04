//! How long the legs of an exchange take, while somebody watches. One exchange is
//! measured at a time, from its first bytes to the first of its answer.

use std::time::{Duration, Instant};

use echogate_proto::live::Legs;

use crate::connections::registry::Entry;

/// Nothing as long as nobody watches.
#[derive(Debug, Default)]
pub(super) struct Stopwatch(Option<Box<Leg>>);

/// The leg that an exchange is on, and since when.
#[derive(Debug)]
enum Leg {
    Up { since: Instant },
    Upstream { since: Instant, up: Duration },
    Down { since: Instant, up: Duration, upstream: Duration },
}

impl Stopwatch {
    /// Bytes of the client were read.
    pub(super) fn client_read(&mut self, entry: &Entry) {
        match (entry.is_watched(), &self.0) {
            (true, None) => self.0 = Some(Leg::Up { since: Instant::now() }.into()),
            (false, Some(_)) => self.0 = None,
            _ => {}
        }
    }

    /// What they held was written to the upstream, if they held `any` payload.
    pub(super) fn upstream_written(&mut self, any: bool) {
        if let Some(Leg::Up { since }) = self.0.as_deref() {
            let leg = Leg::Upstream { since: Instant::now(), up: since.elapsed() };
            self.0 = any.then(|| leg.into());
        }
    }

    /// Bytes of the upstream were read.
    pub(super) fn upstream_read(&mut self) {
        if let Some(&Leg::Upstream { since, up }) = self.0.as_deref() {
            let upstream = since.elapsed();
            self.0 = Some(Leg::Down { since: Instant::now(), up, upstream }.into());
        }
    }

    /// They were written to the client.
    pub(super) fn client_written(&mut self, entry: &Entry) {
        if let Some(&Leg::Down { since, up, upstream }) = self.0.as_deref() {
            let [up, upstream, down] =
                [up, upstream, since.elapsed()].map(|time| time.as_secs_f64() * 1e6);
            entry.took(Legs::Bridge { up, upstream, down });
            self.0 = None;
        }
    }
}
