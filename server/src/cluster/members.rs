//! The replicas that have sent heartbeats. This module uses no socket and no clock.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use serde::{Deserialize, Serialize};

use crate::{connections::replicas::ReplicaId, text::escape::escape};

/// The time without a heartbeat after which a replica is gone.
pub(super) const SILENCE: Duration = Duration::from_secs(3);

/// The most other replicas. Heartbeats of further ones are ignored.
const MAX_MEMBERS: usize = 256;

/// The longest name of a replica that is shown, in characters.
const MAX_NAME: usize = 80;

/// The message that a replica sends every second to all others.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Heartbeat {
    /// The name for users: the machine's name and the process ID.
    pub(super) name: String,
    /// The number of `chat` operators that are connected to the replica.
    pub(super) operators: usize,
    /// The sequence number of the last event of the replica's conversations.
    pub(super) sequence: u64,
    /// Whether the replica leaves the cluster, so that this is the last heartbeat.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub(super) leaves: bool,
}

/// A replica other than this one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Member {
    pub(crate) id: ReplicaId,
    /// The name for users, escaped.
    pub(crate) name: String,
    /// The number of operators that are connected to the replica.
    pub(crate) operators: usize,
}

/// A change of the replicas.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Change {
    /// A replica has sent its first heartbeat.
    Joined(Member),
    /// The number of a replica's operators has changed.
    Operators(Member),
    Left(Member),
    /// A replica has sent no heartbeat for [`SILENCE`].
    Silent(Member),
}

/// The other replicas.
#[derive(Debug, Default)]
pub(super) struct Members(BTreeMap<ReplicaId, (Member, Instant)>);

impl Members {
    /// All other replicas, in the order of their identifiers.
    pub(super) fn list(&self) -> Vec<Member> {
        self.0.values().map(|(member, _)| member.clone()).collect()
    }

    /// Applies a heartbeat that arrived at `now`.
    pub(super) fn take(
        &mut self,
        id: ReplicaId,
        heartbeat: &Heartbeat,
        now: Instant,
    ) -> Option<Change> {
        if heartbeat.leaves {
            return self.0.remove(&id).map(|(member, _)| Change::Left(member));
        }
        if let Some((member, heard)) = self.0.get_mut(&id) {
            *heard = now;
            let is_same = member.operators == heartbeat.operators;
            member.operators = heartbeat.operators;
            return (!is_same).then(|| Change::Operators(member.clone()));
        }
        if self.0.len() == MAX_MEMBERS {
            return None;
        }
        let name = escape(&heartbeat.name).chars().take(MAX_NAME).collect();
        let member = Member { id, name, operators: heartbeat.operators };
        self.0.insert(id, (member.clone(), now));
        Some(Change::Joined(member))
    }

    /// Removes the replicas that are silent at `now`.
    pub(super) fn expire(&mut self, now: Instant) -> Vec<Change> {
        let is_silent = |_: &_, (_, heard): &mut (Member, Instant)| now - *heard >= SILENCE;
        self.0.extract_if(.., is_silent).map(|(_, (member, _))| Change::Silent(member)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heartbeat(operators: usize) -> Heartbeat {
        Heartbeat { name: "a/1".to_owned(), operators, sequence: 0, leaves: false }
    }

    #[test]
    fn a_replica_is_known_from_its_first_heartbeat_until_it_leaves_or_is_silent() {
        let (mut members, start) = (Members::default(), Instant::now());
        let id = ReplicaId::of(1);
        let member = |operators| Member { id, name: "a/1".to_owned(), operators };
        assert_eq!(members.take(id, &heartbeat(0), start), Some(Change::Joined(member(0))));
        assert_eq!(members.take(id, &heartbeat(0), start), None);
        assert_eq!(members.take(id, &heartbeat(2), start), Some(Change::Operators(member(2))));
        assert_eq!(members.list(), [member(2)]);
        assert_eq!(members.expire(start + SILENCE - Duration::from_millis(1)), []);
        assert_eq!(members.expire(start + SILENCE), [Change::Silent(member(2))]);
        members.take(id, &heartbeat(1), start);
        let leaving = Heartbeat { leaves: true, ..heartbeat(0) };
        assert_eq!(members.take(id, &leaving, start), Some(Change::Left(member(1))));
        assert_eq!(members.take(id, &leaving, start), None);
        assert_eq!(members.list(), []);
    }

    #[test]
    fn the_number_of_replicas_and_their_names_are_bounded() {
        let (mut members, now) = (Members::default(), Instant::now());
        for number in 0..MAX_MEMBERS as u64 + 1 {
            let heartbeat = Heartbeat { name: "\x1b".repeat(100), ..heartbeat(0) };
            let joined = members.take(ReplicaId::of(number), &heartbeat, now);
            assert_eq!(joined.is_some(), number < MAX_MEMBERS as u64);
        }
        assert!(
            members.list().iter().all(|it| it.name.len() == MAX_NAME && !it.name.contains('\x1b'))
        );
    }
}
