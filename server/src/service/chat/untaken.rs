//! Events of another replica that operators here have not taken yet.

use std::{collections::BTreeMap, sync::Arc};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// The sequence numbers of events that are queued for operators. Clones share their state.
#[derive(Clone, Debug)]
pub(super) struct Untaken {
    /// The number of guards of each sequence number.
    guards: Arc<Mutex<BTreeMap<u64, usize>>>,
    changed: Arc<Notify>,
}

/// The guard of an event or of a snapshot, dropped when every operator has taken or dropped the events
/// that hold it.
#[derive(Debug)]
pub(super) struct UntakenGuard {
    untaken: Untaken,
    sequence: u64,
}

impl Untaken {
    /// No events. `changed` is notified whenever operators have taken one.
    pub(super) fn new(changed: Arc<Notify>) -> Untaken {
        Untaken { guards: Arc::default(), changed }
    }

    /// Adds the event with a sequence number.
    pub(super) fn guard(&self, sequence: u64) -> Arc<UntakenGuard> {
        self.change(|guards| *guards.entry(sequence).or_default() += 1);
        Arc::new(UntakenGuard { untaken: self.clone(), sequence })
    }

    /// The sequence number of the first event that an operator has not taken.
    pub(super) fn first(&self) -> Option<u64> {
        self.change(|guards| guards.first_key_value().map(|(sequence, _)| *sequence))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BTreeMap<u64, usize>) -> T) -> T {
        change(&mut self.guards.lock())
    }
}

impl Drop for UntakenGuard {
    fn drop(&mut self) {
        self.untaken.change(|guards| {
            if let Some(count) = guards.get_mut(&self.sequence) {
                *count -= 1;
                if *count == 0 {
                    guards.remove(&self.sequence);
                }
            }
        });
        self.untaken.changed.notify_one();
    }
}
