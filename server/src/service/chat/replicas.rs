//! The operations of a cluster on the hub: conversations of this replica are published, those of
//! others are mirrored, operators of others count as online.
//!
//! A conversation has one owner, the replica of its client, whose hub decides on everything. Each event
//! of the owner's conversations has a sequence number. A replica with operators applies the events
//! in order; after a gap it requests a snapshot, which the owner builds from its history.

use std::time::Instant;

use echogate_proto::chat::ToOperator;

use super::{
    delivery::Undelivered,
    hub::{Hub, State, check_text},
    kept::Kept,
    mirror::{Mirror, Seen},
    mirrored::MIRRORED,
    remote::{Feed, Remote},
    requests::RemoteOperator,
    snapshot::{Part, parts},
};
use crate::connections::replicas::ReplicaId;

/// The notice to clients whose operators can no longer be reached.
const UNREACHABLE: &str =
    "* the operators cannot be reached at the moment; your messages are kept until they can";

impl Hub {
    /// Joins a cluster as the replica `me`.
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

    /// Sets whether there is a connection to the broker. Operators and clients are notified of a loss
    /// that concerns them.
    pub(crate) fn set_connected(&self, is_connected: bool) {
        self.with_remote(|state, remote| {
            if !is_connected && remote.mirrors.values().any(|mirror| mirror.len() > 0) {
                let text = "the connection to the broker is lost: messages to clients of other \
                            replicas cannot be sent until it is back"
                    .to_owned();
                state.operators.report(ToOperator::Error { text }, None);
            }
            remote.is_connected = is_connected;
            remote.mirrors.values_mut().for_each(Mirror::resynchronize);
            set_online(state, remote, 0, !is_connected);
        });
    }

    /// Sets the number of operators of other replicas. Clients are notified if the last ones are `lost`.
    pub(crate) fn set_online(&self, online: usize, lost: bool) {
        self.with_remote(|state, remote| set_online(state, remote, online, lost));
    }

    /// Mirrors the conversations of a replica from now on, if there are operators here.
    pub(crate) fn mirror(&self, id: ReplicaId, name: &str) {
        self.with_remote(|state, remote| {
            if !state.operators.is_empty() {
                remote.mirrors.entry(id).or_insert_with(|| Mirror::new(name, remote.taken.clone()));
            }
        });
    }

    /// Removes all mirrors, unless there are operators here.
    pub(crate) fn remove_mirrors(&self) {
        self.with_remote(|state, remote| {
            if state.operators.is_empty() {
                remote.mirrors.clear();
                state.conversations.remove_remote();
            }
        });
    }

    /// Applies the sequence number in a replica's heartbeat.
    pub(crate) fn announce(&self, id: ReplicaId, sequence: u64) {
        self.with_remote(|_, remote| {
            if let Some(mirror) = remote.mirrors.get_mut(&id) {
                mirror.announce(sequence);
            }
        });
    }

    /// The replicas whose snapshots are to be requested at `now`.
    pub(crate) fn snapshots_to_request(&self, now: Instant) -> Vec<ReplicaId> {
        self.with_remote(|state, remote| {
            let has_room = state.operators.has_room();
            let is_limited = remote.mirrored() >= MIRRORED;
            let mirrors = remote.mirrors.iter_mut();
            mirrors
                .filter_map(|(id, mirror)| {
                    if !has_room {
                        mirror.postpone(now);
                    } else if !is_limited {
                        mirror.show_hidden(now);
                    }
                    mirror.needs_snapshot(now).then_some(*id)
                })
                .collect()
        })
        .unwrap_or_default()
    }

    /// A snapshot of the conversations of this replica, in parts of at most `most` bytes of JSON. Events
    /// are published from then on.
    pub(crate) fn snapshot(&self, most: usize) -> Vec<Part> {
        let (sequence, kept, operators) = self
            .with_remote(|state, remote| {
                remote.is_wanted = true;
                let kept = state.conversations.own();
                let operators = remote.foreign(kept.iter().flat_map(Kept::operators));
                (remote.sequence(), kept, operators)
            })
            .unwrap_or_default();
        parts(sequence, kept, &operators.into_iter().collect(), most)
    }

    /// Applies a confirmation: operators of another replica have seen events of this one.
    pub(crate) fn confirm(&self, seen: Seen) {
        self.with_remote(|state, remote| {
            let State { conversations, operators, .. } = state;
            let dropped = remote.confirm(seen, |id| conversations.seen(id, seen.sequence));
            dropped.into_iter().for_each(|event| operators.defer_drop(event));
            if seen.all {
                conversations.all_seen(seen);
            }
        });
    }

    /// The number of clients' messages that another replica is to confirm.
    pub(crate) fn unconfirmed(&self) -> usize {
        self.with_remote(|_, remote| remote.unconfirmed()).unwrap_or_default()
    }

    /// Tells clients whose messages were not confirmed in time that the messages are queued.
    pub(crate) fn expire_unconfirmed(&self, now: Instant) {
        self.with_remote(|state, remote| {
            for (conversation, event) in remote.expire(Some(now)) {
                state.conversations.notify_of_loss(conversation, UNREACHABLE);
                event.into_iter().for_each(|event| state.operators.defer_drop(event));
            }
        });
    }

    /// Confirmations of the events of other replicas that operators here have seen: of new ones, and
    /// with `repeats` of all.
    pub(crate) fn seen(&self, repeats: bool) -> Vec<(ReplicaId, Seen)> {
        self.with_remote(|state, remote| {
            // Operators that were removed have dropped events without seeing them.
            if state.operators.is_empty() {
                return Vec::new();
            }
            let mirrors = remote.mirrors.iter_mut();
            mirrors.filter_map(|(id, mirror)| Some((*id, mirror.seen(repeats)?))).collect()
        })
        .unwrap_or_default()
    }

    /// Whether operators have room for events of other replicas.
    pub(crate) fn has_room(&self) -> bool {
        self.change(|state| state.operators.has_room())
    }

    /// Disconnects operators that do not read while clients of other replicas wait for them.
    pub(crate) fn disconnect_operators_stalled_for_others(&self) {
        self.with_remote(|state, remote| {
            if remote.mirrors.values().any(Mirror::has_untaken) {
                state.operators.disconnect_stalled();
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

    pub(crate) fn notify_operator(&self, operator: u64, text: String) {
        self.change(|state| state.operators.tell(operator, ToOperator::Error { text }));
    }

    /// Changes the state together with the state of other replicas, if this replica is in a cluster.
    pub(super) fn with_remote<T>(
        &self,
        change: impl FnOnce(&mut State, &mut Remote) -> T,
    ) -> Option<T> {
        self.change(|state| {
            let mut remote = state.remote.take()?;
            let changed = change(state, &mut remote);
            state.remote = Some(remote);
            Some(changed)
        })
    }
}

impl State {
    /// Drops the events that other replicas have not confirmed, since operators here see all.
    pub(super) fn drop_unconfirmed(&mut self) {
        let unconfirmed = self.remote.iter_mut().flat_map(|remote| remote.expire(None));
        for event in unconfirmed.filter_map(|(_, event)| event) {
            self.operators.defer_drop(event);
        }
    }
}

/// Sets the number of operators of other replicas. Clients are notified if the last ones are `lost`.
fn set_online(state: &mut State, remote: &mut Remote, online: usize, lost: bool) {
    let before = std::mem::replace(&mut remote.online, online);
    remote.is_wanted = online > 0;
    if online > 0 {
        return;
    }
    let unconfirmed = remote.expire(None).into_iter().filter_map(|(_, event)| event);
    unconfirmed.for_each(|event| state.operators.defer_drop(event));
    if lost && before > 0 && state.operators.is_empty() {
        state.conversations.notify(UNREACHABLE);
    }
}
