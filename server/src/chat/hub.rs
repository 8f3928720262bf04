//! Where clients and operators meet, and what is kept of what they say.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::{SystemTime, UNIX_EPOCH},
};

use echogate_proto::operator::{BYE, Conversation, Ending, From, Message, ToOperator};
use tokio::sync::mpsc::{Receiver, Sender, channel, error::TrySendError};

use super::token::Token;
use crate::registry::Peer;

/// Messages that are kept of a conversation, the latest.
const KEPT: usize = 200;

/// Messages that wait for an operator to come, in one conversation.
const WAITING: usize = 100;

/// Bytes of text that are kept of all conversations together: 16 MiB.
const KEPT_BYTES: usize = 16 << 20;

/// Conversations that are kept after their end, the latest.
const KEPT_ENDED: usize = 50;

/// Messages that a client which does not read may be behind.
const CLIENT_BEHIND: usize = 64;

/// Events that an operator who does not read may be behind.
const OPERATOR_BEHIND: usize = 1024;

/// Where all meet.
#[derive(Debug)]
pub struct Hub {
    token: Token,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    last_conversation: u64,
    last_operator: u64,
    talks: BTreeMap<u64, Talk>,
    operators: BTreeMap<u64, Sender<Arc<ToOperator>>>,
    /// Of text kept.
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
        Hub { token, state: Mutex::default() }
    }

    /// What operators have to know.
    pub fn token(&self) -> &Token {
        &self.token
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
        let Some(talk) = state.talks.get_mut(&id) else { return Heard::Never };
        if !present && talk.unseen == WAITING {
            return Heard::Never;
        }
        talk.unseen = if present { 0 } else { talk.unseen + 1 };
        let at = now();
        talk.told.waiting_since.get_or_insert(at);
        state.keep(id, Message { from: From::Client, at, text });
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

    /// Keeps a message, as far as there is room, and tells it.
    fn keep(&mut self, conversation: u64, message: Message) {
        self.tell(ToOperator::Said { conversation, message: message.clone() });
        let Some(talk) = self.talks.get_mut(&conversation) else { return };
        self.bytes += message.text.len();
        talk.told.messages.push(message);
        while talk.told.messages.len() > KEPT
            || (self.bytes > KEPT_BYTES && !talk.told.messages.is_empty())
        {
            self.bytes -= talk.told.messages.remove(0).text.len();
        }
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
        let mut ended = self.talks.values().filter(|talk| talk.told.ending.is_some());
        if ended.clone().count() > KEPT_ENDED
            && let Some(oldest) = ended.next().map(|talk| talk.told.id)
            && let Some(talk) = self.talks.remove(&oldest)
        {
            self.bytes -= talk.told.messages.iter().map(|said| said.text.len()).sum::<usize>();
        }
    }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
