//! One limit on HTTP connections, and the connections that hold its permits.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, OnceLock},
};

use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{CountedBy, Timestamp};
use crate::connections::counters::Refusal;

/// The number of silent connections that are not closed before those that have sent something.
pub(super) const SPARED: usize = 256;

/// A limit, and the permits that are held.
#[derive(Debug)]
pub(crate) struct HttpLimit {
    max: usize,
    /// The reason for which a permit is revoked at this limit.
    reason: Refusal,
    held: Mutex<Held>,
}

/// The connections that hold a permit, by their ids.
#[derive(Debug, Default)]
pub(super) struct Held {
    /// Connections on which nothing has been received yet, in the order of their arrival.
    pub(super) silent: BTreeMap<u64, Holder>,
    /// All other connections.
    pub(super) active: BTreeMap<u64, Holder>,
}

/// The connection that holds a permit.
#[derive(Debug)]
pub(super) struct Holder {
    /// The client's address, if the connection is counted by an address.
    address: Option<IpAddr>,
    state: Arc<State>,
}

/// The state that a limit and a connection share.
#[derive(Debug)]
pub(super) struct State {
    pub(super) progress: Timestamp,
    pub(super) revoked: CancellationToken,
    pub(super) reason: OnceLock<Refusal>,
}

impl State {
    pub(super) fn new() -> State {
        State {
            progress: Timestamp::now(),
            revoked: CancellationToken::new(),
            reason: OnceLock::new(),
        }
    }
}

impl HttpLimit {
    pub(super) fn new(max: usize, reason: Refusal) -> HttpLimit {
        HttpLimit { max, reason, held: Mutex::default() }
    }

    pub(crate) fn in_use(&self) -> usize {
        self.held.lock().len()
    }

    pub(crate) fn max(&self) -> usize {
        self.max
    }

    /// Gives a connection a permit of this limit. `kind` selects the silent or the active
    /// connections. If the limit of the address or of all connections is reached, the permit of
    /// another connection is revoked.
    pub(super) fn hold(
        &self,
        id: u64,
        counted_by: Option<CountedBy>,
        state: &Arc<State>,
        kind: impl Fn(&mut Held) -> &mut BTreeMap<u64, Holder>,
    ) {
        let mut held = self.held.lock();
        let address = counted_by.map(|(ip, _)| ip);
        let max_of_address = counted_by.map_or(usize::MAX, |(_, max)| max as usize);
        let is_same = |holder: &Holder| holder.address == address;
        let revoked = if held.len() >= max_of_address && held.count(is_same) >= max_of_address {
            held.remove_first(max_of_address, is_same).zip(Some(Refusal::MaxPerAddress))
        } else if held.len() >= self.max {
            held.remove_first(self.max, |_| true).zip(Some(self.reason))
        } else {
            None
        };
        kind(&mut held).insert(id, Holder { address, state: state.clone() });
        drop(held);
        if let Some((holder, reason)) = revoked {
            holder.state.reason.set(reason).ok();
            holder.state.revoked.cancel();
        }
    }

    /// Records that the first byte of a connection has arrived.
    pub(super) fn begin(&self, id: u64) {
        let mut held = self.held.lock();
        if let Some(holder) = held.silent.remove(&id) {
            held.active.insert(id, holder);
        }
    }

    pub(super) fn release(&self, id: u64) {
        let mut held = self.held.lock();
        held.silent.remove(&id).or_else(|| held.active.remove(&id));
    }
}

impl Held {
    fn len(&self) -> usize {
        self.silent.len() + self.active.len()
    }

    fn count(&self, of: impl Fn(&Holder) -> bool) -> usize {
        self.silent.values().chain(self.active.values()).filter(|holder| of(holder)).count()
    }

    /// Removes the connection to be closed among those selected by `of`, whose maximum number is
    /// `max`: the oldest silent connection if there are more than are spared, or no active ones;
    /// otherwise the active connection without progress for the longest time.
    fn remove_first(&mut self, max: usize, of: impl Fn(&Holder) -> bool) -> Option<Holder> {
        let spared = SPARED.min(max / 2);
        let mut silent = self.silent.iter().filter(|(_, holder)| of(holder));
        let first_silent = silent.next().map(|(&id, _)| id);
        let are_many = first_silent.is_some() && (spared == 0 || silent.nth(spared - 1).is_some());
        let active = self.active.iter().filter(|(_, holder)| !are_many && of(holder));
        let first = active.min_by_key(|(_, holder)| holder.state.progress.get());
        match first.map(|(&id, _)| id) {
            Some(id) => self.active.remove(&id),
            None => self.silent.remove(&first_silent?),
        }
    }
}
