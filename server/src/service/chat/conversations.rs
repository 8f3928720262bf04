//! Conversations, and their messages that are kept. `state`: one conversation.

mod state;

use std::{
    collections::{BTreeMap, VecDeque},
    mem::{replace, take},
    time::{SystemTime, UNIX_EPOCH},
};

use echogate_proto::chat::{Author, BYE, Conversation, Ending, Message};
use tokio::sync::mpsc::{Sender, error::TrySendError};

use self::state::ConversationState;
use super::{
    delivery::{DeliveryOutcome, Online, ToClient, Undelivered},
    kept::{HISTORY, HISTORY_BYTES, Kept, size},
    memory_shares::{Holder, MemoryShares},
    mirror::Seen,
};
use crate::connections::registry::Peer;

/// The maximum number of messages of a client that wait until an operator connects.
const UNSEEN: usize = 100;

/// The number of ended conversations that are kept: those that ended last.
const ENDED: usize = 50;

/// The notice to a client whose oldest messages were discarded to make room.
const DISCARDED: &str = "* too many messages of all clients are queued; your oldest were discarded";

/// The current time in seconds since 1970, as conversations contain it.
pub(crate) fn unix_time() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// All open conversations, and those that ended last.
#[derive(Debug, Default)]
pub(super) struct Conversations {
    last_id: u64,
    by_id: BTreeMap<u64, ConversationState>,
    /// Ended conversations, in the order of their ends.
    ended: VecDeque<u64>,
    /// The memory of all messages that are kept.
    memory: MemoryShares,
}

impl Conversations {
    /// Opens a conversation with a client, whose messages are sent to `to_client`.
    pub(super) fn open(&mut self, peer: &Peer, to_client: Sender<ToClient>) -> Conversation {
        self.last_id += 1;
        let conversation = Conversation {
            id: self.last_id,
            peer: peer.to_string(),
            since: unix_time(),
            waiting_since: None,
            messages: Vec::new(),
            ending: None,
        };
        let state = ConversationState::new(conversation.clone(), Holder::of(peer), Some(to_client));
        self.by_id.insert(self.last_id, state);
        conversation
    }

    /// Opens a conversation with a client of another replica, which has its earlier messages. Returns
    /// it with its number here.
    pub(super) fn open_remote(&mut self, mut conversation: Conversation) -> Conversation {
        self.last_id += 1;
        conversation.id = self.last_id;
        let messages = take(&mut conversation.messages);
        let open = Conversation { ending: None, ..conversation.clone() };
        let state = ConversationState::new(open, Holder::of(&Peer::Unknown), None);
        self.by_id.insert(conversation.id, ConversationState { is_remote: true, ..state });
        messages.iter().for_each(|message| self.keep(conversation.id, message.clone()));
        Conversation { messages, ..conversation }
    }

    /// Whether the client of a conversation is connected to another replica.
    pub(super) fn is_remote(&self, id: u64) -> bool {
        self.by_id.get(&id).is_some_and(|state| state.is_remote)
    }

    /// Removes all conversations with clients of other replicas.
    pub(super) fn remove_remote(&mut self) {
        for (id, state) in self.by_id.extract_if(.., |_, state| state.is_remote) {
            self.memory.remove(state.holder, id, state.bytes());
        }
        self.ended.retain(|id| self.by_id.contains_key(id));
    }

    /// Records the author of a message in a conversation of another replica. The message is to be
    /// [kept](Conversations::keep).
    pub(super) fn said_remotely(&mut self, id: u64, message: &Message) {
        let Some(state) = self.by_id.get_mut(&id) else { return };
        match message.from {
            Author::Client => _ = state.conversation.waiting_since.get_or_insert(message.at),
            Author::Operator(_) => state.conversation.waiting_since = None,
        }
    }

    /// The conversations with clients of this replica.
    pub(super) fn own(&self) -> Vec<Kept> {
        let own = self.by_id.values().filter(|state| !state.is_remote);
        own.map(|state| Kept { conversation: state.conversation.clone(), total: state.total })
            .collect()
    }

    /// Records that operators of another replica have seen the events up to `sequence` in a conversation.
    pub(super) fn seen(&mut self, id: u64, sequence: u64) {
        if let Some(state) = self.by_id.get_mut(&id) {
            state.seen(sequence);
        }
    }

    /// Records that operators of another replica have seen the events of a confirmation.
    pub(super) fn all_seen(&mut self, seen: Seen) {
        for (_, state) in self.by_id.iter_mut().filter(|(id, _)| seen.shows(**id)) {
            state.seen(seen.sequence);
        }
    }

    /// Sends a notice to the clients of this replica that have talked with operators.
    pub(super) fn notify(&mut self, notice: &'static str) {
        let states = self.by_id.values_mut();
        for state in states.filter(|state| !state.conversation.messages.is_empty()) {
            state.notify(notice);
        }
    }

    /// Sends a notice to the client of a conversation in which messages are unseen, once.
    pub(super) fn notify_of_loss(&mut self, id: u64, notice: &'static str) {
        if let Some(state) = self.by_id.get_mut(&id)
            && !state.unseen.is_empty()
            && !replace(&mut state.knows_of_loss, true)
        {
            state.notify(notice);
        }
    }

    /// All conversations, for an operator that connects: no message is unseen from then on.
    pub(super) fn show(&mut self) -> Vec<Conversation> {
        self.by_id.values_mut().for_each(|state| state.seen(u64::MAX));
        self.by_id.values().map(|state| state.conversation.clone()).collect()
    }

    /// Decides on a client's message, which is to be [kept](Conversations::keep) if it is
    /// delivered or queued. Its event has the number `sequence` in a cluster.
    pub(super) fn receive(
        &mut self,
        id: u64,
        message: &Message,
        online: Online,
        sequence: u64,
    ) -> DeliveryOutcome {
        let seen = online == Online::Here;
        let has_room = self.make_room(id, size(message));
        let Some(state) = self.by_id.get_mut(&id).filter(|state| state.to_client.is_some()) else {
            return DeliveryOutcome::Ended;
        };
        if !seen && (state.unseen.len() >= UNSEEN || !has_room) {
            return DeliveryOutcome::Dropped;
        }
        match seen {
            true => state.seen(u64::MAX),
            false => state.unseen.push_back(sequence),
        }
        state.conversation.waiting_since.get_or_insert(message.at);
        if online == Online::Nowhere { DeliveryOutcome::Queued } else { DeliveryOutcome::Delivered }
    }

    /// Sends an operator's line to a client.
    ///
    /// # Errors
    ///
    /// The reason why the client cannot receive it.
    pub(super) fn send(&mut self, id: u64, text: &str) -> Result<(), Undelivered> {
        let state = self.by_id.get_mut(&id).ok_or(Undelivered::Unknown)?;
        let line = if text == BYE { ToClient::Bye } else { ToClient::Line(text.to_owned()) };
        match state.to_client.as_ref().map(|to_client| to_client.try_send(line)) {
            Some(Ok(())) => {}
            Some(Err(TrySendError::Full(_))) => return Err(Undelivered::Unread),
            Some(Err(TrySendError::Closed(_))) | None => return Err(Undelivered::Ended),
        }
        state.conversation.waiting_since = None;
        Ok(())
    }

    /// Keeps a message if there is room, in place of older messages of its conversation if
    /// necessary.
    pub(super) fn keep(&mut self, id: u64, message: Message) {
        let size = size(&message);
        self.make_room(id, size);
        let Some(state) = self.by_id.get_mut(&id) else { return };
        state.total += 1;
        let mut count = state.conversation.messages.len();
        while count > 0 && (count == HISTORY || self.lacks(size)) {
            self.discard_oldest(id);
            count -= 1;
        }
        if !self.lacks(size)
            && let Some(state) = self.by_id.get_mut(&id)
        {
            self.memory.add(state.holder, id, size);
            state.conversation.messages.push(message);
        }
    }

    /// Ends a conversation. Returns false if it has already ended.
    pub(super) fn end(&mut self, id: u64, ending: Ending) -> bool {
        let open = self.by_id.get_mut(&id).filter(|state| state.conversation.ending.is_none());
        let Some(state) = open else { return false };
        state.conversation.ending = Some(ending);
        state.conversation.waiting_since = None;
        state.to_client = None;
        self.ended.push_back(id);
        if self.ended.len() > ENDED {
            self.remove_first_ended();
        }
        true
    }

    /// Whether `bytes` more exceed the memory for messages.
    fn lacks(&self, bytes: usize) -> bool {
        self.memory.total() + bytes > HISTORY_BYTES
    }

    /// Makes room for a message of `bytes` in a conversation: removes ended conversations, then
    /// discards messages of the conversations that [`MemoryShares::victim`] names. Returns false if
    /// there is still not enough room.
    fn make_room(&mut self, id: u64, bytes: usize) -> bool {
        while self.lacks(bytes) {
            if self.remove_first_ended() {
                continue;
            }
            let Some(holder) = self.by_id.get(&id).map(|state| state.holder) else { return false };
            let Some(victim) = self.memory.victim(holder, id, bytes) else { return false };
            self.discard_oldest(victim);
        }
        true
    }

    /// Discards the oldest message of a conversation. Notifies the client, once, if no operator has
    /// seen the message.
    fn discard_oldest(&mut self, id: u64) {
        let Some(state) = self.by_id.get_mut(&id) else { return };
        let messages = &mut state.conversation.messages;
        if messages.is_empty() {
            return;
        }
        self.memory.remove(state.holder, id, size(&messages.remove(0)));
        if state.unseen.len() > messages.len() {
            state.unseen.pop_front();
            if !replace(&mut state.knows_of_discards, true) {
                state.notify(DISCARDED);
            }
        }
    }

    /// Removes the conversation that ended first. Returns false if none has ended.
    fn remove_first_ended(&mut self) -> bool {
        let Some(first) = self.ended.pop_front() else { return false };
        if let Some(state) = self.by_id.remove(&first) {
            self.memory.remove(state.holder, first, state.bytes());
        }
        true
    }
}

#[cfg(test)]
mod tests;
