//! The operations of a cluster on the hub: conversations of this replica are published, those of
//! others are mirrored, operators of others count as online.
//!
//! A conversation has one owner, the replica of its client, whose hub decides on everything. Each event
//! of the owner's conversations has a sequence number. A replica with operators applies the events
//! in order; where one is missing, it asks for a snapshot, for which the owner's history is enough.

use std::time::Instant;

use echogate_proto::chat::{Ending, ToOperator};
use serde::{Deserialize, Serialize};

use super::{
    delivery::Undelivered,
    hub::{Hub, State, check_text},
    kept::Kept,
    mirror::{Mirror, RemoteOperator},
    mirrored::Authors,
    remote::{Feed, Published, Remote, of_message},
};
use crate::connections::replica::ReplicaId;

/// Bytes of text in one part of a snapshot. In JSON, at most twice as many, and one message more.
const PART: usize = 128 << 10;

/// The notice to clients whose operators cannot be reached any more.
const UNREACHABLE: &str =
    "* the operators cannot be reached at the moment; your messages are kept until they can";

/// A part of a snapshot of the conversations of one replica.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Part {
    /// The last event that the snapshot includes.
    sequence: u64,
    /// The number of the part, from 0.
    index: u32,
    /// There is no further part.
    is_last: bool,
    conversations: Vec<Kept>,
    operators: Vec<(u64, RemoteOperator)>,
}

impl Hub {
    /// Takes part in a cluster as `me`, from now on.
    pub(crate) fn join(&self, me: ReplicaId) -> Feed {
        let (remote, feed) = Remote::new(me);
        self.change(|state| state.remote = Some(Box::new(remote)));
        feed
    }

    /// The sequence number of the last event of this replica's conversations.
    pub(crate) fn sequence(&self) -> u64 {
        self.with_remote(|_, remote| remote.sequence()).unwrap_or_default()
    }

    /// The number of events that were lost since the last call because too many waited.
    pub(crate) fn take_unpublished(&self) -> u64 {
        self.with_remote(|_, remote| std::mem::take(&mut remote.unpublished)).unwrap_or_default()
    }

    /// The connection to the broker is there, or lost. Operators and clients learn of a loss that
    /// concerns them.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.with_remote(|state, remote| {
            if !is_connected && remote.mirrors.values().any(|mirror| mirror.len() > 0) {
                let text = "the connection to the broker is lost: messages to clients of other \
                            replicas cannot be sent until it is back"
                    .to_owned();
                state.operators.report(ToOperator::Error { text }, None);
            }
            remote.is_connected = is_connected;
            remote.mirrors.values_mut().for_each(Mirror::lose_track);
            set_online(state, remote, 0, !is_connected);
        });
    }

    /// Sets the number of operators of other replicas. Clients learn if the last ones are `lost`.
    pub(crate) fn set_online(&self, online: usize, lost: bool) {
        self.with_remote(|state, remote| set_online(state, remote, online, lost));
    }

    /// Mirrors the conversations of a replica from now on, if it is not known and there are operators.
    pub(crate) fn mirror(&self, id: ReplicaId, name: &str) {
        self.with_remote(|state, remote| {
            if !state.operators.is_empty() {
                remote.mirrors.entry(id).or_insert_with(|| Mirror::new(name));
            }
        });
    }

    /// Removes all mirrors: nobody here sees them.
    pub(crate) fn remove_mirrors(&self) {
        self.with_remote(|state, remote| {
            if state.operators.is_empty() {
                remote.mirrors.clear();
                state.conversations.remove_remote();
            }
        });
    }

    /// Ends the conversations of all replicas that are not in `members`.
    pub(crate) fn remove_gone(&self, members: &[ReplicaId]) {
        self.with_remote(|state, remote| {
            for (_, mut mirror) in remote.mirrors.extract_if(.., |id, _| !members.contains(id)) {
                let ids: Vec<u64> = mirror.open().map(|(_, id)| id).collect();
                if !ids.is_empty() {
                    let (name, count) = (&mirror.name, ids.len());
                    let text = format!(
                        "replica {name} is gone; {count} open conversations with its clients end here"
                    );
                    state.operators.report(ToOperator::Error { text }, None);
                }
                ids.into_iter().for_each(|id| state.end_mirrored(&mut mirror, id, Ending::Vanished));
            }
        });
    }

    /// Takes the sequence number of a replica's heartbeat.
    pub(crate) fn claim(&self, id: ReplicaId, sequence: u64) {
        self.with_remote(|_, remote| {
            if let Some(mirror) = remote.mirrors.get_mut(&id) {
                mirror.claim(sequence);
            }
        });
    }

    /// The replicas whose snapshots are to be asked for.
    pub(crate) fn snapshots_to_ask_for(&self) -> Vec<ReplicaId> {
        let now = Instant::now();
        self.with_remote(|_, remote| {
            let mirrors = remote.mirrors.iter_mut();
            mirrors.filter_map(|(id, mirror)| mirror.asks(now).then_some(*id)).collect()
        })
        .unwrap_or_default()
    }

    /// A snapshot of the conversations of this replica. Events are published from then on.
    pub(crate) fn snapshot(&self) -> Vec<Part> {
        let (sequence, kept, operators) = self
            .with_remote(|state, remote| {
                remote.is_wanted = true;
                let kept = state.conversations.own();
                let numbers = kept.iter().flat_map(|kept| {
                    let ended = kept.conversation.ending.map(|ending| match ending {
                        Ending::Operator(number) => Some(number),
                        _ => None,
                    });
                    kept.conversation.messages.iter().map(of_message).chain(ended)
                });
                let mut operators = remote.foreign(numbers.flatten());
                operators.sort_unstable_by_key(|(number, _)| *number);
                operators.dedup_by_key(|(number, _)| *number);
                (remote.sequence(), kept, operators)
            })
            .unwrap_or_default();
        let mut parts = vec![Vec::new()];
        let mut size = 0;
        for piece in kept.into_iter().flat_map(|kept| kept.split(PART)) {
            if size > PART {
                parts.push(Vec::new());
                size = 0;
            }
            size += piece.size();
            parts.last_mut().expect("there is at least one").push(piece);
        }
        let last = parts.len() - 1;
        let part = |(index, conversations)| Part {
            sequence,
            index: u32::try_from(index).unwrap_or(u32::MAX),
            is_last: index == last,
            conversations,
            operators: operators.clone(),
        };
        parts.into_iter().enumerate().map(part).collect()
    }

    /// Another replica has shown this replica's events up to `sequence` to its operators; with `all`,
    /// those of a snapshot.
    pub(crate) fn confirm(&self, sequence: u64, all: bool) {
        self.with_remote(|state, remote| {
            while remote.unconfirmed.front().is_some_and(|(number, ..)| *number <= sequence) {
                if let Some((_, conversation, event)) = remote.unconfirmed.pop_front() {
                    state.conversations.seen(conversation);
                    state.operators.defer_drop(event);
                }
            }
            if all {
                state.conversations.all_seen(sequence);
            }
        });
    }

    /// Sends a message of another replica's operator to a client of this one.
    ///
    /// # Errors
    ///
    /// The reason why the message cannot be sent.
    pub(crate) fn remote_operator_says(
        &self,
        operator: RemoteOperator,
        conversation: u64,
        text: &str,
    ) -> Result<(), Undelivered> {
        if check_text(text).is_err() {
            return Err(Undelivered::Invalid);
        }
        self.change(|state| {
            let State { operators, conversations, remote: Some(remote) } = state else {
                return Err(Undelivered::Unknown);
            };
            if conversations.is_remote(conversation) {
                return Err(Undelivered::Unknown);
            }
            conversations.send(conversation, text)?;
            let number = remote.numbers.number(operator, || operators.new_number());
            state.operator_said(number, conversation, text);
            Ok(())
        })
    }

    /// Shows an error to one operator.
    pub(crate) fn tell_operator(&self, operator: u64, text: String) {
        self.change(|state| state.operators.tell(operator, ToOperator::Error { text }));
    }

    /// Applies an event of another replica. Returns its sequence number if it was the next one.
    pub(crate) fn apply(
        &self,
        owner: ReplicaId,
        (sequence, event, operators): Published<ToOperator>,
    ) -> Option<u64> {
        self.with_remote(|state, remote| {
            let mirrored = remote.mirrors.values().map(Mirror::len).sum();
            let Remote { me, mirrors, numbers, .. } = remote;
            let mirror = mirrors.get_mut(&owner)?;
            if !mirror.is_next(sequence) {
                return None;
            }
            let authors = Authors { me: *me, owner, operators: &operators, numbers };
            state.apply(mirror, event, authors, mirrored);
            Some(sequence)
        })
        .flatten()
    }

    /// Applies a part of a snapshot of another replica. Returns the last event that it includes, if
    /// the snapshot is complete.
    pub(crate) fn apply_part(&self, owner: ReplicaId, part: Part) -> Option<u64> {
        self.with_remote(|state, remote| {
            let mut mirrored = remote.mirrors.values().map(Mirror::len).sum();
            let Remote { me, mirrors, numbers, .. } = remote;
            let mirror = mirrors.get_mut(&owner)?;
            if !mirror.is_next_part(part.index, part.sequence) {
                return None;
            }
            for Kept { mut conversation, total } in part.conversations {
                let (id, ending) = (conversation.id, conversation.ending);
                if !mirror.list(id) {
                    continue;
                }
                let messages = std::mem::take(&mut conversation.messages);
                let authors = Authors { me: *me, owner, operators: &part.operators, numbers };
                if mirror.get_mut(id).is_none() {
                    state.open_mirrored(mirror, &conversation, mirrored);
                    mirrored += 1;
                }
                state.complete(mirror, id, messages, total, ending, authors);
            }
            part.is_last.then(|| {
                for id in mirror.complete(part.sequence) {
                    state.end_mirrored(mirror, id, Ending::Vanished);
                }
                part.sequence
            })
        })
        .flatten()
    }

    /// Changes the state together with what is known of other replicas, if this replica is in a
    /// cluster.
    fn with_remote<T>(&self, change: impl FnOnce(&mut State, &mut Remote) -> T) -> Option<T> {
        self.change(|state| {
            let mut remote = state.remote.take()?;
            let changed = change(state, &mut remote);
            state.remote = Some(remote);
            Some(changed)
        })
    }
}

/// Sets the number of operators of other replicas. Clients learn if the last ones are `lost`.
fn set_online(state: &mut State, remote: &mut Remote, online: usize, lost: bool) {
    let before = std::mem::replace(&mut remote.online, online);
    remote.is_wanted = online > 0;
    if online > 0 {
        return;
    }
    for (.., event) in remote.unconfirmed.drain(..) {
        state.operators.defer_drop(event);
    }
    if lost && before > 0 && state.operators.is_empty() {
        state.conversations.notify(UNREACHABLE);
    }
}
