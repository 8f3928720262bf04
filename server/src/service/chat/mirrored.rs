//! Events and snapshots of other replicas, applied to the conversations that operators see here.

use echogate_proto::chat::{Author, Conversation, Ending, Message, ToOperator};

use super::{
    hub::State,
    mirror::{Mirror, OperatorNumbers, RemoteOperator},
};
use crate::{connections::replica::ReplicaId, text::escape::escape};

/// The most open conversations of other replicas that operators see.
const MIRRORED: usize = 2000;

/// The numbers that operators in a message of another replica have here.
pub(super) struct Authors<'a> {
    pub(super) me: ReplicaId,
    pub(super) owner: ReplicaId,
    pub(super) operators: &'a [(u64, RemoteOperator)],
    pub(super) numbers: &'a mut OperatorNumbers,
}

impl Authors<'_> {
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
        mut authors: Authors<'_>,
        mirrored: usize,
    ) {
        match event {
            ToOperator::Opened { conversation } => {
                self.open_mirrored(mirror, &conversation, mirrored);
            }
            ToOperator::Said { conversation, message } => {
                if let Some(mirrored) = mirror.get_mut(conversation) {
                    mirrored.messages += 1;
                    let local = mirrored.local;
                    self.mirrored_said(local, message, &mut authors);
                }
            }
            ToOperator::Ended { conversation, ending } => {
                let ending = self.ending(ending, &mut authors);
                self.end_mirrored(mirror, conversation, ending);
            }
            ToOperator::Welcome { .. } | ToOperator::Error { .. } => {}
        }
    }

    /// Opens a conversation of another replica, without its messages.
    pub(super) fn open_mirrored(
        &mut self,
        mirror: &mut Mirror,
        conversation: &Conversation,
        mirrored: usize,
    ) {
        if mirrored >= MIRRORED {
            if !std::mem::replace(&mut mirror.knows_of_limit, true) {
                let text = format!(
                    "more than {MIRRORED} conversations with clients of other replicas are open: \
                     further ones are not shown here"
                );
                self.operators.report(ToOperator::Error { text }, None);
            }
            return;
        }
        let id = conversation.id;
        let peer = format!("{} at {}", escape(&conversation.peer), mirror.name);
        let conversation = self.conversations.open_remote(peer, conversation.since);
        mirror.add(id, conversation.id);
        self.operators.report(ToOperator::Opened { conversation }, None);
    }

    /// Completes a conversation of another replica with what a snapshot has of it.
    pub(super) fn complete(
        &mut self,
        mirror: &mut Mirror,
        id: u64,
        messages: Vec<Message>,
        total: u64,
        ending: Option<Ending>,
        mut authors: Authors<'_>,
    ) {
        let Some(mirrored) = mirror.get_mut(id) else { return };
        let (local, known) = (mirrored.local, mirrored.known(total, messages.len()));
        for message in messages.into_iter().skip(known) {
            self.mirrored_said(local, message, &mut authors);
        }
        if let Some(ending) = ending {
            let ending = self.ending(ending, &mut authors);
            self.end_mirrored(mirror, id, ending);
        }
    }

    /// Shows a message in a conversation of another replica.
    fn mirrored_said(&mut self, local: u64, mut message: Message, authors: &mut Authors<'_>) {
        if let Author::Operator(number) = message.from {
            let number = authors.number(number, || self.operators.new_number());
            message.from = Author::Operator(number);
        }
        // The owner has done so, too; whoever may use the broker could send anything.
        let parts: Vec<String> = message.text.split('\t').map(escape).collect();
        message.text = parts.join("\t");
        self.conversations.said_remotely(local, &message);
        let said = ToOperator::Said { conversation: local, message: message.clone() };
        self.operators.report(said, None);
        self.conversations.keep(local, message);
    }

    fn ending(&mut self, ending: Ending, authors: &mut Authors<'_>) -> Ending {
        match ending {
            Ending::Operator(number) => {
                Ending::Operator(authors.number(number, || self.operators.new_number()))
            }
            other => other,
        }
    }

    /// Ends a conversation of another replica.
    pub(super) fn end_mirrored(&mut self, mirror: &mut Mirror, id: u64, ending: Ending) {
        if let Some(conversation) = mirror.end(id)
            && self.conversations.end(conversation, ending)
        {
            self.operators.report(ToOperator::Ended { conversation, ending }, None);
        }
    }
}
