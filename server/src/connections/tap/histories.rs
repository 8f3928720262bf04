//! The memory that the histories of a server share. When the memory is used up, the history of the
//! connection that was silent for the longest time is dropped.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicU64, AtomicUsize, Ordering},
    },
    time::Instant,
};

use parking_lot::Mutex;

/// The maximum size of all histories together, in bytes.
const MAX_BYTES: usize = 256 * 1024;

/// The number of bytes that each history counts in addition to its events and the opening
/// handshake: about the size of the observers of a connection with their description, and of the
/// entry in the list.
const OVERHEAD: usize = 768;

/// The histories of a server. Clones share their state.
#[derive(Clone, Debug, Default)]
pub(crate) struct Histories(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    start: Instant,
    bytes: AtomicUsize,
    /// The connections with a history, by the time of an event that is not necessarily the last
    /// one.
    by_last_event: Mutex<BTreeMap<(u64, u64), Arc<Times>>>,
}

impl Default for Inner {
    fn default() -> Inner {
        Inner { start: Instant::now(), bytes: AtomicUsize::new(0), by_last_event: Mutex::default() }
    }
}

impl Inner {
    /// A time in nanoseconds since the start.
    fn nanoseconds(&self, at: Instant) -> u64 {
        u64::try_from(at.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// Times of a connection, in nanoseconds since the start.
#[derive(Debug)]
struct Times {
    last_event: AtomicU64,
    /// The time by which the connection is listed in `by_last_event`, changed under the lock of
    /// that map.
    listed: AtomicU64,
}

/// The memory of one history.
#[derive(Debug)]
pub(super) struct HistoryMemory {
    histories: Histories,
    connection: u64,
    /// The sizes of the description and of the events, in bytes.
    description: usize,
    events: usize,
    times: Arc<Times>,
}

impl Histories {
    /// The memory of a history of `connection` that begins at `at`, with a description of about
    /// `bytes`.
    pub(super) fn begin(&self, connection: u64, at: Instant, bytes: usize) -> HistoryMemory {
        let time = self.0.nanoseconds(at);
        let description = OVERHEAD + bytes;
        let [last_event, listed] = [time, time].map(AtomicU64::new);
        let times = Arc::new(Times { last_event, listed });
        self.0.bytes.fetch_add(description, Ordering::Relaxed);
        self.0.by_last_event.lock().insert((time, connection), times.clone());
        HistoryMemory { histories: self.clone(), connection, description, events: 0, times }
    }

    /// The connection whose history is to be dropped, if all histories together are too large. A
    /// connection is returned once.
    pub(crate) fn next_to_evict(&self) -> Option<u64> {
        if self.0.bytes.load(Ordering::Relaxed) <= MAX_BYTES {
            return None;
        }
        let mut by_last_event = self.0.by_last_event.lock();
        loop {
            let ((listed, connection), times) = by_last_event.pop_first()?;
            let last = times.last_event.load(Ordering::Relaxed);
            if last <= listed {
                return Some(connection);
            }
            times.listed.store(last, Ordering::Relaxed);
            by_last_event.insert((last, connection), times);
        }
    }
}

impl HistoryMemory {
    /// Records an event at `at`, after which the events of the history have `bytes`.
    pub(super) fn changed(&mut self, at: Instant, bytes: usize) {
        let time = self.histories.0.nanoseconds(at);
        self.times.last_event.store(time, Ordering::Relaxed);
        let total = &self.histories.0.bytes;
        total.fetch_add(bytes, Ordering::Relaxed);
        total.fetch_sub(std::mem::replace(&mut self.events, bytes), Ordering::Relaxed);
    }
}

impl Drop for HistoryMemory {
    fn drop(&mut self) {
        self.histories.0.bytes.fetch_sub(self.description + self.events, Ordering::Relaxed);
        let mut by_last_event = self.histories.0.by_last_event.lock();
        by_last_event.remove(&(self.times.listed.load(Ordering::Relaxed), self.connection));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn the_history_of_the_connection_that_was_silent_for_the_longest_time_is_dropped_first() {
        let histories = Histories::default();
        let start = histories.0.start;
        let at = |seconds| start + Duration::from_secs(seconds);
        let mut all: Vec<_> =
            (1..=4).map(|number| histories.begin(number, at(number), 0)).collect();
        assert_eq!(histories.next_to_evict(), None);
        all[3].changed(at(5), MAX_BYTES);
        all[0].changed(at(6), 10);
        assert_eq!(histories.next_to_evict(), Some(2));
        all[2].changed(at(7), 10);
        assert_eq!(histories.next_to_evict(), Some(4));
        assert_eq!(histories.next_to_evict(), Some(1), "no history is dropped twice");
        all.truncate(3);
        assert_eq!(histories.next_to_evict(), None);
        all.clear();
        assert_eq!(histories.0.bytes.load(Ordering::Relaxed), 0);
        assert!(histories.0.by_last_event.lock().is_empty());
    }
}
