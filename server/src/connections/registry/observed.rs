//! The state of an entry for its observers and for the time to the upstream's first byte: one byte
//! of flags, and a box.

use echogate_proto::api::Legs;

use crate::connections::tap::Observers;

/// Flag: the client's side has observers or a history.
pub(super) const CLIENT_TAPPED: u8 = 1;

/// Flag: the same for the upstream's side.
pub(super) const UPSTREAM_TAPPED: u8 = 32;

/// Flag: an observer does not know the position within the frames of a direction.
pub(super) const AWAITS_POSITION: u8 = 64;

/// Flag: there are frames of the WebSocket protocol on the upstream's side.
pub(super) const UPSTREAM_HAS_FRAMES: u8 = 2;

/// Flag: the connection has ended, or its task was dropped, so that it can no longer be observed.
pub(super) const ENDED: u8 = 4;

/// The flags that follow from the observers.
pub(super) const OBSERVED: u8 = CLIENT_TAPPED | UPSTREAM_TAPPED | AWAITS_POSITION;

/// Flag: nothing was written to the upstream yet, and its connection has metrics.
pub(super) const AWAITS_WRITE: u8 = 8;

/// Flag: nothing was read from the upstream yet, and its connection has metrics.
pub(super) const AWAITS_READ: u8 = 16;

/// The flags of a connection that begins.
pub(super) fn first_flags(has_metrics: bool) -> u8 {
    if has_metrics { AWAITS_WRITE | AWAITS_READ } else { 0 }
}

/// The state that only an observed connection has, in one box.
#[derive(Debug, Default)]
pub(super) struct Observed {
    pub(super) legs: Option<Legs>,
    pub(super) tap: Option<Box<Observers>>,
}
