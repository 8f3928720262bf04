//! Bytes that a side is owed although their sender is gone.

use echogate_event_loop::InFlight;
use tokio::time::Instant;

use crate::runtime::delivery::{Delivery, STALL};

/// The delivery of bytes whose sender is gone.
#[derive(Debug)]
pub(super) struct OwedDelivery {
    pub(super) delivery: Delivery,
    /// The number of bytes written since the connection was made.
    written: u64,
}

impl OwedDelivery {
    /// A delivery that begins `now`, after `written` bytes.
    pub(super) fn new(now: Instant, written: u64) -> OwedDelivery {
        OwedDelivery { delivery: Delivery::new(now, STALL), written }
    }

    /// Records the current state. Each written byte is progress, even if as many new ones wait.
    pub(super) fn update(
        &mut self,
        now: Instant,
        written: u64,
        unwritten: usize,
        in_flight: Option<InFlight>,
    ) {
        if std::mem::replace(&mut self.written, written) != written {
            self.delivery.progressed(now);
        }
        self.delivery.update(now, unwritten, 0, in_flight);
    }
}
