//! Measurements of one connection.
//!
//! - [`histogram`]: the distribution of round trips
//! - [`series`]: recent round trips over time
//! - [`rate`]: throughput per second

pub mod histogram;
pub mod rate;
pub mod series;

pub use self::{
    histogram::Histogram,
    rate::{Rate, Second},
    series::Series,
};
use crate::time::Millis;

/// The measurements of one connection.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Messages sent to the browser's socket.
    pub sent: Traffic,
    /// Messages received.
    pub received: Traffic,
    /// The distribution of round trips.
    pub round_trips: Histogram,
    /// Recent round trips over time.
    pub recent: Series,
}

/// Messages in one direction.
#[derive(Clone, Debug, Default)]
pub struct Traffic {
    /// The number of messages.
    pub messages: u64,
    /// Their payload bytes.
    pub bytes: u64,
    /// Bytes and messages per second.
    pub rate: Rate,
}

impl Stats {
    /// Counts a sent message.
    pub fn sent(&mut self, bytes: usize, now: Millis) {
        self.sent.add(bytes, now);
    }

    /// Counts a received message.
    pub fn received(&mut self, bytes: usize, now: Millis) {
        self.received.add(bytes, now);
    }

    /// Counts messages in both directions.
    pub fn moved(&mut self, sent: Second, received: Second, now: Millis) {
        self.sent.add_many(sent, now);
        self.received.add_many(received, now);
    }

    /// Counts a reply.
    pub fn answered(&mut self, round_trip: Millis, now: Millis) {
        self.round_trips.add(round_trip);
        self.recent.add(now, round_trip);
    }
}

impl Traffic {
    fn add(&mut self, bytes: usize, now: Millis) {
        self.add_many(Second { bytes: bytes as u64, messages: 1 }, now);
    }

    fn add_many(&mut self, traffic: Second, now: Millis) {
        self.messages += u64::from(traffic.messages);
        self.bytes += traffic.bytes;
        self.rate.add(traffic, now);
    }
}
