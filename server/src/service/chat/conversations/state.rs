//! The state of one conversation.

use std::collections::VecDeque;

use echogate_proto::chat::Conversation;
use tokio::sync::mpsc::Sender;

use crate::service::chat::{delivery::ToClient, kept::size, memory_shares::Holder};

/// A conversation, and its client.
#[derive(Debug)]
pub(super) struct ConversationState {
    /// The conversation as operators receive it, with the messages that are kept.
    pub(super) conversation: Conversation,
    pub(super) holder: Holder,
    /// The queue of messages to the client; `None` after the end, and for clients of other replicas.
    pub(super) to_client: Option<Sender<ToClient>>,
    /// The sequence numbers, in a cluster, of the messages that no operator has seen: the last
    /// ones.
    pub(super) unseen: VecDeque<u64>,
    /// Whether the client was notified that unseen messages were discarded.
    pub(super) knows_of_discards: bool,
    /// Whether the client was notified that operators cannot be reached.
    pub(super) knows_of_loss: bool,
    /// The number of all messages so far.
    pub(super) total: u64,
    /// Whether the client is connected to another replica.
    pub(super) is_remote: bool,
}

impl ConversationState {
    pub(super) fn new(
        conversation: Conversation,
        holder: Holder,
        to_client: Option<Sender<ToClient>>,
    ) -> ConversationState {
        ConversationState {
            conversation,
            holder,
            to_client,
            unseen: VecDeque::new(),
            knows_of_discards: false,
            knows_of_loss: false,
            total: 0,
            is_remote: false,
        }
    }

    /// The memory of the messages that are kept, in bytes.
    pub(super) fn bytes(&self) -> usize {
        self.conversation.messages.iter().map(size).sum()
    }

    /// Records that operators have seen the events up to `sequence`.
    pub(super) fn seen(&mut self, sequence: u64) {
        while self.unseen.front().is_some_and(|unseen| *unseen <= sequence) {
            self.unseen.pop_front();
        }
        if self.unseen.is_empty() {
            (self.knows_of_discards, self.knows_of_loss) = (false, false);
        }
    }

    /// Sends a notice to the client, unless its queue is full.
    pub(super) fn notify(&self, notice: &'static str) {
        if let Some(to_client) = &self.to_client {
            to_client.try_send(ToClient::Notice(notice)).ok();
        }
    }
}
