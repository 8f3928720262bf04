//! A bounded queue of events, from connections to one observer. A full queue loses events and
//! counts them; a connection never waits.

use std::{
    collections::{BTreeMap, VecDeque},
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering},
    },
    task::{Context, Poll, Waker},
};

use echogate_proto::recording::Lost;
use parking_lot::{Mutex, MutexGuard};

use crate::recording::wire::{self, WireEvent, WireRecord};

/// The number of bytes that an event counts in addition to its payload: about the size of its record.
pub(super) const OVERHEAD: usize = 96;

/// The number of events for which a [`Batch`] and its queue keep memory although they have fewer.
const MAX_IDLE_BATCH: usize = 1024;

/// The identifier under which the connections are counted together whose first event was lost: they
/// are not observed, and there may be any number of them.
const UNOBSERVED: u64 = 0;

/// The maximum size of all queues of one kind together, and the number of events that they have lost.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
    lost_events: AtomicU64,
}

impl Budget {
    pub(crate) fn new(max: usize) -> Budget {
        Budget { max, used: AtomicUsize::new(0), lost_events: AtomicU64::new(0) }
    }

    /// The number of events that were lost since the start.
    pub(crate) fn lost_events(&self) -> u64 {
        self.lost_events.load(Ordering::Relaxed)
    }

    fn take(&self, bytes: usize) -> bool {
        let more = |used: usize| used.checked_add(bytes).filter(|used| *used <= self.max);
        self.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.used.fetch_sub(bytes, Ordering::Relaxed);
    }
}

/// A queue of events. Clones share the queue.
#[derive(Clone, Debug)]
pub(crate) struct Sink(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    queue: Mutex<Queue>,
    /// The bytes in the queue, which change under its lock.
    bytes: AtomicUsize,
    is_closed: AtomicBool,
    /// The maximum number of bytes.
    max: usize,
    budget: Arc<Budget>,
}

#[derive(Debug, Default)]
struct Queue {
    records: VecDeque<(WireRecord, usize)>,
    /// The losses of each observed connection since its last event in the queue, and of those that
    /// are [`UNOBSERVED`].
    lost: BTreeMap<u64, Lost>,
    /// The task or thread that waits for events.
    waiting: Option<Waiting>,
}

/// A task or thread that waits for events.
#[derive(Debug)]
struct Waiting {
    waker: Waker,
    /// The size of the queue in bytes at which it is woken; 0 for any event.
    size: usize,
}

/// Events that were taken together.
#[derive(Debug, Default)]
pub(crate) struct Batch(VecDeque<(WireRecord, usize)>);

impl Batch {
    /// Takes the events out.
    pub(crate) fn drain(&mut self) -> impl Iterator<Item = WireRecord> {
        self.0.drain(..).map(|(record, _)| record)
    }

    /// Adds the losses after the events.
    fn add_losses(&mut self, lost: BTreeMap<u64, Lost>) {
        self.0.extend(lost.into_iter().map(|lost| (lost_record(lost), 0)));
    }
}

impl Sink {
    /// A queue of at most `max` bytes. Each event counts as its payload and [`OVERHEAD`].
    pub(crate) fn new(max: usize, budget: Arc<Budget>) -> Sink {
        Sink(Arc::new(Inner {
            queue: Mutex::default(),
            bytes: AtomicUsize::new(0),
            is_closed: AtomicBool::new(false),
            max,
            budget,
        }))
    }

    /// Waits for the next event.
    pub(crate) async fn receive(&self) -> WireRecord {
        poll_fn(|cx| self.poll_receive(cx)).await
    }

    /// The next event. One task may wait for it.
    pub(crate) fn poll_receive(&self, cx: &mut Context<'_>) -> Poll<WireRecord> {
        let mut queue = self.0.queue.lock();
        if let Some(record) = self.next(&mut queue) {
            return Poll::Ready(record);
        }
        queue.waiting = Some(Waiting { waker: cx.waker().clone(), size: 0 });
        Poll::Pending
    }

    /// Registers `waker`, which is woken once: when the queue reaches `size` bytes, at any event if
    /// that is 0, or when an event is lost. False, and nothing is registered, if the queue has
    /// reached that size before.
    pub(crate) fn wake_at_size(&self, size: usize, waker: &Waker) -> bool {
        let mut queue = self.0.queue.lock();
        let is_empty = queue.records.is_empty() && queue.lost.is_empty();
        let waits = is_empty || self.0.bytes.load(Ordering::Relaxed) < size;
        queue.waiting = waits.then(|| Waiting { waker: waker.clone(), size });
        waits
    }

    /// Exchanges all events for an empty `batch`, whose memory is used again. False if there are
    /// none.
    pub(crate) fn take(&self, batch: &mut Batch) -> bool {
        let mut queue = self.0.queue.lock();
        std::mem::swap(&mut queue.records, &mut batch.0);
        let lost = std::mem::take(&mut queue.lost);
        self.0.budget.release(self.0.bytes.swap(0, Ordering::Relaxed));
        let is_empty = batch.0.is_empty() && lost.is_empty();
        // The observer is awake.
        queue.waiting = None;
        // The memory of a burst, which is released behind the lock.
        let has_few = batch.0.len() <= MAX_IDLE_BATCH;
        let is_large = queue.records.capacity() > 2 * MAX_IDLE_BATCH;
        let burst = (has_few && is_large).then(|| std::mem::take(&mut queue.records));
        drop(queue);
        drop(burst);
        batch.add_losses(lost);
        if is_empty {
            batch.0.shrink_to(MAX_IDLE_BATCH);
        }
        !is_empty
    }

    /// Ends the observation: nothing is queued any more. Returns the events that were queued.
    pub(crate) fn close(&self) -> Batch {
        let mut queue = self.0.queue.lock();
        self.0.is_closed.store(true, Ordering::Relaxed);
        let (records, lost) = (std::mem::take(&mut queue.records), std::mem::take(&mut queue.lost));
        self.0.budget.release(self.0.bytes.swap(0, Ordering::Relaxed));
        drop(queue);
        let mut batch = Batch(records);
        batch.add_losses(lost);
        batch
    }

    /// Adds events that the observer has taken and could not write to the lost ones.
    pub(crate) fn count_lost(&self, events: u64) {
        self.0.budget.lost_events.fetch_add(events, Ordering::Relaxed);
    }

    /// Whether the observation has ended.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed.load(Ordering::Relaxed)
    }

    /// Whether there is room for an event with `bytes` of payload.
    pub(super) fn has_room(&self, bytes: usize) -> bool {
        !self.is_closed() && self.0.bytes.load(Ordering::Relaxed) + bytes + OVERHEAD <= self.0.max
    }

    /// Queues an event with `bytes` of payload if there is room; otherwise it is lost.
    pub(super) fn push(&self, record: WireRecord, bytes: usize) -> bool {
        let mut queue = self.0.queue.lock();
        let size = bytes + OVERHEAD;
        if !self.has_room(bytes) || !self.0.budget.take(size) {
            let is_first = matches!(record.event, WireEvent::Opened(_));
            let connection = if is_first { UNOBSERVED } else { record.connection };
            self.lose_in(queue, connection, bytes);
            return false;
        }
        queue.put(record, size);
        let queued = self.0.bytes.fetch_add(size, Ordering::Relaxed) + size;
        wake(queue, queued);
        true
    }

    /// Queues the last event of a connection, for which the first one has made room.
    pub(super) fn push_last(&self, record: WireRecord) {
        let mut queue = self.0.queue.lock();
        if self.is_closed() {
            return;
        }
        queue.put(record, 0);
        wake(queue, self.0.bytes.load(Ordering::Relaxed));
    }

    /// Counts an event as lost.
    pub(super) fn lose(&self, connection: u64, bytes: usize) {
        self.lose_in(self.0.queue.lock(), connection, bytes);
    }

    fn lose_in(&self, mut queue: MutexGuard<'_, Queue>, connection: u64, bytes: usize) {
        if self.is_closed() {
            return;
        }
        self.0.budget.lost_events.fetch_add(1, Ordering::Relaxed);
        let lost = queue.lost.entry(connection).or_default();
        lost.events += 1;
        lost.bytes += bytes as u64;
        wake(queue, usize::MAX);
    }

    /// Takes the next event: after all others the numbers of lost ones.
    fn next(&self, queue: &mut Queue) -> Option<WireRecord> {
        if let Some((record, size)) = queue.records.pop_front() {
            self.0.bytes.fetch_sub(size, Ordering::Relaxed);
            self.0.budget.release(size);
            return Some(record);
        }
        queue.lost.pop_first().map(lost_record)
    }
}

/// Wakes the observer, after the lock is released, if the queue's `bytes` have reached the size that
/// it waits for.
fn wake(mut queue: MutexGuard<'_, Queue>, bytes: usize) {
    let woken = queue.waiting.take_if(|waiting| bytes >= waiting.size);
    drop(queue);
    if let Some(Waiting { waker, .. }) = woken {
        waker.wake();
    }
}

impl Queue {
    /// Queues an event, after the number of those that its connection has lost.
    fn put(&mut self, record: WireRecord, size: usize) {
        if let Some(lost) = self.lost.remove(&record.connection) {
            let event = WireEvent::Lost(lost);
            self.records.push_back((WireRecord { event, ..record }, 0));
        }
        self.records.push_back((record, size));
    }
}

fn lost_record((connection, lost): (u64, Lost)) -> WireRecord {
    WireRecord { time: wire::now(), connection, event: WireEvent::Lost(lost) }
}

impl Drop for Inner {
    fn drop(&mut self) {
        self.budget.release(*self.bytes.get_mut());
    }
}

#[cfg(test)]
mod tests {
    use std::task::Wake;

    use bytes::Bytes;
    use echogate_proto::recording::Side;
    use futures_util::FutureExt as _;

    use super::*;
    use crate::connections::tap::input;

    fn record(connection: u64, len: usize) -> WireRecord {
        let event = WireEvent::Bytes(input(Side::Client), Bytes::from(vec![b'x'; len]));
        WireRecord { time: 1, connection, event }
    }

    fn received(sink: &Sink) -> Vec<(u64, WireEvent)> {
        let next = || sink.receive().now_or_never().map(|record| (record.connection, record.event));
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_full_queue_loses_events_and_says_how_many_before_the_next_and_at_its_end() {
        let budget = Arc::new(Budget::new(10_000));
        let sink = Sink::new(1000, budget.clone());
        assert!(sink.push(record(1, 800), 800));
        assert!(!sink.push(record(1, 100), 100));
        assert!(!sink.push(record(2, 50), 50));
        assert!(!sink.push(record(1, 100), 100));
        let lost = |events, bytes| WireEvent::Lost(Lost { events, bytes });
        let all = received(&sink);
        let [(1, WireEvent::Bytes(_, first)), (1, lost_1), (2, lost_2)] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!(first.len(), 800);
        assert_eq!(
            format!("{lost_1:?} {lost_2:?}"),
            format!("{:?} {:?}", lost(2, 200), lost(1, 50))
        );
        assert_eq!(budget.lost_events(), 3);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0);

        assert!(sink.push(record(1, 900), 900));
        assert!(!sink.push(record(1, 7), 7));
        assert!(sink.receive().now_or_never().is_some());
        assert!(sink.push(record(1, 8), 8));
        let all = received(&sink);
        assert!(matches!(
            &all[..],
            [(1, WireEvent::Lost(Lost { events: 1, bytes: 7 })), (1, WireEvent::Bytes(..))]
        ));
        sink.push(record(1, 5), 5);
        drop(sink);
        assert_eq!(budget.used.load(Ordering::Relaxed), 0, "a dropped queue holds nothing");
    }

    #[test]
    fn an_observer_is_woken_once_at_the_size_that_it_waits_for_or_by_a_loss() {
        struct Count(AtomicUsize);
        impl Wake for Count {
            fn wake(self: Arc<Self>) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let count = Arc::new(Count(AtomicUsize::new(0)));
        let (waker, woken) = (Waker::from(count.clone()), || count.0.load(Ordering::Relaxed));
        let sink = Sink::new(2000, Arc::new(Budget::new(2000)));
        let mut batch = Batch::default();

        assert!(sink.wake_at_size(0, &waker));
        assert!(sink.push(record(1, 1), 1));
        assert_eq!(woken(), 1, "the first event");
        assert!(!sink.wake_at_size(0, &waker), "there is one");
        assert!(sink.wake_at_size(1000, &waker));
        assert!(sink.push(record(1, 700), 700));
        assert_eq!(woken(), 1, "893 bytes");
        assert!(sink.push(record(1, 10), 10));
        assert!(sink.push(record(1, 10), 10));
        assert_eq!(woken(), 2, "1,105 bytes");
        assert!(sink.push(record(1, 10), 10));
        assert_eq!(woken(), 2, "once");
        assert!(!sink.wake_at_size(1000, &waker), "there are more");

        assert!(sink.take(&mut batch));
        assert!(sink.wake_at_size(1000, &waker));
        assert!(!sink.push(record(1, 3000), 3000));
        assert_eq!(woken(), 3, "a loss");
        assert!(!sink.wake_at_size(0, &waker));
    }

    #[test]
    fn queues_share_their_budget() {
        let budget = Arc::new(Budget::new(1000));
        let [one, other] = [(); 2].map(|()| Sink::new(800, budget.clone()));
        assert!(one.push(record(1, 600), 600));
        assert!(!other.push(record(1, 600), 600));
        assert!(other.push(record(1, 100), 100));
        one.close();
        assert!(other.push(record(1, 300), 300));
        assert!(!one.push(record(1, 1), 1));
    }

    #[test]
    fn connections_that_find_no_room_for_their_first_event_are_counted_together() {
        let sink = Sink::new(0, Arc::new(Budget::new(0)));
        for connection in 1..=10_000 {
            let event = WireEvent::Opened(Arc::default());
            assert!(!sink.push(WireRecord { time: 1, connection, event }, 7));
        }
        assert!(!sink.push(record(9, 5), 5));
        let all = received(&sink);
        let [(UNOBSERVED, WireEvent::Lost(all)), (9, WireEvent::Lost(one))] = &all[..] else {
            panic!("{all:?}")
        };
        assert_eq!([all.events, all.bytes, one.events, one.bytes], [10_000, 70_000, 1, 5]);
    }

    #[test]
    fn the_memory_of_a_burst_is_released_although_some_events_follow() {
        let sink = Sink::new(1 << 20, Arc::new(Budget::new(1 << 20)));
        let mut batch = Batch::default();
        let mut take = |events| {
            for _ in 0..events {
                assert!(sink.push(record(1, 0), 0));
            }
            assert_eq!(sink.take(&mut batch), events > 0);
            assert_eq!(batch.drain().count(), events);
            batch.0.capacity().max(sink.0.queue.lock().records.capacity())
        };
        assert!(take(10_000) >= 10_000);
        assert!(take(10_000) >= 10_000);
        take(1);
        assert!(take(1) <= 2 * MAX_IDLE_BATCH);
        take(10_000);
        assert!(take(0) <= 2 * MAX_IDLE_BATCH);
    }
}
