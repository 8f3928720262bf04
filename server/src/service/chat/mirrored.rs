//! Events and snapshots of other replicas, applied to the conversations that operators see here.

use std::sync::Arc;

use echogate_proto::chat::{Author, Conversation, Ending, Message, ToOperator};

use super::{
    hub::State,
    kept::Kept,
    mirror::Mirror,
    operator_queues::Guard,
    requests::{OperatorNumbers, RemoteOperator},
    untaken::UntakenGuard,
};
use crate::{connections::replica::ReplicaId, text::escape::escape};

/// The most open conversations of other replicas that operators see.
pub(super) const MIRRORED: usize = 2000;

/// The origin of an event or of a part of a snapshot.
pub(super) struct Origin<'a> {
    pub(super) me: ReplicaId,
    pub(super) owner: ReplicaId,
    /// The operators of other replicas that the owner names.
    pub(super) operators: &'a [(u64, RemoteOperator)],
    /// The numbers of operators here.
    pub(super) numbers: &'a mut OperatorNumbers,
    /// Kept by all that operators receive of it.
    pub(super) guard: &'a Arc<UntakenGuard>,
}

impl Origin<'_> {
    fn guard(&self) -> Option<Guard> {
        Some(Guard::Mirrored { _guard: self.guard.clone() })
    }

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

impl State {
    /// Applies the next event of another replica. `mirrored` conversations are open.
    pub(super) fn apply(
        &mut self,
        mirror: &mut Mirror,
        event: ToOperator,
        mut origin: Origin<'_>,
        mirrored: usize,
    ) {
        match event {
            ToOperator::Opened { conversation } => {
                self.open_mirrored(mirror, &conversation, 0, mirrored, &origin);
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

    /// Opens a conversation of another replica behind `messages` that are not kept any more, unless
    /// too many are `mirrored`.
    fn open_mirrored(
        &mut self,
        mirror: &mut Mirror,
        conversation: &Conversation,
        messages: u64,
        mirrored: usize,
        origin: &Origin<'_>,
    ) {
        if mirror.is_limited || mirrored >= MIRRORED {
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

    /// Applies what a snapshot has of a conversation of another replica. `mirrored` conversations are
    /// open.
    pub(super) fn apply_kept(
        &mut self,
        mirror: &mut Mirror,
        Kept { mut conversation, total }: Kept,
        mut origin: Origin<'_>,
        mirrored: usize,
    ) {
        let (id, ending) = (conversation.id, conversation.ending);
        if !mirror.list(id) {
            return;
        }
        let messages = std::mem::take(&mut conversation.messages);
        if mirror.get_mut(id).is_none() {
            let before = total.saturating_sub(messages.len() as u64);
            self.open_mirrored(mirror, &conversation, before, mirrored, &origin);
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
        // The owner has done so, too; whoever may use the broker could send anything.
        let parts: Vec<String> = message.text.split('\t').map(escape).collect();
        message.text = parts.join("\t");
        self.conversations.said_remotely(local, &message);
        let said = ToOperator::Said { conversation: local, message: message.clone() };
        self.operators.report(said, origin.guard());
        self.conversations.keep(local, message);
    }

    fn ending(&mut self, ending: Ending, origin: &mut Origin<'_>) -> Ending {
        match ending {
            Ending::Operator(number) => {
                Ending::Operator(origin.number(number, || self.operators.new_number()))
            }
            other => other,
        }
    }

    /// Ends a conversation of another replica.
    pub(super) fn end_mirrored(
        &mut self,
        mirror: &mut Mirror,
        id: u64,
        ending: Ending,
        guard: Option<Guard>,
    ) {
        if let Some(conversation) = mirror.end(id)
            && self.conversations.end(conversation, ending)
        {
            self.operators.report(ToOperator::Ended { conversation, ending }, guard);
        }
    }
}
