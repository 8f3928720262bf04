//! Events for operators, queued until an operator takes them.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::take,
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use echogate_proto::chat::ToOperator;
use tokio::sync::OwnedSemaphorePermit;

use super::{kept, untaken::UntakenGuard};

/// The maximum number of client messages in flight, which means queued for at least one operator.
/// Clients are read no faster than operators take their messages.
pub(super) const IN_FLIGHT: usize = 512;

/// The maximum number of messages in flight from one client.
pub(super) const IN_FLIGHT_PER_CLIENT: usize = 32;

/// The limit of an operator's queue, in bytes: 16 MiB. Messages of clients of this replica are limited
/// by [`IN_FLIGHT`], events of other replicas are applied only while at most [`ROOM_BYTES`] are queued.
/// The beginnings and ends of conversations of this replica, and the messages of operators, are not
/// limited.
const QUEUE_BYTES: usize = 16 << 20;

/// The bytes in an operator's queue above which events of other replicas have to wait: 8 MiB.
const ROOM_BYTES: usize = QUEUE_BYTES / 2;

/// Time after which an operator that takes no event of its queue is disconnected, if clients wait.
const STALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The operators that are connected.
#[derive(Debug, Default)]
pub(super) struct Operators {
    last_id: u64,
    queues: BTreeMap<u64, Queue>,
    deferred: Deferred,
}

/// Effects of a change that run after the release of the hub's lock, since they may run code that
/// locks the hub.
#[derive(Debug, Default)]
pub(super) struct Deferred {
    wake: Vec<Waker>,
    /// Events to be dropped, with their permits.
    drop: Vec<Arc<Event>>,
    /// A waker that another one replaced.
    replaced: Option<Waker>,
}

/// The events that an operator has not taken.
#[derive(Debug)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The last time that the operator took an event, or that the queue was empty.
    last_taken: Instant,
    /// The operator's task, while it waits for an event.
    waker: Option<Waker>,
}

/// An event that is reported to operators.
#[derive(Debug)]
pub(crate) struct Event {
    pub(crate) message: ToOperator,
    /// Dropped when the last operator has taken the event.
    _guard: Option<Guard>,
}

/// The party that waits until all operators have taken an event.
#[derive(Debug)]
pub(super) enum Guard {
    /// A client of this replica.
    InFlight { _permit: InFlightPermit },
    /// Another replica.
    Mirrored { _guard: Arc<UntakenGuard> },
}

/// A client's permission to have one message in flight.
#[derive(Debug)]
pub(super) struct InFlightPermit {
    _of_client: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl InFlightPermit {
    /// Combines one of [`IN_FLIGHT_PER_CLIENT`] permits and one of [`IN_FLIGHT`].
    pub(super) fn new(of_client: OwnedSemaphorePermit, of_all: OwnedSemaphorePermit) -> Self {
        InFlightPermit { _of_client: of_client, _of_all: of_all }
    }
}

impl Operators {
    pub(super) fn is_empty(&self) -> bool {
        self.queues.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.queues.len()
    }

    /// Whether events of other replicas can be queued.
    pub(super) fn has_room(&self) -> bool {
        self.queues.values().all(|queue| queue.bytes <= ROOM_BYTES)
    }

    /// A number that no operator has had.
    pub(super) fn new_number(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }

    /// Adds an operator and returns its number.
    pub(super) fn add(&mut self) -> u64 {
        self.last_id += 1;
        let queue =
            Queue { events: VecDeque::new(), bytes: 0, last_taken: Instant::now(), waker: None };
        self.queues.insert(self.last_id, queue);
        self.last_id
    }

    /// Removes an operator and its queue. Returns false if there is no such operator.
    pub(super) fn remove(&mut self, operator: u64) -> bool {
        let Some(queue) = self.queues.remove(&operator) else { return false };
        self.deferred.wake.extend(queue.waker);
        self.deferred.drop.extend(queue.events);
        true
    }

    /// Queues an event for every operator. Operators whose queues are full are disconnected.
    /// Returns the event, which must not be dropped while the hub is locked ([`Self::defer_drop`]) if
    /// it has a guard.
    pub(super) fn report(&mut self, message: ToOperator, guard: Option<Guard>) -> Arc<Event> {
        let event = Arc::new(Event { message, _guard: guard });
        let mut full = Vec::new();
        for (id, queue) in &mut self.queues {
            if !queue.push(&event, &mut self.deferred) {
                full.push(*id);
            }
        }
        self.deferred.drop.push(event.clone());
        full.into_iter().for_each(|id| self.disconnect(id));
        event
    }

    pub(super) fn tell(&mut self, operator: u64, message: ToOperator) {
        let event = Arc::new(Event { message, _guard: None });
        if let Some(queue) = self.queues.get_mut(&operator)
            && !queue.push(&event, &mut self.deferred)
        {
            self.disconnect(operator);
        }
    }

    /// Drops an event after the hub's lock is released.
    pub(super) fn defer_drop(&mut self, event: Arc<Event>) {
        self.deferred.drop.push(event);
    }

    /// Disconnects operators that have taken no event of their queues for [`STALL_TIMEOUT`].
    pub(super) fn disconnect_stalled(&mut self) {
        let stalled = self.queues.iter().filter(|(_, queue)| {
            !queue.events.is_empty() && queue.last_taken.elapsed() >= STALL_TIMEOUT
        });
        for id in stalled.map(|(id, _)| *id).collect::<Vec<_>>() {
            self.disconnect(id);
        }
    }

    /// Removes an operator that does not read its events. The operator's next poll returns none.
    fn disconnect(&mut self, operator: u64) {
        if self.remove(operator) {
            tracing::warn!(operator, "operator disconnected: it does not read its events");
        }
    }

    /// Takes the next event from an operator's queue; none if the operator was removed.
    pub(super) fn poll_event(
        &mut self,
        operator: u64,
        cx: &Context<'_>,
    ) -> Poll<Option<Arc<Event>>> {
        let Some(queue) = self.queues.get_mut(&operator) else { return Poll::Ready(None) };
        let Some(event) = queue.events.pop_front() else {
            self.deferred.replaced = queue.waker.replace(cx.waker().clone());
            return Poll::Pending;
        };
        queue.bytes -= event.size();
        queue.last_taken = Instant::now();
        Poll::Ready(Some(event))
    }

    /// The effects to run when the hub's lock is released.
    pub(super) fn take_deferred(&mut self) -> Deferred {
        take(&mut self.deferred)
    }
}

impl Queue {
    /// Queues an event. False if the queue is full.
    fn push(&mut self, event: &Arc<Event>, deferred: &mut Deferred) -> bool {
        let size = event.size();
        if self.bytes + size > QUEUE_BYTES {
            return false;
        }
        if self.events.is_empty() {
            self.last_taken = Instant::now();
        }
        self.bytes += size;
        self.events.push_back(event.clone());
        deferred.wake.extend(self.waker.take());
        true
    }
}

impl Deferred {
    pub(super) fn run(self) {
        drop((self.drop, self.replaced));
        self.wake.into_iter().for_each(Waker::wake);
    }
}

impl Event {
    /// The memory that the event takes in a queue, in bytes.
    fn size(&self) -> usize {
        let text = match &self.message {
            ToOperator::Said { message, .. } => message.text.len(),
            ToOperator::Opened { conversation } => {
                conversation.peer.len()
                    + conversation.messages.iter().map(kept::size).sum::<usize>()
            }
            _ => 0,
        };
        size_of::<Event>() + text
    }
}

#[cfg(test)]
mod tests {
    use echogate_proto::chat::{Author, Message};

    use super::*;

    fn said() -> ToOperator {
        let message = Message { from: Author::Client, at: 0.0, text: "x".repeat(60_000) };
        ToOperator::Said { conversation: 1, message }
    }

    fn next(operators: &mut Operators, id: u64) -> Poll<Option<Arc<Event>>> {
        operators.poll_event(id, &Context::from_waker(Waker::noop()))
    }

    #[test]
    fn an_operator_whose_queue_is_full_is_disconnected() {
        let mut operators = Operators::default();
        let (slow, quick) = (operators.add(), operators.add());
        let report = |operators: &mut Operators| {
            operators.report(said(), None);
            assert!(matches!(next(operators, quick), Poll::Ready(Some(_))));
        };
        let size = Event { message: said(), _guard: None }.size();
        (0..QUEUE_BYTES / size).for_each(|_| report(&mut operators));
        assert_eq!(operators.queues.len(), 2, "not before");
        report(&mut operators);
        assert!(matches!(next(&mut operators, slow), Poll::Ready(None)));
        assert!(next(&mut operators, quick).is_pending());
    }

    #[test]
    fn events_of_other_replicas_have_room_until_half_of_a_queue_is_taken() {
        let mut operators = Operators::default();
        let slow = operators.add();
        let size = Event { message: said(), _guard: None }.size();
        (0..ROOM_BYTES / size).for_each(|_| _ = operators.report(said(), None));
        assert!(operators.has_room());
        operators.report(said(), None);
        assert!(!operators.has_room());
        assert!(matches!(next(&mut operators, slow), Poll::Ready(Some(_))));
        assert!(operators.has_room());
    }
}
