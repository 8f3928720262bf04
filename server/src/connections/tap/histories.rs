//! The memory that the histories of a server share. When it is used up, the history of the connection
//! that has carried nothing for the longest time is given up.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
};

/// The bytes of all histories at most.
const MAX_BYTES: usize = 2 << 20;

/// The bytes for which a history counts besides its events and the opening handshake: about those of
/// the observers of a connection.
const OVERHEAD: usize = 512;

/// The histories of a server. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    bytes: AtomicUsize,
    /// By the time of an event, which may not be the last one, and the connection.
    holders: Mutex<BTreeMap<(u64, u64), Arc<Times>>>,
}

/// Times of a connection, in nanoseconds since 1970.
#[derive(Debug)]
struct Times {
    last_event: AtomicU64,
    /// The time in the list of holders, which changes under its lock.
    listed: AtomicU64,
}

/// The memory of one history.
#[derive(Debug)]
pub(super) struct Share {
    histories: Histories,
    connection: u64,
    /// The bytes of its description, and those of its events.
    description: usize,
    events: usize,
    times: Arc<Times>,
}

impl Histories {
    /// The memory of a history of `connection` from `time` on, whose description has about `bytes`.
    pub(super) fn begin(&self, connection: u64, time: u64, bytes: usize) -> Share {
        let description = OVERHEAD + bytes;
        let [last_event, listed] = [time, time].map(AtomicU64::new);
        let times = Arc::new(Times { last_event, listed });
        self.0.bytes.fetch_add(description, Ordering::Relaxed);
        self.holders().insert((time, connection), times.clone());
        Share { histories: self.clone(), connection, description, events: 0, times }
    }

    /// The connection whose history is to be given up, if all of them have too many bytes. It is
    /// returned once.
    pub(crate) fn surplus(&self) -> Option<u64> {
        if self.0.bytes.load(Ordering::Relaxed) <= MAX_BYTES {
            return None;
        }
        let mut holders = self.holders();
        loop {
            let ((listed, connection), times) = holders.pop_first()?;
            let last = times.last_event.load(Ordering::Relaxed);
            if last <= listed {
                return Some(connection);
            }
            times.listed.store(last, Ordering::Relaxed);
            holders.insert((last, connection), times);
        }
    }

    fn holders(&self) -> MutexGuard<'_, BTreeMap<(u64, u64), Arc<Times>>> {
        self.0.holders.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Share {
    /// Event at `time`: the history has `bytes` of events now.
    pub(super) fn changed(&mut self, time: u64, bytes: usize) {
        self.times.last_event.store(time, Ordering::Relaxed);
        let total = &self.histories.0.bytes;
        total.fetch_add(bytes, Ordering::Relaxed);
        total.fetch_sub(std::mem::replace(&mut self.events, bytes), Ordering::Relaxed);
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.histories.0.bytes.fetch_sub(self.description + self.events, Ordering::Relaxed);
        let mut holders = self.histories.holders();
        holders.remove(&(self.times.listed.load(Ordering::Relaxed), self.connection));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_connection_that_was_silent_for_the_longest_time_is_given_up_first() {
        let histories = Histories::default();
        let mut shares: Vec<_> = (1..=4).map(|number| histories.begin(number, number, 0)).collect();
        assert_eq!(histories.surplus(), None);
        shares[3].changed(5, MAX_BYTES);
        shares[0].changed(6, 10);
        assert_eq!(histories.surplus(), Some(2));
        shares[2].changed(7, 10);
        assert_eq!(histories.surplus(), Some(4));
        assert_eq!(histories.surplus(), Some(1), "nobody is given up twice");
        shares.truncate(3);
        assert_eq!(histories.surplus(), None);
        shares.clear();
        assert_eq!(histories.0.bytes.load(Ordering::Relaxed), 0);
        assert!(histories.holders().is_empty());
    }
}
