//! The other replicas of a cluster, as the hub knows them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use echogate_proto::chat::{Ending, ToOperator};
use tokio::sync::{Notify, mpsc, watch};

use super::{
    delivery::Undelivered,
    kept::author,
    mirror::{Mirror, Seen},
    operator_queues::Event,
    requests::{OperatorNumbers, RemoteOperator},
};
use crate::connections::replicas::ReplicaId;

/// The maximum number of events that wait to be published. Further events are lost, and a snapshot
/// replaces them.
const PUBLISHED: usize = 1024;

/// The time without confirmations after which a client's message counts as queued: longer than the time
/// after which an operator that does not read is disconnected.
const UNCONFIRMED: Duration = Duration::from_secs(12);

/// The maximum number of messages of operators that wait to be sent to other replicas.
const OPERATOR_MESSAGES: usize = 256;

/// The sequence number of an event, the event, and the operators of other replicas in it by their
/// numbers here.
pub(crate) type Published<E> = (u64, E, Vec<(u64, RemoteOperator)>);

/// A message of an operator here for a client of another replica.
#[derive(Debug)]
pub(crate) struct OperatorMessage {
    /// The operator's number here.
    pub(crate) operator: u64,
    /// The conversation's number here.
    pub(crate) local: u64,
    /// The replica of the client.
    pub(crate) owner: ReplicaId,
    /// The conversation's number there.
    pub(crate) conversation: u64,
    pub(crate) text: String,
}

/// The channels by which the hub passes events and messages to the cluster.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Events of the conversations of this replica.
    pub(crate) events: mpsc::Receiver<Published<ToOperator>>,
    /// Messages of operators here.
    pub(crate) messages: mpsc::Receiver<OperatorMessage>,
    /// The number of operators here.
    pub(crate) operators: watch::Receiver<usize>,
    /// Notified when operators here have taken events of other replicas.
    pub(crate) taken: Arc<Notify>,
}

/// A client's message that no operator here sees and no other replica has confirmed.
#[derive(Debug)]
struct Unconfirmed {
    sequence: u64,
    conversation: u64,
    /// The time from which on [`UNCONFIRMED`] counts.
    since: Instant,
    /// The event, which keeps the client's permit; `None` if a replica does not show the conversation.
    event: Option<Arc<Event>>,
}

/// The other replicas, as the hub knows them.
#[derive(Debug)]
pub(super) struct Remote {
    pub(super) me: ReplicaId,
    events: mpsc::Sender<Published<ToOperator>>,
    messages: mpsc::Sender<OperatorMessage>,
    operators: watch::Sender<usize>,
    pub(super) taken: Arc<Notify>,
    /// The sequence number of the last event.
    sequence: u64,
    /// Events that were lost because too many waited.
    pub(super) unpublished: u64,
    /// Whether events are published: other replicas have operators.
    pub(super) is_wanted: bool,
    /// Whether there is a connection to the broker.
    pub(super) is_connected: bool,
    /// The number of operators of other replicas.
    pub(super) online: usize,
    unconfirmed: VecDeque<Unconfirmed>,
    pub(super) numbers: OperatorNumbers,
    pub(super) mirrors: BTreeMap<ReplicaId, Mirror>,
}

impl Remote {
    /// A cluster in which no other replica is known, and this one is `me`.
    pub(super) fn new(me: ReplicaId) -> (Remote, Feed) {
        let (events, event_receiver) = mpsc::channel(PUBLISHED);
        let (messages, message_receiver) = mpsc::channel(OPERATOR_MESSAGES);
        let operators = watch::Sender::default();
        let taken = Arc::<Notify>::default();
        let feed = Feed {
            events: event_receiver,
            messages: message_receiver,
            operators: operators.subscribe(),
            taken: taken.clone(),
        };
        let remote = Remote {
            me,
            events,
            messages,
            operators,
            taken,
            sequence: 0,
            unpublished: 0,
            is_wanted: false,
            is_connected: false,
            online: 0,
            unconfirmed: VecDeque::new(),
            numbers: OperatorNumbers::default(),
            mirrors: BTreeMap::new(),
        };
        (remote, feed)
    }

    /// The number of open conversations of other replicas.
    pub(super) fn mirrored(&self) -> usize {
        self.mirrors.values().map(Mirror::len).sum()
    }

    /// Whether an operator of another replica is online.
    pub(super) fn is_online(&self) -> bool {
        self.online > 0
    }

    /// Publishes an event of a conversation of this replica.
    pub(super) fn publish(&mut self, event: &ToOperator) {
        self.sequence += 1;
        if !self.is_wanted {
            return;
        }
        let operators = self.foreign(of_event(event));
        if self.events.try_send((self.sequence, event.clone(), operators)).is_err() {
            self.unpublished += 1;
        }
    }

    /// Keeps the event of a client's message until another replica confirms it.
    pub(super) fn confirm_later(&mut self, conversation: u64, event: Arc<Event>) {
        let (sequence, since) = (self.sequence, Instant::now());
        self.unconfirmed.push_back(Unconfirmed {
            sequence,
            conversation,
            since,
            event: Some(event),
        });
    }

    pub(super) fn unconfirmed(&self) -> usize {
        self.unconfirmed.len()
    }

    /// Removes the messages that another replica's operators have seen, and calls `on_seen` with their
    /// conversations. Returns the events that are to be dropped.
    pub(super) fn confirm(&mut self, seen: Seen, mut on_seen: impl FnMut(u64)) -> Vec<Arc<Event>> {
        let (now, mut dropped, mut has_progress) = (Instant::now(), Vec::new(), false);
        self.unconfirmed.retain_mut(|message| {
            let is_shown = seen.shows(message.conversation);
            if message.sequence > seen.sequence {
                // Operators are reading, so the time for later messages begins anew.
                if is_shown && has_progress {
                    message.since = now;
                }
                return true;
            }
            dropped.extend(message.event.take());
            if is_shown {
                on_seen(message.conversation);
                has_progress = true;
            }
            !is_shown
        });
        dropped
    }

    /// Removes the messages that were not confirmed in time by `now`; without `now`, all of them.
    /// Returns their conversations and events.
    pub(super) fn expire(&mut self, now: Option<Instant>) -> Vec<(u64, Option<Arc<Event>>)> {
        let is_over =
            |message: &Unconfirmed| now.is_none_or(|now| now - message.since >= UNCONFIRMED);
        let (over, kept): (VecDeque<_>, _) =
            self.unconfirmed.drain(..).partition(|message| is_over(message));
        self.unconfirmed = kept;
        over.into_iter().map(|message| (message.conversation, message.event)).collect()
    }

    /// The sequence number of the last event.
    pub(super) fn sequence(&self) -> u64 {
        self.sequence
    }

    /// The operators of other replicas among `numbers`.
    pub(super) fn foreign(&self, numbers: impl Iterator<Item = u64>) -> Vec<(u64, RemoteOperator)> {
        numbers.filter_map(|number| Some((number, self.numbers.operator(number)?))).collect()
    }

    /// Sets the number of operators here, of which other replicas are notified.
    pub(super) fn count_operators(&self, count: usize) {
        self.operators.send_if_modified(|before| std::mem::replace(before, count) != count);
    }

    /// Passes a message for a client of another replica to the cluster.
    ///
    /// # Errors
    ///
    /// The reason why it cannot be sent, in one line.
    pub(super) fn send(&self, operator: u64, local: u64, text: &str) -> Result<(), String> {
        let here = |(id, mirror): (&ReplicaId, &Mirror)| {
            let conversation = mirror.open().find(|(number, _)| *number == local)?.1;
            Some((*id, conversation))
        };
        let Some((owner, conversation)) = self.mirrors.iter().find_map(here) else {
            return Err(Undelivered::Ended.describe(local));
        };
        if !self.is_connected {
            return Err(not_sent(local, "the broker of --cluster cannot be reached", text));
        }
        let message =
            OperatorMessage { operator, local, owner, conversation, text: text.to_owned() };
        let why = "too many messages wait for the broker of --cluster";
        self.messages.try_send(message).map_err(|_| not_sent(local, why, text))
    }
}

/// The report that an operator's message to client `local` of another replica was not sent. It names
/// the message, because an operator may have sent others before the report.
pub(crate) fn not_sent(local: u64, why: &str, text: &str) -> String {
    format!("not sent to client {local} ({why}): {text}")
}

/// The numbers of the operators that an event names.
fn of_event(event: &ToOperator) -> impl Iterator<Item = u64> {
    let number = match event {
        ToOperator::Said { message, .. } => author(message),
        ToOperator::Ended { ending: Ending::Operator(number), .. } => Some(*number),
        _ => None,
    };
    number.into_iter()
}
