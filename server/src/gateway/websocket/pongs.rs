//! The Pong frames that are to be sent.

use echogate_proto::ws::{OpCode, frame::control_frame};

/// The maximum number of waiting Pongs, which bounds the memory. Of further Pings only the latest
/// is answered, as RFC 6455 section 5.5.3 allows.
const MAX_WAITING: u8 = 16;

/// The Pong frames that answer a peer's Pings, in order.
#[derive(Debug, Default)]
pub(in crate::gateway) struct Pongs {
    frames: Vec<u8>,
    count: u8,
    /// The position at which the latest frame begins.
    latest: usize,
}

impl Pongs {
    /// Adds the Pong for a Ping with this payload.
    pub(in crate::gateway) fn answer(&mut self, payload: &[u8]) {
        if self.count == MAX_WAITING {
            self.frames.truncate(self.latest);
        } else {
            self.count += 1;
        }
        self.latest = self.frames.len();
        self.frames.extend(control_frame(OpCode::Pong, payload));
    }

    /// The bytes of all frames.
    pub(in crate::gateway) fn into_bytes(self) -> Vec<u8> {
        self.frames
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_pings_and_the_latest_are_answered() {
        let mut pongs = Pongs::default();
        (0..100_u8).for_each(|ping| pongs.answer(&[ping]));
        let answered: Vec<u8> = pongs.into_bytes().chunks(3).map(|frame| frame[2]).collect();
        assert_eq!(answered, (0..15).chain([99]).collect::<Vec<u8>>());
    }
}
