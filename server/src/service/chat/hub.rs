//! The hub of `chat`: the operations of clients and operators.

use std::{
    sync::Arc,
    task::{Context, Poll},
};

use echogate_proto::chat::{Author, BYE, Conversation, Ending, Message, ToOperator};
use parking_lot::{Mutex, RwLock};
use tokio::sync::{
    Semaphore,
    mpsc::{Receiver, channel},
};

use super::{
    conversations::{Conversations, unix_time},
    delivery::{DeliveryOutcome, MAX_LINE, Online, ToClient, Undelivered},
    operator_queues::{Event, Guard, IN_FLIGHT, InFlightPermit, Operators},
    remote::Remote,
    token::Token,
};
use crate::{connections::registry::Peer, text::escape};

/// The maximum number of messages that wait for a client that does not read.
const CLIENT_QUEUE: usize = 64;

/// The conversations and the operators of the server.
#[derive(Debug)]
pub(crate) struct Hub {
    token: RwLock<Token>,
    state: Mutex<State>,
    in_flight: Arc<Semaphore>,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) conversations: Conversations,
    pub(super) operators: Operators,
    /// The other replicas, if this one is in a cluster.
    pub(super) remote: Option<Box<Remote>>,
}

impl Hub {
    /// Creates a hub without conversations whose operators present `token`.
    pub(crate) fn new(token: Token) -> Hub {
        Hub {
            token: RwLock::new(token),
            state: Mutex::default(),
            in_flight: Arc::new(Semaphore::new(IN_FLIGHT)),
        }
    }

    pub(crate) fn token(&self) -> Token {
        self.token.read().clone()
    }

    /// Changes the token for operators that connect from now on.
    pub(crate) fn set_token(&self, token: Token) {
        *self.token.write() = token;
    }

    /// The permits for client messages in flight: see [`InFlightPermit`].
    pub(super) fn in_flight(&self) -> &Arc<Semaphore> {
        &self.in_flight
    }

    /// Opens a conversation with a client. Returns its number and the messages to the client.
    pub(super) fn open_conversation(&self, peer: &Peer) -> (u64, Receiver<ToClient>) {
        let (to_client, receiver) = channel(CLIENT_QUEUE);
        self.change(|state| {
            let conversation = state.conversations.open(peer, to_client);
            let id = conversation.id;
            state.report(ToOperator::Opened { conversation }, None);
            (id, receiver)
        })
    }

    /// Passes a client's message on to the operators. A message without a `permit` is not counted
    /// as in flight.
    pub(super) fn client_says(
        &self,
        conversation: u64,
        text: String,
        permit: Option<InFlightPermit>,
    ) -> DeliveryOutcome {
        self.change(|state| {
            let message = Message { from: Author::Client, at: unix_time(), text };
            let online = state.online();
            let sequence = state.remote.as_ref().map_or(0, |remote| remote.sequence() + 1);
            let delivery = state.conversations.receive(conversation, &message, online, sequence);
            if matches!(delivery, DeliveryOutcome::Delivered | DeliveryOutcome::Queued) {
                let event = state.record(conversation, message, permit);
                match &mut state.remote {
                    Some(remote) if online == Online::Elsewhere => {
                        remote.confirm_later(conversation, event);
                    }
                    _ => state.operators.defer_drop(event),
                }
            }
            delivery
        })
    }

    /// Ends a conversation, unless it has already ended.
    pub(super) fn end_conversation(&self, conversation: u64, ending: Ending) {
        self.change(|state| state.end(conversation, ending));
    }

    /// Adds an operator. Returns its number and the conversations so far.
    pub(crate) fn add_operator(&self) -> (u64, Vec<Conversation>) {
        self.change(|state| {
            state.drop_unconfirmed();
            (state.operators.add(), state.conversations.show())
        })
    }

    pub(crate) fn remove_operator(&self, operator: u64) {
        self.change(|state| state.operators.remove(operator));
    }

    /// The next event for an operator; none if the operator was disconnected because it did not
    /// read its events.
    pub(crate) fn poll_event(&self, operator: u64, cx: &Context<'_>) -> Poll<Option<Arc<Event>>> {
        self.change(|state| state.operators.poll_event(operator, cx))
    }

    /// Disconnects operators that do not read while clients wait for them.
    pub(super) fn disconnect_stalled_operators(&self) {
        self.change(|state| state.operators.disconnect_stalled());
    }

    /// Sends an operator's message to a client. The text [`BYE`] ends the conversation.
    ///
    /// # Errors
    ///
    /// The reason why the message cannot be sent, in one line.
    pub(crate) fn operator_says(
        &self,
        operator: u64,
        conversation: u64,
        text: &str,
    ) -> Result<(), String> {
        check_text(text)?;
        self.change(|state| {
            if state.conversations.is_remote(conversation)
                && let Some(remote) = &state.remote
            {
                return remote.send(operator, conversation, text);
            }
            let sent = state.conversations.send(conversation, text);
            sent.map_err(|why: Undelivered| why.describe(conversation))?;
            state.operator_said(operator, conversation, text);
            Ok(())
        })
    }

    /// Changes the state, then runs the deferred effects without holding the lock.
    pub(super) fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state.lock();
        let changed = change(&mut state);
        if let Some(remote) = &state.remote {
            remote.count_operators(state.operators.len());
        }
        let deferred = state.operators.take_deferred();
        drop(state);
        deferred.run();
        changed
    }
}

impl State {
    /// Whether operators are online at this replica, only at other replicas, or nowhere.
    fn online(&self) -> Online {
        match &self.remote {
            _ if !self.operators.is_empty() => Online::Here,
            Some(remote) if remote.is_online() => Online::Elsewhere,
            _ => Online::Nowhere,
        }
    }

    /// Reports an event of a conversation with a client of this replica to all operators.
    fn report(&mut self, event: ToOperator, permit: Option<InFlightPermit>) -> Arc<Event> {
        if let Some(remote) = &mut self.remote {
            remote.publish(&event);
        }
        self.operators.report(event, permit.map(|_permit| Guard::InFlight { _permit }))
    }

    /// Reports a message to the operators, and keeps it.
    fn record(
        &mut self,
        conversation: u64,
        message: Message,
        permit: Option<InFlightPermit>,
    ) -> Arc<Event> {
        let said = ToOperator::Said { conversation, message: message.clone() };
        let event = self.report(said, permit);
        self.conversations.keep(conversation, message);
        event
    }

    /// Records a message of an operator that was sent to its client.
    pub(super) fn operator_said(&mut self, operator: u64, conversation: u64, text: &str) {
        let from = Author::Operator(operator);
        let message = Message { from, at: unix_time(), text: text.to_owned() };
        self.record(conversation, message, None);
        if text == BYE {
            self.end(conversation, Ending::Operator(operator));
        }
    }

    fn end(&mut self, conversation: u64, ending: Ending) {
        if self.conversations.end(conversation, ending) {
            self.report(ToOperator::Ended { conversation, ending }, None);
        }
    }
}

/// Checks a message of an operator.
///
/// # Errors
///
/// The reason why it cannot be sent, in one line.
pub(super) fn check_text(text: &str) -> Result<(), String> {
    if text.contains(['\n', '\r']) {
        return Err("a message must be a single line".to_owned());
    }
    if text.len() > MAX_LINE {
        return Err(format!("message too long (limit: {MAX_LINE} bytes)"));
    }
    // Clients and the console may be terminals, which act on control characters.
    if text.split('\t').any(|part| escape::escape(part) != part) {
        return Err("a message must not contain control characters".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;

    fn hub() -> Hub {
        Hub::new(Token::random().unwrap())
    }

    #[test]
    fn a_client_cannot_continue_a_conversation_that_has_ended() {
        let hub = hub();
        let (id, _receiver) = hub.open_conversation(&Peer::Unknown);
        let (operator, _) = hub.add_operator();
        hub.operator_says(operator, id, BYE).unwrap();
        assert_eq!(hub.client_says(id, "wait".to_owned(), None), DeliveryOutcome::Ended);
        let cx = Context::from_waker(Waker::noop());
        let mut last = None;
        while let Poll::Ready(event) = hub.poll_event(operator, &cx) {
            last = event;
        }
        assert!(matches!(last.unwrap().message, ToOperator::Ended { .. }));
    }

    #[test]
    fn an_operator_cannot_send_control_characters() {
        let hub = hub();
        let (id, mut receiver) = hub.open_conversation(&Peer::Unknown);
        for text in ["\x1b[2J", "a\u{9b}b", "\u{202e}", "bell\x07"] {
            let refused = hub.operator_says(1, id, text);
            assert_eq!(refused.unwrap_err(), "a message must not contain control characters");
        }
        hub.operator_says(1, id, "a\ttab, 世界").unwrap();
        assert_eq!(receiver.try_recv(), Ok(ToClient::Line("a\ttab, 世界".to_owned())));
    }

    #[test]
    fn an_operator_at_the_console_sends_at_most_as_much_as_one_over_a_connection() {
        let hub = hub();
        let (id, _receiver) = hub.open_conversation(&Peer::Unknown);
        hub.operator_says(1, id, &"x".repeat(MAX_LINE)).unwrap();
        let refused = hub.operator_says(1, id, &"x".repeat(MAX_LINE + 1));
        assert_eq!(refused.unwrap_err(), "message too long (limit: 65536 bytes)");
    }
}
