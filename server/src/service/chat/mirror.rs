//! What a replica knows of the conversations of another one, in which order events arrive, and what
//! is known already. No socket and no clock.

use std::{
    collections::{HashMap, HashSet, VecDeque},
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::connections::replica::ReplicaId;

/// The time after which a snapshot that has not come is asked for again.
const ASK_AGAIN: Duration = Duration::from_secs(2);

/// Ended conversations of a replica that are remembered, so that a snapshot does not show them anew:
/// more than a replica keeps.
const ENDED: usize = 64;

/// Operators of other replicas that have numbers here.
const MAX_OPERATORS: usize = 4096;

/// An operator of any replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) struct RemoteOperator {
    /// The replica that the operator is connected to.
    pub(crate) replica: ReplicaId,
    /// The operator's number there.
    pub(crate) number: u64,
}

/// The numbers that operators of other replicas have on this one.
#[derive(Debug, Default)]
pub(super) struct OperatorNumbers {
    by_operator: HashMap<RemoteOperator, u64>,
    by_number: HashMap<u64, RemoteOperator>,
}

impl OperatorNumbers {
    /// The number of an operator; `new` if it has none yet.
    pub(super) fn number(&mut self, operator: RemoteOperator, new: impl FnOnce() -> u64) -> u64 {
        if self.by_operator.len() == MAX_OPERATORS {
            *self = OperatorNumbers::default();
        }
        let number = *self.by_operator.entry(operator).or_insert_with(new);
        self.by_number.insert(number, operator);
        number
    }

    /// The operator of another replica that has `number` here, if there is one.
    pub(super) fn operator(&self, number: u64) -> Option<RemoteOperator> {
        self.by_number.get(&number).copied()
    }
}

/// The conversations of another replica as they are known here.
#[derive(Debug)]
pub(super) struct Mirror {
    /// The name of the replica.
    pub(super) name: String,
    /// The sequence number of the last event that was applied.
    sequence: u64,
    /// The sequence number of the replica's last event by its last heartbeat but one.
    claimed: u64,
    /// The snapshot that is waited for; None while events arrive in order.
    waiting: Option<Waiting>,
    /// The open conversations, by their numbers there.
    open: HashMap<u64, Mirrored>,
    /// The conversations that ended last.
    ended: VecDeque<u64>,
    /// Operators know that there are too many conversations.
    pub(super) knows_of_limit: bool,
}

/// An open conversation of another replica.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mirrored {
    /// The number here.
    pub(super) local: u64,
    /// The number of messages in it so far, those before the first known one included.
    pub(super) messages: u64,
}

#[derive(Debug, Default)]
struct Waiting {
    asked: Option<Instant>,
    /// The parts that have come, and the last event that they include.
    parts: u32,
    sequence: u64,
    /// The conversations in them.
    listed: HashSet<u64>,
}

impl Mirror {
    /// A replica of which nothing is known.
    pub(super) fn new(name: &str) -> Mirror {
        Mirror {
            name: name.to_owned(),
            sequence: 0,
            claimed: 0,
            waiting: Some(Waiting::default()),
            open: HashMap::new(),
            ended: VecDeque::new(),
            knows_of_limit: false,
        }
    }

    /// Whether the next event is the one with this sequence number. One that is ahead shows that
    /// others are missing: a snapshot is needed.
    pub(super) fn is_next(&mut self, sequence: u64) -> bool {
        if self.waiting.is_some() || sequence <= self.sequence {
            return false;
        }
        if sequence > self.sequence + 1 {
            self.lose_track();
            return false;
        }
        self.sequence = sequence;
        true
    }

    /// Takes the sequence number of a heartbeat. An event that was sent before the heartbeat before
    /// and has not arrived is missing.
    pub(super) fn claim(&mut self, sequence: u64) {
        if self.waiting.is_none() && self.sequence < self.claimed {
            self.lose_track();
        }
        self.claimed = sequence;
    }

    /// Ignores events until a snapshot has come.
    pub(super) fn lose_track(&mut self) {
        self.waiting = Some(Waiting::default());
    }

    /// Whether a snapshot is to be asked for at `now`.
    pub(super) fn asks(&mut self, now: Instant) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        let is_due = waiting.asked.is_none_or(|asked| now - asked >= ASK_AGAIN);
        if is_due {
            *waiting = Waiting { asked: Some(now), ..Waiting::default() };
        }
        is_due
    }

    /// Whether a part of a snapshot as of `sequence` is the next one. The first part of another
    /// snapshot begins anew.
    pub(super) fn is_next_part(&mut self, index: u32, sequence: u64) -> bool {
        let Some(waiting) = &mut self.waiting else { return false };
        if index == 0 {
            *waiting = Waiting { asked: waiting.asked, sequence, ..Waiting::default() };
        }
        let is_next = index == waiting.parts && sequence == waiting.sequence;
        waiting.parts += u32::from(is_next);
        is_next
    }

    /// Notes that a snapshot has a conversation. False if it ended before and is known.
    pub(super) fn list(&mut self, id: u64) -> bool {
        if let Some(waiting) = &mut self.waiting {
            waiting.listed.insert(id);
        }
        !self.ended.contains(&id)
    }

    /// The last part of a snapshot as of `sequence` has come. Returns the conversations that are not
    /// in it: they ended before.
    pub(super) fn complete(&mut self, sequence: u64) -> Vec<u64> {
        let listed = self.waiting.take().unwrap_or_default().listed;
        self.sequence = sequence;
        self.claimed = self.claimed.min(sequence);
        let missing = self.open.keys().filter(|id| !listed.contains(id));
        missing.copied().collect()
    }

    /// An open conversation.
    pub(super) fn get_mut(&mut self, id: u64) -> Option<&mut Mirrored> {
        self.open.get_mut(&id)
    }

    /// The numbers here and there of all open conversations.
    pub(super) fn open(&self) -> impl Iterator<Item = (u64, u64)> {
        self.open.iter().map(|(id, mirrored)| (mirrored.local, *id))
    }

    /// The number of open conversations.
    pub(super) fn len(&self) -> usize {
        self.open.len()
    }

    /// Adds an open conversation, of which nothing is known.
    pub(super) fn add(&mut self, id: u64, local: u64) {
        self.open.insert(id, Mirrored { local, messages: 0 });
    }

    /// Ends a conversation. Returns its number here.
    pub(super) fn end(&mut self, id: u64) -> Option<u64> {
        let mirrored = self.open.remove(&id)?;
        self.ended.push_back(id);
        if self.ended.len() > ENDED {
            self.ended.pop_front();
        }
        Some(mirrored.local)
    }
}

impl Mirrored {
    /// The number of those messages that are known already, of the last `count` of `total` in the
    /// conversation. All are known from then on.
    pub(super) fn known(&mut self, total: u64, count: usize) -> usize {
        let first = total.saturating_sub(count as u64);
        let known = self.messages.saturating_sub(first).min(count as u64);
        self.messages = self.messages.max(total);
        usize::try_from(known).unwrap_or(count)
    }
}

/// The answers to the last requests of other replicas: one that is repeated is not executed again.
#[derive(Debug)]
pub(crate) struct Recent<T> {
    answers: HashMap<(ReplicaId, u64), T>,
    order: VecDeque<(ReplicaId, u64)>,
}

impl<T: Clone> Recent<T> {
    /// The most answers that are kept.
    const MAX: usize = 1024;

    pub(crate) fn new() -> Recent<T> {
        Recent { answers: HashMap::new(), order: VecDeque::new() }
    }

    /// The answer to request `id` of `from`, which is executed if it is new.
    pub(crate) fn answer(&mut self, from: ReplicaId, id: u64, execute: impl FnOnce() -> T) -> T {
        if let Some(answer) = self.answers.get(&(from, id)) {
            return answer.clone();
        }
        let answer = execute();
        self.answers.insert((from, id), answer.clone());
        self.order.push_back((from, id));
        if self.order.len() > Self::MAX
            && let Some(oldest) = self.order.pop_front()
        {
            self.answers.remove(&oldest);
        }
        answer
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A mirror that has the snapshot as of `sequence`.
    fn live(sequence: u64) -> Mirror {
        let mut mirror = Mirror::new("a/1");
        assert!(mirror.asks(Instant::now()) && mirror.is_next_part(0, sequence));
        assert!(mirror.complete(sequence).is_empty());
        mirror
    }

    #[test]
    fn events_are_applied_once_and_in_order_and_a_gap_asks_for_a_snapshot() {
        let (mut mirror, now) = (live(5), Instant::now());
        assert!(!mirror.is_next(5) && mirror.is_next(6) && !mirror.is_next(6));
        assert!(!mirror.asks(now));
        assert!(!mirror.is_next(8), "7 is missing");
        assert!(!mirror.is_next(7), "a snapshot has to come first");
        assert!(mirror.asks(now) && !mirror.asks(now));
        assert!(mirror.asks(now + ASK_AGAIN));
        assert!(mirror.is_next_part(0, 8) && !mirror.is_next_part(2, 8));
        assert!(mirror.is_next_part(0, 9) && !mirror.is_next_part(1, 8));
        assert!(mirror.is_next_part(1, 9));
        mirror.complete(9);
        assert!(!mirror.is_next(9) && mirror.is_next(10));
    }

    #[test]
    fn a_last_event_that_is_lost_is_noticed_by_heartbeats() {
        let (mut mirror, now) = (live(5), Instant::now());
        mirror.claim(6);
        assert!(!mirror.asks(now), "it may be under way");
        mirror.claim(6);
        assert!(mirror.asks(now));
        let mut mirror = live(5);
        mirror.claim(6);
        assert!(mirror.is_next(6));
        mirror.claim(6);
        assert!(!mirror.asks(now));
    }

    #[test]
    fn a_snapshot_adds_what_is_not_known_and_ends_what_it_does_not_have() {
        let mut mirror = live(0);
        mirror.add(1, 11);
        mirror.add(2, 12);
        mirror.get_mut(1).unwrap().messages = 3;
        mirror.lose_track();
        assert!(mirror.asks(Instant::now()) && mirror.is_next_part(0, 9));
        assert!(mirror.list(1));
        // The last 4 of 5 messages: 2 to 5, of which 2 and 3 are known.
        assert_eq!(mirror.get_mut(1).unwrap().known(5, 4), 2);
        assert_eq!(mirror.get_mut(1).unwrap().known(5, 4), 4);
        assert_eq!(mirror.get_mut(1).unwrap().known(20, 2), 0);
        assert_eq!(mirror.complete(9), [2]);
        assert_eq!((mirror.end(2), mirror.end(2)), (Some(12), None));
        assert!(!mirror.list(2) && mirror.list(3));
    }

    #[test]
    fn an_operator_of_another_replica_keeps_its_number() {
        let mut numbers = OperatorNumbers::default();
        let operator = |replica, number| RemoteOperator { replica: ReplicaId::of(replica), number };
        assert_eq!(numbers.number(operator(1, 1), || 7), 7);
        assert_eq!(numbers.number(operator(2, 1), || 8), 8);
        assert_eq!(numbers.number(operator(1, 1), || 9), 7);
        assert_eq!(numbers.operator(8), Some(operator(2, 1)));
        assert_eq!(numbers.operator(9), None);
    }

    #[test]
    fn a_repeated_request_is_executed_once() {
        let (mut recent, mut executed) = (Recent::new(), 0);
        let mut ask = |replica, id| {
            recent.answer(ReplicaId::of(replica), id, || {
                executed += 1;
                executed
            })
        };
        assert_eq!([ask(1, 1), ask(1, 1), ask(2, 1), ask(1, 2), ask(1, 1)], [1, 1, 2, 3, 1]);
    }
}
