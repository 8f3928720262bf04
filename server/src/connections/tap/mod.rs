//! Taps: observers of live connections.
//!
//! - [`awaiting`]: the observers that wait for the next connection
//! - [`sink`]: a bounded queue of events, from connections to one observer
//! - [`observers`]: the observers of one connection
//! - `history`: the last events of a slow connection, for an observer to come; `histories`: the
//!   memory that all of them share
//!
//! A side without an observer pays for one load of a flag for each read and write
//! ([`Entry::is_tapped`](super::registry::Entry::is_tapped)). Nothing is decoded here.

pub(crate) mod awaiting;
mod histories;
mod history;
pub(crate) mod observers;
pub(crate) mod sink;
#[cfg(test)]
mod tests;

pub(crate) use self::{
    awaiting::{Awaiting, AwaitingObserver},
    histories::Histories,
    observers::{AttachError, Observers},
    sink::{Batch, Budget, Sink},
};

use std::io::IoSlice;

use bytes::Bytes;
use echogate_proto::recording::{Direction, Place, Side};

use crate::recording::wire::WireEvent;

/// The sides of a connection that an observer wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Sides {
    /// The client's side.
    Client,
    /// The upstream's side.
    Upstream,
    /// Both sides.
    Both,
}

impl Sides {
    fn contains(self, side: Side) -> bool {
        match self {
            Sides::Client => side == Side::Client,
            Sides::Upstream => side == Side::Upstream,
            Sides::Both => true,
        }
    }
}

/// Payload that was read or written: the first `len` bytes of `parts`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Passed<'a> {
    pub(crate) place: Place,
    pub(crate) parts: &'a [IoSlice<'a>],
    pub(crate) len: usize,
    pub(crate) is_datagram: bool,
}

impl Passed<'_> {
    /// The event, with a copy of the payload.
    fn event(&self) -> WireEvent {
        let Passed { place, parts, len, is_datagram } = *self;
        let mut copied = Vec::with_capacity(len);
        for part in parts {
            copied.extend_from_slice(&part[..part.len().min(len - copied.len())]);
        }
        let copied = Bytes::from(copied);
        if is_datagram {
            WireEvent::Datagram(place, copied)
        } else {
            WireEvent::Bytes(place, copied)
        }
    }
}

/// The side and direction of what is read from a side.
pub(crate) fn input(side: Side) -> Place {
    let direction = match side {
        Side::Client => Direction::ToServer,
        Side::Upstream => Direction::ToClient,
    };
    Place { side, direction }
}

/// The side and direction of what is written to a side.
pub(crate) fn output(side: Side) -> Place {
    let direction = match side {
        Side::Client => Direction::ToClient,
        Side::Upstream => Direction::ToServer,
    };
    Place { side, direction }
}

/// A set of sides and directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Places(u8);

impl Places {
    /// Both directions of a side.
    fn of_side(side: Side) -> Places {
        Places(Places::bit(input(side)) | Places::bit(output(side)))
    }

    fn bit(place: Place) -> u8 {
        1 << index(place)
    }

    fn contains(self, place: Place) -> bool {
        self.0 & Places::bit(place) != 0
    }

    /// Adds an element; false if it was there.
    fn insert(&mut self, place: Place) -> bool {
        let is_new = !self.contains(place);
        self.0 |= Places::bit(place);
        is_new
    }

    fn remove(&mut self, place: Place) {
        self.0 &= !Places::bit(place);
    }

    fn union(self, other: Places) -> Places {
        Places(self.0 | other.0)
    }
}

/// A number less than 4 for a side and direction.
fn index(Place { side, direction }: Place) -> usize {
    side as usize * 2 + direction as usize
}
