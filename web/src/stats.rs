//! What is measured on one connection.
//!
//! - [`histogram`]: how long replies took, by how many took how long
//! - [`series`]: when they took how long
//! - [`rate`]: how much went each way, second by second

pub mod histogram;
pub mod rate;
pub mod series;

pub use self::{histogram::Histogram, rate::Rate, series::Series};
use crate::time::Millis;

/// What went over one connection.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// When it opened.
    pub since: Millis,
    /// Messages handed to the browser.
    pub sent: Traffic,
    /// Messages that arrived.
    pub received: Traffic,
    /// How long replies took.
    pub round_trips: Histogram,
    /// How long replies took, and when.
    pub latest: Series,
}

/// Messages one way.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// How many.
    pub messages: u64,
    /// Their payload.
    pub bytes: u64,
    /// Their payload, second by second.
    pub rate: Rate,
}

impl Stats {
    /// Those of a connection that opens now.
    pub fn new(now: Millis) -> Self {
        Stats { since: now, ..Stats::default() }
    }

    /// Counts a message that went out.
    pub fn sent(&mut self, bytes: usize, now: Millis) {
        self.sent.add(bytes, now);
    }

    /// Counts a message that came in.
    pub fn received(&mut self, bytes: usize, now: Millis) {
        self.received.add(bytes, now);
    }

    /// Counts a reply that took so long.
    pub fn answered(&mut self, round_trip: Millis, now: Millis) {
        self.round_trips.add(round_trip);
        self.latest.add(now, round_trip);
    }
}

impl Traffic {
    fn add(&mut self, bytes: usize, now: Millis) {
        self.messages += 1;
        self.bytes += bytes as u64;
        self.rate.add(bytes, now);
    }
}
