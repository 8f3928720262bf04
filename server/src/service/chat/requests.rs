//! The answers to requests of other replicas, and the numbers of their operators.

use std::collections::{HashMap, VecDeque};

use serde::{Deserialize, Serialize};

use crate::connections::replicas::ReplicaId;

/// The maximum number of operators of other replicas that have numbers here.
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
    /// Returns the number of `operator` at this replica; on first use assigns the one that `new` returns.
    pub(super) fn number(&mut self, operator: RemoteOperator, new: impl FnOnce() -> u64) -> u64 {
        if let Some(number) = self.by_operator.get(&operator) {
            return *number;
        }
        if self.by_operator.len() == MAX_OPERATORS {
            *self = OperatorNumbers::default();
        }
        let number = new();
        self.by_operator.insert(operator, number);
        self.by_number.insert(number, operator);
        number
    }

    /// The operator of another replica that has `number` here, if there is one.
    pub(super) fn operator(&self, number: u64) -> Option<RemoteOperator> {
        self.by_number.get(&number).copied()
    }
}

/// The answers to the last requests of other replicas, so that a repeated request is not executed again.
#[derive(Debug, Default)]
pub(crate) struct Recent<T> {
    answers: HashMap<(ReplicaId, u64), T>,
    order: VecDeque<(ReplicaId, u64)>,
}

impl<T: Clone> Recent<T> {
    /// The maximum number of answers that are kept.
    const MAX: usize = 1024;

    /// The answer to the request `id` of the replica `from`, which is executed if it is new.
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

    #[test]
    fn an_operator_of_another_replica_keeps_its_number() {
        let mut numbers = OperatorNumbers::default();
        let operator = |replica, number| RemoteOperator { replica: ReplicaId::of(replica), number };
        assert_eq!(numbers.number(operator(1, 1), || 7), 7);
        assert_eq!(numbers.number(operator(2, 1), || 8), 8);
        assert_eq!(numbers.number(operator(1, 1), || 9), 7);
        assert_eq!(numbers.operator(8), Some(operator(2, 1)));
        assert_eq!(numbers.operator(9), None);
        for number in 2..MAX_OPERATORS as u64 {
            numbers.number(operator(2, number), || 100 + number);
        }
        assert_eq!(numbers.number(operator(1, 1), || 9), 7, "it is known, though there is no room");
        assert_eq!(numbers.number(operator(3, 1), || 9), 9);
        assert_eq!(numbers.number(operator(1, 1), || 10), 10);
    }

    #[test]
    fn a_repeated_request_is_executed_once() {
        let (mut recent, mut executed) = (Recent::default(), 0);
        let mut ask = |replica, id| {
            recent.answer(ReplicaId::of(replica), id, || {
                executed += 1;
                executed
            })
        };
        assert_eq!([ask(1, 1), ask(1, 1), ask(2, 1), ask(1, 2), ask(1, 1)], [1, 1, 2, 3, 1]);
    }
}
