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
    rate::{Rate, Volume},
    series::Series,
};
use crate::time::Millis;

/// The measurements of one connection.
#[derive(Clone, Debug, Default)]
pub struct Stats {
    /// Messages sent to the browser's socket.
    pub sent: DirectionStats,
    /// Messages received.
    pub received: DirectionStats,
    /// The distribution of round trips.
    pub round_trips: Histogram,
    /// Recent round trips over time.
    pub recent: Series,
    /// The number of replies whose message was sent while others were outstanding.
    pub overlapping: u64,
}

/// Messages in one direction.
#[derive(Clone, Debug, Default)]
pub struct DirectionStats {
    /// The number of messages.
    pub messages: u64,
    /// The payload bytes of the messages.
    pub bytes: u64,
    /// Bytes and messages per second.
    pub rate: Rate,
}

impl Stats {
    /// Counts a sent message.
    pub fn sent(&mut self, bytes: usize, now: Millis) {
        self.sent.add(Volume::message(bytes), now);
    }

    /// Counts a received message.
    pub fn received(&mut self, bytes: usize, now: Millis) {
        self.received.add(Volume::message(bytes), now);
    }

    /// Counts messages in both directions.
    pub fn moved(&mut self, sent: Volume, received: Volume, now: Millis) {
        self.sent.add(sent, now);
        self.received.add(received, now);
    }

    /// Forgets all replies.
    pub fn forget_replies(&mut self) {
        (self.round_trips, self.recent) = (Histogram::default(), Series::default());
        self.overlapping = 0;
    }

    /// Counts a reply; `overlaps` says whether others were outstanding when its message was sent.
    pub fn answered(&mut self, round_trip: Millis, now: Millis, overlaps: bool) {
        self.overlapping += u64::from(overlaps);
        self.round_trips.add(round_trip);
        self.recent.add(now, round_trip);
    }
}

impl DirectionStats {
    fn add(&mut self, volume: Volume, now: Millis) {
        self.messages += u64::from(volume.messages);
        self.bytes += volume.bytes;
        self.rate.add(volume, now);
    }
}
