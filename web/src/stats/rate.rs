//! Bytes and messages in each of the last seconds.

use crate::time::Millis;

/// The seconds that are kept.
pub const SECONDS: usize = 60;

/// Bytes and messages of the last [`SECONDS`] seconds, in a ring.
#[derive(Clone, Debug)]
pub struct Rate {
    seconds: [Volume; SECONDS],
    /// The latest second with a message, counted from 1970.
    latest: u64,
}

/// A number of messages, and the bytes in them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Volume {
    /// Payload bytes.
    pub bytes: u64,
    /// Messages.
    pub messages: u32,
}

impl Volume {
    /// One message with this many bytes.
    pub fn message(bytes: usize) -> Volume {
        Volume { bytes: bytes as u64, messages: 1 }
    }
}

impl Default for Rate {
    fn default() -> Self {
        Rate { seconds: [Volume::default(); SECONDS], latest: 0 }
    }
}

impl Rate {
    /// Counts messages.
    pub fn add(&mut self, volume: Volume, now: Millis) {
        let second = (now / 1000.0) as u64;
        for gone in (self.latest + 1..=second).rev().take(SECONDS) {
            self.seconds[slot(gone)] = Volume::default();
        }
        self.latest = self.latest.max(second);
        let this = &mut self.seconds[slot(self.latest)];
        this.bytes += volume.bytes;
        this.messages += volume.messages;
    }

    /// The traffic of the last full second.
    pub fn last(&self, now: Millis) -> Volume {
        self.at((now / 1000.0) as u64 - 1)
    }

    /// The last [`SECONDS`] seconds, the current one included, oldest first.
    pub fn seconds(&self, now: Millis) -> impl Iterator<Item = Volume> {
        let second = (now / 1000.0) as u64;
        (second.saturating_sub(SECONDS as u64 - 1)..=second).map(|second| self.at(second))
    }

    fn at(&self, second: u64) -> Volume {
        let is_known = second <= self.latest && second + SECONDS as u64 > self.latest;
        if is_known { self.seconds[slot(second)] } else { Volume::default() }
    }
}

fn slot(second: u64) -> usize {
    (second % SECONDS as u64) as usize
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_last_full_second_is_the_rate() {
        let mut rate = Rate::default();
        rate.add(Volume { bytes: 10, messages: 1 }, 100_100.0);
        rate.add(Volume { bytes: 20, messages: 1 }, 100_900.0);
        rate.add(Volume { bytes: 40, messages: 1 }, 101_100.0);
        assert_eq!(rate.last(101_500.0), Volume { bytes: 30, messages: 2 });
        assert_eq!(rate.last(102_500.0), Volume { bytes: 40, messages: 1 });
        assert_eq!(rate.last(103_500.0), Volume::default());
        assert_eq!(rate.last(100_500.0 + 60_000.0), Volume::default(), "a minute later");
    }

    proptest! {
        #[test]
        fn every_byte_of_the_last_minute_is_in_its_second(
            waits in prop::collection::vec((0..20_000u32, 0..1000usize), 1..60),
        ) {
            let mut rate = Rate::default();
            let (mut now, mut all) = (1e9, Vec::new());
            for (wait, bytes) in waits {
                now += f64::from(wait);
                rate.add(Volume::message(bytes), now);
                all.push(((now / 1000.0) as u64, bytes as u64));
            }
            let this = (now / 1000.0) as u64;
            let expected: u64 =
                all.iter().filter(|(second, _)| second + 60 > this).map(|(_, bytes)| bytes).sum();
            let reported: u64 = rate.seconds(now).map(|second| second.bytes).sum();
            prop_assert_eq!(reported, expected);
        }
    }
}
