//! The application of other replicas' events and snapshots to the conversations that operators see
//! here, and the end of these conversations when a replica has vanished.

use std::{sync::Arc, time::Instant};

use echogate_proto::chat::{Author, Conversation, Ending, Message, ToOperator};

use super::{
    hub::{Hub, State},
    kept::Kept,
    mirror::Mirror,
    operator_queues::Guard,
    remote::{Published, Remote},
    requests::{OperatorNumbers, RemoteOperator},
    snapshot::Part,
    untaken::UntakenGuard,
};
use crate::{connections::replicas::ReplicaId, text::escape::escape};

/// The maximum number of open conversations of other replicas that operators see.
pub(super) const MIRRORED: usize = 2000;

/// The origin of an event or of a part of a snapshot, and the numbers of operators in it.
struct Origin<'a> {
    /// This replica.
    me: ReplicaId,
    /// The replica that sent the event or the part.
    owner: ReplicaId,
    /// The operators of other replicas in the event, by their numbers at the owner.
    operators: &'a [(u64, RemoteOperator)],
    /// The numbers of operators here.
    numbers: &'a mut OperatorNumbers,
    /// The guard that every event for operators keeps.
    guard: &'a Arc<UntakenGuard>,
    /// The number of open conversations of other replicas.
    mirrored: usize,
}

impl Origin<'_> {
    fn guard(&self) -> Option<Guard> {
        Some(Guard::Mirrored { _guard: self.guard.clone() })
    }

    /// The number here of the operator with a `number` at the owner; `new` if there is none yet.
    fn number(&mut self, number: u64, new: impl FnOnce() -> u64) -> u64 {
        let named = self.operators.iter().find(|(named, _)| *named == number);
        let of_owner = RemoteOperator { replica: self.owner, number };
        let operator = named.map_or(of_owner, |(_, operator)| *operator);
        match operator.replica == self.me {
            true => operator.number,
            false => self.numbers.number(operator, new),
        }
    }
}

impl Hub {
    /// Applies an event of another replica, if it is the next one.
    pub(crate) fn apply(
        &self,
        owner: ReplicaId,
        (sequence, event, operators): Published<ToOperator>,
    ) {
        // The guard must not be dropped while the hub is locked.
        let _guard = self.with_remote(|state, remote| {
            let mirrored = remote.mirrored();
            let Remote { me, mirrors, numbers, .. } = remote;
            let mirror = mirrors.get_mut(&owner)?;
            let guard = mirror.next(sequence)?;
            let operators = &operators;
            let origin = Origin { me: *me, owner, operators, numbers, guard: &guard, mirrored };
            state.apply(mirror, event, origin);
            Some(guard)
        });
    }

    /// Applies a part of a snapshot of another replica, if it is the next one.
    pub(crate) fn apply_part(&self, owner: ReplicaId, part: Part, now: Instant) {
        let _guard = self.with_remote(|state, remote| {
            let others = remote.mirrored() - remote.mirrors.get(&owner).map_or(0, Mirror::len);
            let Remote { me, mirrors, numbers, .. } = remote;
            let mirror = mirrors.get_mut(&owner)?;
            let guard = mirror.next_part(part.index, part.sequence, now)?;
            let operators = &part.operators;
            for kept in part.conversations {
                let mirrored = others + mirror.len();
                let origin = Origin { me: *me, owner, operators, numbers, guard: &guard, mirrored };
                state.apply_kept(mirror, kept, origin);
            }
            if part.is_last {
                for id in mirror.complete(part.sequence, now) {
                    let guard = Some(Guard::Mirrored { _guard: guard.clone() });
                    state.end_mirrored(mirror, id, Ending::Vanished, guard);
                }
            }
            Some(guard)
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
                for id in ids {
                    state.end_mirrored(&mut mirror, id, Ending::Vanished, None);
                }
            }
        });
    }
}

impl State {
    /// Applies the next event of another replica.
    fn apply(&mut self, mirror: &mut Mirror, event: ToOperator, mut origin: Origin<'_>) {
        match event {
            ToOperator::Opened { conversation } => {
                self.open_mirrored(mirror, &conversation, 0, &origin);
            }
            ToOperator::Said { conversation, message } => {
                if let Some(mirrored) = mirror.get_mut(conversation) {
                    mirrored.messages = mirrored.messages.saturating_add(1);
                    let local = mirrored.local;
                    self.mirrored_said(local, message, &mut origin);
                }
            }
            ToOperator::Ended { conversation, ending } => {
                let ending = self.ending(ending, &mut origin);
                self.end_mirrored(mirror, conversation, ending, origin.guard());
            }
            ToOperator::Welcome { .. } | ToOperator::Error { .. } => {}
        }
    }

    /// Opens a conversation of another replica after `messages` that are no longer kept, unless too
    /// many conversations are open.
    fn open_mirrored(
        &mut self,
        mirror: &mut Mirror,
        conversation: &Conversation,
        messages: u64,
        origin: &Origin<'_>,
    ) {
        if mirror.is_limited || origin.mirrored >= MIRRORED {
            mirror.is_limited = true;
            if !std::mem::replace(&mut mirror.knows_of_limit, true) {
                let text = format!(
                    "more than {MIRRORED} conversations with clients of other replicas are open: \
                     further ones are shown when others end"
                );
                self.operators.report(ToOperator::Error { text }, None);
            }
            return;
        }
        let id = conversation.id;
        let peer = format!("{} at {}", escape(&conversation.peer), mirror.name);
        let conversation = self.conversations.open_remote(peer, conversation.since);
        mirror.add(id, conversation.id, messages);
        self.operators.report(ToOperator::Opened { conversation }, origin.guard());
    }

    /// Applies a conversation in a snapshot of another replica.
    fn apply_kept(&mut self, mirror: &mut Mirror, kept: Kept, mut origin: Origin<'_>) {
        let Kept { mut conversation, total } = kept;
        let (id, ending) = (conversation.id, conversation.ending);
        if !mirror.list(id) {
            return;
        }
        let messages = std::mem::take(&mut conversation.messages);
        if mirror.get_mut(id).is_none() {
            let before = total.saturating_sub(messages.len() as u64);
            self.open_mirrored(mirror, &conversation, before, &origin);
        }
        let Some(mirrored) = mirror.get_mut(id) else { return };
        let local = mirrored.local;
        let (known, missing) = mirrored.known(total, messages.len());
        if missing > 0 {
            let text = format!(
                "{missing} messages of conversation {local} are not shown: they were missed, and its \
                 replica does not keep them any more, or they are too large for the broker"
            );
            self.operators.report(ToOperator::Error { text }, origin.guard());
        }
        for message in messages.into_iter().skip(known) {
            self.mirrored_said(local, message, &mut origin);
        }
        if let Some(ending) = ending {
            let ending = self.ending(ending, &mut origin);
            self.end_mirrored(mirror, id, ending, origin.guard());
        }
    }

    /// Shows a message in a conversation of another replica.
    fn mirrored_said(&mut self, local: u64, mut message: Message, origin: &mut Origin<'_>) {
        if let Author::Operator(number) = message.from {
            let number = origin.number(number, || self.operators.new_number());
            message.from = Author::Operator(number);
        }
        // The owner has escaped the text, but any client of the broker could have sent this message.
        let parts: Vec<String> = message.text.split('\t').map(escape).collect();
        message.text = parts.join("\t");
        self.conversations.said_remotely(local, &message);
        let said = ToOperator::Said { conversation: local, message: message.clone() };
        self.operators.report(said, origin.guard());
        self.conversations.keep(local, message);
    }

    /// An ending with the number here of its operator.
    fn ending(&mut self, ending: Ending, origin: &mut Origin<'_>) -> Ending {
        match ending {
            Ending::Operator(number) => {
                Ending::Operator(origin.number(number, || self.operators.new_number()))
            }
            other => other,
        }
    }

    /// Ends a conversation of another replica.
    fn end_mirrored(&mut self, mirror: &mut Mirror, id: u64, ending: Ending, guard: Option<Guard>) {
        if let Some(conversation) = mirror.end(id)
            && self.conversations.end(conversation, ending)
        {
            self.operators.report(ToOperator::Ended { conversation, ending }, guard);
        }
    }
}
