//! Where clients and operators meet, and what is kept of what they say.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
};

use echogate_proto::operator::{BYE, Conversation, Ending, From, Message, ToOperator};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::{now, token::Token};
use crate::{escape, registry::Peer};

/// Messages that are kept of a conversation, the latest.
const KEPT: usize = 200;

/// Messages that wait for an operator to come, in one conversation.
const WAITING: usize = 100;

/// What is kept of all conversations together, in bytes: 4 MiB. An operator who comes is
/// told all of it in one message, and clients take none beyond 16 MiB.
const KEPT_BYTES: usize = 4 << 20;

/// Conversations that are kept after their end, the latest.
const KEPT_ENDED: usize = 50;

/// Messages that a client which does not read may be behind.
const CLIENT_BEHIND: usize = 64;

/// Events that an operator who does not read may be behind.
const OPERATOR_BEHIND: usize = 1024;

/// Where all meet.
#[derive(Debug)]
pub struct Hub {
    token: RwLock<Token>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_conversation: u64,
    last_operator: u64,
    talks: BTreeMap<u64, Talk>,
    operators: BTreeMap<u64, Sender<Arc<ToOperator>>>,
    /// Conversations that are over, in the order of their ends.
    ended: VecDeque<u64>,
    /// What all messages that are kept take.
    bytes: usize,
}

#[derive(Debug)]
struct Talk {
    told: Conversation,
    /// None after its end.
    to_client: Option<Sender<ToClient>>,
    /// Messages since an operator was last there to see them.
    unseen: usize,
}

/// What a client is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToClient {
    /// An operator's words.
    Line(String),
    /// An operator ended the conversation.
    Bye,
}

/// What became of a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Heard {
    /// An operator sees it.
    Now,
    /// It waits for one.
    Later,
    /// Too many wait.
    Never,
}

impl Hub {
    /// Nobody is there yet.
    pub fn new(token: Token) -> Hub {
        Hub { token: RwLock::new(token), state: Mutex::default() }
    }

    /// What operators have to know.
    pub fn token(&self) -> Token {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something else that operators have to know who come from now on.
    pub fn set_token(&self, token: Token) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// A client has come: the number of its conversation, and what it is to be told.
    pub(super) fn open(&self, peer: &Peer) -> (u64, Receiver<ToClient>) {
        let (to_client, receiver) = channel(CLIENT_BEHIND);
        let mut state = self.state();
        state.last_conversation += 1;
        let id = state.last_conversation;
        let told = Conversation {
            id,
            peer: peer.to_string(),
            since: now(),
            waiting_since: None,
            messages: Vec::new(),
            ending: None,
        };
        state.tell(ToOperator::Opened { conversation: told.clone() });
        state.talks.insert(id, Talk { told, to_client: Some(to_client), unseen: 0 });
        (id, receiver)
    }

    /// A client says something.
    pub(super) fn client_says(&self, id: u64, text: String) -> Heard {
        let mut state = self.state();
        let present = !state.operators.is_empty();
        let at = now();
        let message = Message { from: From::Client, at, text };
        let room = state.make_room(cost(&message));
        let Some(talk) = state.talks.get_mut(&id) else { return Heard::Never };
        if talk.to_client.is_none() {
            // It was ended in this moment, and the client is about to be told.
            return Heard::Now;
        }
        if !present && (talk.unseen == WAITING || !room) {
            return Heard::Never;
        }
        talk.unseen = if present { 0 } else { talk.unseen + 1 };
        talk.told.waiting_since.get_or_insert(at);
        state.keep(id, message);
        if present { Heard::Now } else { Heard::Later }
    }

    /// A conversation is over, unless it was already.
    pub(super) fn end(&self, id: u64, ending: Ending) {
        self.state().end(id, ending);
    }

    /// An operator has come: its number, what there is, and what it is to be told.
    pub(super) fn enter(&self) -> (u64, Vec<Conversation>, Receiver<Arc<ToOperator>>) {
        let (to_operator, receiver) = channel(OPERATOR_BEHIND);
        let mut state = self.state();
        state.last_operator += 1;
        let id = state.last_operator;
        state.operators.insert(id, to_operator);
        state.talks.values_mut().for_each(|talk| talk.unseen = 0);
        let conversations = state.talks.values().map(|talk| talk.told.clone()).collect();
        (id, conversations, receiver)
    }

    /// An operator says something to a client.
    ///
    /// # Errors
    ///
    /// Why that cannot be, in one line.
    pub(super) fn operator_says(
        &self,
        operator: u64,
        conversation: u64,
        text: &str,
    ) -> Result<(), String> {
        if text.contains(['\n', '\r']) {
            return Err("a message is one line".to_owned());
        }
        // Clients may be terminals, and so is the console.
        if text.split('\t').any(|part| escape::escape(part) != part) {
            return Err("a message has no control characters".to_owned());
        }
        let mut state = self.state();
        let Some(talk) = state.talks.get_mut(&conversation) else {
            return Err(format!("there is no conversation {conversation}"));
        };
        let Some(to_client) = &talk.to_client else {
            return Err(format!("conversation {conversation} is over"));
        };
        let bye = text == BYE;
        let line = if bye { ToClient::Bye } else { ToClient::Line(text.to_owned()) };
        match to_client.try_send(line) {
            Err(TrySendError::Full(_)) => {
                return Err(format!("client {conversation} does not read; this was not sent"));
            }
            Err(TrySendError::Closed(_)) => {
                return Err(format!("conversation {conversation} is over"));
            }
            Ok(()) => {}
        }
        talk.told.waiting_since = None;
        let from = From::Operator(operator);
        state.keep(conversation, Message { from, at: now(), text: text.to_owned() });
        if bye {
            state.end(conversation, Ending::Operator(operator));
        }
        Ok(())
    }

    /// An operator has gone.
    pub(super) fn leave(&self, operator: u64) {
        self.state().operators.remove(&operator);
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells all operators. One that is too far behind is left out: it finds its end.
    fn tell(&mut self, event: ToOperator) {
        let event = Arc::new(event);
        self.operators.retain(|id, operator| {
            let kept = operator.try_send(event.clone()).is_ok();
            if !kept {
                tracing::warn!(operator = id, "an operator does not read and is let go");
            }
            kept
        });
    }

    /// Tells a message, and keeps it as far as there is room: at the cost of what was
    /// said before in its conversation, if need be.
    fn keep(&mut self, conversation: u64, message: Message) {
        self.tell(ToOperator::Said { conversation, message: message.clone() });
        let room = self.make_room(cost(&message));
        let Some(talk) = self.talks.get_mut(&conversation) else { return };
        let messages = &mut talk.told.messages;
        if messages.len() == KEPT || (!room && !messages.is_empty()) {
            self.bytes -= cost(&messages.remove(0));
        }
        if self.bytes + cost(&message) <= KEPT_BYTES {
            self.bytes += cost(&message);
            messages.push(message);
        }
    }

    /// Forgets conversations that are over until so many bytes may be kept. False if that
    /// was not enough.
    fn make_room(&mut self, bytes: usize) -> bool {
        while self.bytes + bytes > KEPT_BYTES
            && let Some(first) = self.ended.pop_front()
        {
            self.forget(first);
        }
        self.bytes + bytes <= KEPT_BYTES
    }

    fn end(&mut self, conversation: u64, ending: Ending) {
        let Some(talk) = self.talks.get_mut(&conversation) else { return };
        if talk.told.ending.is_some() {
            return;
        }
        talk.told.ending = Some(ending);
        talk.told.waiting_since = None;
        talk.to_client = None;
        self.tell(ToOperator::Ended { conversation, ending });
        self.ended.push_back(conversation);
        if self.ended.len() > KEPT_ENDED
            && let Some(first) = self.ended.pop_front()
        {
            self.forget(first);
        }
    }

    fn forget(&mut self, conversation: u64) {
        if let Some(talk) = self.talks.remove(&conversation) {
            self.bytes -= talk.told.messages.iter().map(cost).sum::<usize>();
        }
    }
}

/// What a message takes that is kept, in bytes.
fn cost(message: &Message) -> usize {
    size_of::<Message>() + message.text.len()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hub() -> Hub {
        Hub::new(Token::random().unwrap())
    }

    fn kept(hub: &Hub) -> usize {
        let state = hub.state();
        let all = state.talks.values().flat_map(|talk| &talk.told.messages).map(cost).sum();
        assert_eq!(state.bytes, all);
        all
    }

    #[test]
    fn what_is_kept_is_bounded_and_no_client_is_told_that_it_waits_if_it_does_not() {
        let hub = hub();
        let mut refused = 0;
        let _clients: Vec<_> = (0..20)
            .map(|_| {
                let (id, told) = hub.open(&Peer::Unknown);
                for _ in 0..WAITING {
                    let heard = hub.client_says(id, "x".repeat(4096));
                    refused += usize::from(heard == Heard::Never);
                }
                told
            })
            .collect();
        let all = 20 * WAITING - refused;
        assert_eq!(kept(&hub), all * (4096 + size_of::<Message>()));
        assert!((KEPT_BYTES * 9 / 10..=KEPT_BYTES).contains(&kept(&hub)));
        // Who is over makes room for who is not.
        hub.end(1, Ending::Left);
        let (id, _told) = hub.open(&Peer::Unknown);
        assert_eq!(hub.client_says(id, "hello".to_owned()), Heard::Later);
        let (_, conversations, _events) = hub.enter();
        assert_eq!(conversations.last().unwrap().messages[0].text, "hello");
    }

    #[test]
    fn the_conversations_that_ended_last_are_kept() {
        let hub = hub();
        let ids: Vec<_> = (0..KEPT_ENDED as u64 + 2).map(|_| hub.open(&Peer::Unknown).0).collect();
        let (first, others) = ids.split_first().unwrap();
        others.iter().for_each(|id| hub.end(*id, Ending::Left));
        hub.end(*first, Ending::Left);
        let kept: Vec<_> = hub.enter().1.iter().map(|talk| talk.id).collect();
        assert_eq!(kept.len(), KEPT_ENDED);
        assert!(kept.contains(first) && !kept.contains(&others[0]) && !kept.contains(&others[1]));
    }

    #[test]
    fn nothing_is_said_in_a_conversation_that_is_over() {
        let hub = hub();
        let (id, _told) = hub.open(&Peer::Unknown);
        let (operator, _, mut events) = hub.enter();
        hub.operator_says(operator, id, BYE).unwrap();
        assert_eq!(hub.client_says(id, "wait".to_owned()), Heard::Now);
        let mut told = Vec::new();
        while let Ok(event) = events.try_recv() {
            told.push(event);
        }
        assert!(matches!(*told[told.len() - 1], ToOperator::Ended { .. }), "{told:?}");
    }

    #[test]
    fn an_operator_cannot_act_on_terminals() {
        let hub = hub();
        let (id, mut told) = hub.open(&Peer::Unknown);
        for text in ["\x1b[2J", "a\u{9b}b", "\u{202e}", "bell\x07"] {
            let refused = hub.operator_says(1, id, text);
            assert_eq!(refused.unwrap_err(), "a message has no control characters");
        }
        hub.operator_says(1, id, "a\ttab, 世界").unwrap();
        assert_eq!(told.try_recv(), Ok(ToClient::Line("a\ttab, 世界".to_owned())));
    }
}
