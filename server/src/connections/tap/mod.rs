//! Taps: observers of live connections.
//!
//! - [`awaiting`]: the observers that wait for the next connection
//! - [`sink`]: a bounded queue of events, from connections to one observer
//! - [`observers`]: the observers of one connection
//! - `history`: the last events of a slow connection, for a later observer; `histories`: the memory
//!   that all histories share
//!
//! The cost of a side without an observer is one load of a flag for each read and write
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
use echogate_proto::recording::{Direction, Side, TapPoint};

use crate::recording::wire::WireEvent;

/// The sides of a connection that an observer sees.
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
    pub(crate) point: TapPoint,
    pub(crate) parts: &'a [IoSlice<'a>],
    pub(crate) len: usize,
    pub(crate) is_datagram: bool,
}

impl Passed<'_> {
    /// The event, with a copy of the payload.
    fn event(&self) -> WireEvent {
        let Passed { point, parts, len, is_datagram } = *self;
        let mut copied = Vec::with_capacity(len);
        for part in parts {
            copied.extend_from_slice(&part[..part.len().min(len - copied.len())]);
        }
        let copied = Bytes::from(copied);
        if is_datagram {
            WireEvent::Datagram(point, copied)
        } else {
            WireEvent::Bytes(point, copied)
        }
    }
}

/// The tap point of what is read from a side.
pub(crate) fn input(side: Side) -> TapPoint {
    let direction = match side {
        Side::Client => Direction::ToServer,
        Side::Upstream => Direction::ToClient,
    };
    TapPoint { side, direction }
}

/// The tap point of what is written to a side.
pub(crate) fn output(side: Side) -> TapPoint {
    let direction = match side {
        Side::Client => Direction::ToClient,
        Side::Upstream => Direction::ToServer,
    };
    TapPoint { side, direction }
}

/// A set of tap points.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct TapPoints(u8);

impl TapPoints {
    fn bit(point: TapPoint) -> u8 {
        1 << point.index()
    }

    fn contains(self, point: TapPoint) -> bool {
        self.0 & TapPoints::bit(point) != 0
    }

    /// Adds an element; false if the set contained it already.
    fn insert(&mut self, point: TapPoint) -> bool {
        let is_new = !self.contains(point);
        self.0 |= TapPoints::bit(point);
        is_new
    }

    fn remove(&mut self, point: TapPoint) {
        self.0 &= !TapPoints::bit(point);
    }
}
