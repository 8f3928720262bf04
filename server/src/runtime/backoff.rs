//! The delays between attempts to connect.

use std::{
    hash::{BuildHasher, RandomState},
    time::Duration,
};

use echogate_proto::backoff;

/// The delay before reconnection attempt `attempt`, counted from 1 ([`backoff::delay`] with a random
/// jitter).
pub(crate) fn delay(attempt: u32) -> Duration {
    // The keys of each `RandomState` are random, and so is the hash of `()`.
    let random = RandomState::new().hash_one(()) as u32;
    backoff::delay(attempt, f64::from(random) / f64::from(u32::MAX))
}
