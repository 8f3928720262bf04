//! The application of other replicas' events and snapshots to the conversations that operators see
//! here, and the end of these conversations when a replica has vanished.

use std::{sync::Arc, time::Instant};

use echogate_proto::chat::{Author, Conversation, Ending, Message, ToOperator};

use super::{
    hub::{Hub, State},
    kept::Kept,
    mirror::{Gathered, Mirror},
    operator_queues::Guard,
    remote::{Published, Remote},
    requests::{OperatorNumbers, RemoteOperator},
    snapshot::Part,
    untaken::UntakenGuard,
};
use crate::{
    connections::replicas::ReplicaId,
    text::{counted, escape::escape},
};

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
            let mut origin =
                Origin { me: *me, owner, operators, numbers, guard: &guard, mirrored: 0 };
            let next = part.conversations.into_iter().map(Some);
            for kept in next.chain(part.is_last.then_some(None)) {
                let id = kept.as_ref().map(|kept| kept.conversation.id);
                if let Some(gathered) = mirror.take_gathered(id) {
                    origin.mirrored = others + mirror.len();
                    state.open_gathered(mirror, gathered, &origin);
                }
                if let Some(kept) = kept {
                    state.apply_kept(mirror, kept, &mut origin);
                }
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
                let (messages, waiting_since, ending) = (Vec::new(), None, None);
                let new = Conversation { messages, waiting_since, ending, ..conversation };
                self.open_mirrored(mirror, new, 0, &origin);
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

    /// Opens a conversation of another replica, which has the latest of its `total` messages, unless too
    /// many conversations are open. Returns its number here.
    fn open_mirrored(
        &mut self,
        mirror: &mut Mirror,
        conversation: Conversation,
        total: u64,
        origin: &Origin<'_>,
    ) -> Option<u64> {
        if mirror.is_limited || origin.mirrored >= MIRRORED {
            mirror.is_limited = true;
            if !std::mem::replace(&mut mirror.knows_of_limit, true) {
                let text = format!(
                    "more than {MIRRORED} conversations with clients of other replicas are open: \
                     further ones are shown when others end"
                );
                self.operators.report(ToOperator::Error { text }, None);
            }
            return None;
        }
        let id = conversation.id;
        let peer = format!("{} at {}", escape(&conversation.peer), mirror.name);
        let conversation = self.conversations.open_remote(Conversation { peer, ..conversation });
        let local = conversation.id;
        mirror.add(id, local, total);
        self.operators.report(ToOperator::Opened { conversation }, origin.guard());
        Some(local)
    }

    /// Opens a conversation in a snapshot of another replica, all of whose pieces have arrived.
    fn open_gathered(&mut self, mirror: &mut Mirror, gathered: Gathered, origin: &Origin<'_>) {
        let Gathered { kept: Kept { conversation, total }, missing } = gathered;
        let (id, ending) = (conversation.id, conversation.ending);
        if let Some(local) = self.open_mirrored(mirror, conversation, total, origin) {
            self.report_missing(local, missing, origin);
        }
        if let Some(ending) = ending {
            self.end_mirrored(mirror, id, ending, origin.guard());
        }
    }

    /// Reports to operators how many messages of a conversation they do not see, if there are any.
    fn report_missing(&mut self, local: u64, missing: u64, origin: &Origin<'_>) {
        if missing > 0 {
            let missing = counted(missing, "message");
            let text = format!(
                "conversation {local} is shown without {missing}, which its replica no longer keeps or \
                 the broker refuses (max_payload)"
            );
            self.operators.report(ToOperator::Error { text }, origin.guard());
        }
    }

    /// Applies a conversation in a snapshot of another replica, or a piece of it. Operators get the
    /// messages that they have missed in an open conversation one by one; others are gathered, so that
    /// the conversation opens with them.
    fn apply_kept(&mut self, mirror: &mut Mirror, kept: Kept, origin: &mut Origin<'_>) {
        let Kept { mut conversation, total } = kept;
        let id = conversation.id;
        if !mirror.list(id) {
            return;
        }
        conversation.ending = conversation.ending.map(|ending| self.ending(ending, origin));
        let Some(mirrored) = mirror.get_mut(id) else {
            let messages = conversation.messages.into_iter();
            conversation.messages = messages.map(|it| self.mirrored_message(it, origin)).collect();
            return mirror.gather(Kept { conversation, total });
        };
        let local = mirrored.local;
        let (known, missing) = mirrored.known(total, conversation.messages.len());
        self.report_missing(local, missing, origin);
        for message in conversation.messages.into_iter().skip(known) {
            self.mirrored_said(local, message, origin);
        }
        if let Some(ending) = conversation.ending {
            self.end_mirrored(mirror, id, ending, origin.guard());
        }
    }

    /// Shows a message in a conversation of another replica.
    fn mirrored_said(&mut self, local: u64, message: Message, origin: &mut Origin<'_>) {
        let message = self.mirrored_message(message, origin);
        self.conversations.said_remotely(local, &message);
        let said = ToOperator::Said { conversation: local, message: message.clone() };
        self.operators.report(said, origin.guard());
        self.conversations.keep(local, message);
    }

    /// A message of another replica as operators here see it.
    fn mirrored_message(&mut self, mut message: Message, origin: &mut Origin<'_>) -> Message {
        if let Author::Operator(number) = message.from {
            let number = origin.number(number, || self.operators.new_number());
            message.from = Author::Operator(number);
        }
        // The owner has escaped the text, but any client of the broker could have sent this message.
        let parts: Vec<String> = message.text.split('\t').map(escape).collect();
        message.text = parts.join("\t");
        message
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
