//! Where clients and operators meet, and what is kept of what they say.

use std::{
    collections::{BTreeMap, VecDeque},
    mem::take,
    sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock},
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use echogate_proto::operator::{BYE, Conversation, Ending, From, Message, ToOperator};
use tokio::sync::{
    OwnedSemaphorePermit, Semaphore,
    mpsc::{Receiver, Sender, channel, error::TrySendError},
};

use super::{
    now,
    shares::{Holder, Shares},
    token::Token,
};
use crate::{connections::registry::Peer, text::escape};

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

/// Messages of all clients together that some operator has not taken yet. Clients are read
/// no faster than operators take what they send.
const UNTAKEN: usize = 512;

/// Those of one client.
pub(super) const UNTAKEN_OF_CLIENT: usize = 32;

/// Bytes of events that an operator may be behind: 16 MiB. The messages of clients are
/// bounded beside that ([`UNTAKEN`]); clients that come and go, and what operators say, are
/// not.
const OPERATOR_BEHIND: usize = 16 << 20;

/// What a client is told whose messages were dropped for those of others.
const DROPPED: &str = "* too many messages of all clients wait; your oldest are not kept any more";

/// How long an operator may take nothing while clients wait for that.
const OPERATOR_STALLED: Duration = Duration::from_secs(10);

/// Where all meet.
#[derive(Debug)]
pub(crate) struct Hub {
    token: RwLock<Token>,
    state: Mutex<State>,
    /// A permit for each message that clients may still send to operators.
    untaken: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct State {
    last_conversation: u64,
    last_operator: u64,
    talks: BTreeMap<u64, Talk>,
    operators: BTreeMap<u64, Queue>,
    /// Conversations that are over, in the order of their ends.
    ended: VecDeque<u64>,
    /// What all messages that are kept take.
    shares: Shares,
    after: After,
}

/// What is done when the lock is released, as it may end tasks that ask for the lock.
#[derive(Debug, Default)]
struct After {
    wake: Vec<Waker>,
    /// Events that are dropped, and permits with them.
    drop: Vec<Arc<Event>>,
}

#[derive(Debug)]
struct Talk {
    told: Conversation,
    holder: Holder,
    /// None after its end.
    to_client: Option<Sender<ToClient>>,
    /// Messages since an operator was last there to see them.
    unseen: usize,
    /// The client knows that messages which waited were dropped.
    knows_of_drops: bool,
}

/// The events that an operator has not taken yet.
#[derive(Debug)]
struct Queue {
    events: VecDeque<Arc<Event>>,
    bytes: usize,
    /// The last time that the operator took an event, or that there was none to take.
    last_taken: Instant,
    /// The task of the operator, while it waits for an event.
    waker: Option<Waker>,
}

/// Something that operators are told.
#[derive(Debug)]
pub(super) struct Event {
    pub(super) told: ToOperator,
    /// Given back when the last operator has taken the event.
    _untaken: Option<Untaken>,
}

/// A client's permission to send one message to the operators.
#[derive(Debug)]
pub(super) struct Untaken {
    _of_client: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Untaken {
    /// Of a permit among those of the client and one among those of all clients.
    pub(super) fn new(of_client: OwnedSemaphorePermit, of_all: OwnedSemaphorePermit) -> Untaken {
        Untaken { _of_client: of_client, _of_all: of_all }
    }
}

/// What a client is to be told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToClient {
    /// An operator's words.
    Line(String),
    /// The server's.
    Notice(&'static str),
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
    pub(crate) fn new(token: Token) -> Hub {
        Hub {
            token: RwLock::new(token),
            state: Mutex::default(),
            untaken: Arc::new(Semaphore::new(UNTAKEN)),
        }
    }

    /// What operators have to know.
    pub(crate) fn token(&self) -> Token {
        self.token.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Something else that operators have to know who come from now on.
    pub(crate) fn set_token(&self, token: Token) {
        *self.token.write().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// The permits of all clients together: see [`Untaken`].
    pub(super) fn untaken(&self) -> &Arc<Semaphore> {
        &self.untaken
    }

    /// A client has come: the number of its conversation, and what it is to be told.
    pub(super) fn open(&self, peer: &Peer) -> (u64, Receiver<ToClient>) {
        let (to_client, receiver) = channel(CLIENT_BEHIND);
        self.change(|state| {
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
            state.tell(ToOperator::Opened { conversation: told.clone() }, None);
            let talk = Talk {
                told,
                holder: Holder::of(peer),
                to_client: Some(to_client),
                unseen: 0,
                knows_of_drops: false,
            };
            state.talks.insert(id, talk);
            (id, receiver)
        })
    }

    /// A client says something, with permission if operators have to take it.
    pub(super) fn client_says(&self, id: u64, text: String, untaken: Option<Untaken>) -> Heard {
        self.change(|state| {
            let present = !state.operators.is_empty();
            let at = now();
            let message = Message { from: From::Client, at, text };
            let room = state.make_room(id, cost(&message));
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
            state.keep(id, message, untaken);
            if present { Heard::Now } else { Heard::Later }
        })
    }

    /// A conversation is over, unless it was already.
    pub(super) fn end(&self, id: u64, ending: Ending) {
        self.change(|state| state.end(id, ending));
    }

    /// An operator has come: its number, and what there is.
    pub(super) fn enter(&self) -> (u64, Vec<Conversation>) {
        self.change(|state| {
            state.last_operator += 1;
            let id = state.last_operator;
            let queue = Queue {
                events: VecDeque::new(),
                bytes: 0,
                last_taken: Instant::now(),
                waker: None,
            };
            state.operators.insert(id, queue);
            for talk in state.talks.values_mut() {
                talk.unseen = 0;
                talk.knows_of_drops = false;
            }
            (id, state.talks.values().map(|talk| talk.told.clone()).collect())
        })
    }

    /// The next event for an operator; none if the operator was let go.
    pub(super) fn poll_event(&self, operator: u64, cx: &Context<'_>) -> Poll<Option<Arc<Event>>> {
        let mut state = self.state();
        let Some(queue) = state.operators.get_mut(&operator) else { return Poll::Ready(None) };
        if let Some(event) = queue.events.pop_front() {
            queue.bytes -= event.cost();
            queue.last_taken = Instant::now();
            return Poll::Ready(Some(event));
        }
        let before = queue.waker.replace(cx.waker().clone());
        drop(state);
        drop(before);
        Poll::Pending
    }

    /// Lets operators go who have taken nothing for long, although there was something to
    /// take: clients wait for them.
    pub(super) fn let_stalled_operators_go(&self) {
        self.change(|state| {
            let stalled = state.operators.iter().filter(|(_, queue)| {
                !queue.events.is_empty() && queue.last_taken.elapsed() >= OPERATOR_STALLED
            });
            for id in stalled.map(|(id, _)| *id).collect::<Vec<_>>() {
                state.let_go(id);
            }
        });
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
        self.change(|state| {
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
            state.keep(conversation, Message { from, at: now(), text: text.to_owned() }, None);
            if bye {
                state.end(conversation, Ending::Operator(operator));
            }
            Ok(())
        })
    }

    /// An operator has gone.
    pub(super) fn leave(&self, operator: u64) {
        self.change(|state| {
            state.remove(operator);
        });
    }

    /// Changes the state, and then does what follows from that without holding the lock.
    fn change<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.state();
        let changed = change(&mut state);
        let After { wake, drop: events } = take(&mut state.after);
        drop(state);
        drop(events);
        wake.into_iter().for_each(Waker::wake);
        changed
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Tells all operators. One that is too far behind is let go, and finds that out.
    fn tell(&mut self, told: ToOperator, untaken: Option<Untaken>) {
        let event = Arc::new(Event { told, _untaken: untaken });
        let cost = event.cost();
        let mut behind = Vec::new();
        for (id, queue) in &mut self.operators {
            if queue.bytes + cost > OPERATOR_BEHIND {
                behind.push(*id);
                continue;
            }
            if queue.events.is_empty() {
                queue.last_taken = Instant::now();
            }
            queue.bytes += cost;
            queue.events.push_back(event.clone());
            self.after.wake.extend(queue.waker.take());
        }
        self.after.drop.push(event);
        behind.into_iter().for_each(|id| self.let_go(id));
    }

    fn let_go(&mut self, operator: u64) {
        if self.remove(operator) {
            tracing::warn!(operator, "an operator does not read and is let go");
        }
    }

    /// Removes an operator and what it has not taken; false if there is none.
    fn remove(&mut self, operator: u64) -> bool {
        let Some(queue) = self.operators.remove(&operator) else { return false };
        self.after.wake.extend(queue.waker);
        self.after.drop.extend(queue.events);
        true
    }

    /// Tells a message, and keeps it as far as there is room: at the cost of what was
    /// said before in its conversation, if need be.
    fn keep(&mut self, conversation: u64, message: Message, untaken: Option<Untaken>) {
        self.tell(ToOperator::Said { conversation, message: message.clone() }, untaken);
        self.make_room(conversation, cost(&message));
        let messages =
            |state: &State| state.talks.get(&conversation).map_or(0, |it| it.told.messages.len());
        while messages(self) == KEPT || (self.lacks(cost(&message)) && messages(self) > 0) {
            self.drop_oldest(conversation);
        }
        if !self.lacks(cost(&message))
            && let Some(talk) = self.talks.get_mut(&conversation)
        {
            self.shares.add(talk.holder, conversation, cost(&message));
            talk.told.messages.push(message);
        }
    }

    /// Whether there is no room for so many bytes.
    fn lacks(&self, bytes: usize) -> bool {
        self.shares.total() + bytes > KEPT_BYTES
    }

    /// Makes room for so many bytes in a conversation: forgets conversations that are over,
    /// and then takes from those that take most, as long as that is fair. False if there
    /// is not enough.
    fn make_room(&mut self, conversation: u64, bytes: usize) -> bool {
        while self.lacks(bytes) {
            if let Some(first) = self.ended.pop_front() {
                self.forget(first);
                continue;
            }
            let Some(holder) = self.talks.get(&conversation).map(|talk| talk.holder) else {
                return false;
            };
            let Some(other) = self.shares.largest_beside(holder, conversation, bytes) else {
                return false;
            };
            self.drop_oldest(other);
        }
        true
    }

    /// Drops the oldest message of a conversation. A client whose message has waited is
    /// told, once.
    fn drop_oldest(&mut self, conversation: u64) {
        let Some(talk) = self.talks.get_mut(&conversation) else { return };
        let messages = &mut talk.told.messages;
        if messages.is_empty() {
            return;
        }
        self.shares.remove(talk.holder, conversation, cost(&messages.remove(0)));
        if talk.unseen > messages.len() {
            talk.unseen = messages.len();
            if !std::mem::replace(&mut talk.knows_of_drops, true)
                && let Some(to_client) = &talk.to_client
            {
                to_client.try_send(ToClient::Notice(DROPPED)).ok();
            }
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
        self.tell(ToOperator::Ended { conversation, ending }, None);
        self.ended.push_back(conversation);
        if self.ended.len() > KEPT_ENDED
            && let Some(first) = self.ended.pop_front()
        {
            self.forget(first);
        }
    }

    fn forget(&mut self, conversation: u64) {
        if let Some(talk) = self.talks.remove(&conversation) {
            let bytes = talk.told.messages.iter().map(cost).sum();
            self.shares.remove(talk.holder, conversation, bytes);
        }
    }
}

impl Event {
    /// What it takes in a queue, in bytes.
    fn cost(&self) -> usize {
        let text = match &self.told {
            ToOperator::Said { message, .. } => message.text.len(),
            ToOperator::Opened { conversation } => conversation.peer.len(),
            _ => 0,
        };
        size_of::<Event>() + text
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
        assert_eq!(state.shares.total(), all);
        all
    }

    fn says(hub: &Hub, id: u64, text: &str) -> Heard {
        hub.client_says(id, text.to_owned(), None)
    }

    fn next(hub: &Hub, operator: u64) -> Option<Arc<Event>> {
        match hub.poll_event(operator, &Context::from_waker(Waker::noop())) {
            Poll::Ready(event) => event,
            Poll::Pending => None,
        }
    }

    #[test]
    fn what_is_kept_is_bounded_and_each_client_has_a_share() {
        let hub = hub();
        let mut clients: Vec<_> = (0..20).map(|_| hub.open(&Peer::Unknown)).collect();
        for round in 0..WAITING {
            for (id, _) in &clients {
                let heard = says(&hub, *id, &"x".repeat(4096));
                assert!(heard == Heard::Later || round > KEPT_BYTES / 20 / 5000);
            }
        }
        assert!((KEPT_BYTES * 9 / 10..=KEPT_BYTES).contains(&kept(&hub)));
        // A client who comes now has room all the same, up to as much as the others have.
        let (newcomer, _told) = hub.open(&Peer::Unknown);
        let kept_of = |id: u64| hub.state().talks[&id].told.messages.len();
        let later = (0..WAITING)
            .filter(|_| says(&hub, newcomer, &"y".repeat(4096)) == Heard::Later)
            .count();
        assert_eq!(kept_of(newcomer), later);
        let others = clients.iter().map(|(id, _)| kept_of(*id));
        let (least, most) = others.fold((WAITING, 0), |(a, b), n| (a.min(n), b.max(n)));
        assert!(least.abs_diff(later) <= 2 && most.abs_diff(later) <= 2, "{least} {later} {most}");
        // Those whose messages were dropped for it know.
        let told = clients.iter_mut().filter_map(|(_, told)| told.try_recv().ok());
        assert!(told.count() > 0);
        // Who is over makes room for who is not.
        hub.end(1, Ending::Left);
        assert_eq!(says(&hub, newcomer, "hello"), Heard::Later);
        let (_, conversations) = hub.enter();
        assert_eq!(conversations.last().unwrap().messages.last().unwrap().text, "hello");
        kept(&hub);
    }

    #[test]
    fn one_address_cannot_take_the_room_of_another() {
        let hub = hub();
        let address = |host: u8| Peer::Address(([192, 0, 2, host], 5).into());
        let mut open = Vec::new();
        for _ in 0..30 {
            let (id, told) = hub.open(&address(1));
            for _ in 0..WAITING {
                says(&hub, id, &"x".repeat(4096));
            }
            open.push(told);
        }
        let (id, _told) = hub.open(&address(2));
        for _ in 0..WAITING {
            assert_eq!(says(&hub, id, &"y".repeat(4096)), Heard::Later);
        }
        let (other, _told) = hub.open(&address(1));
        let before = hub.state().talks[&id].told.messages.len();
        for _ in 0..WAITING {
            says(&hub, other, &"x".repeat(4096));
        }
        assert_eq!(hub.state().talks[&id].told.messages.len(), before);
        assert_eq!(before, WAITING);
    }

    #[test]
    fn an_operator_who_is_too_far_behind_is_let_go() {
        let hub = hub();
        let (id, _told) = hub.open(&Peer::Unknown);
        let (slow, _) = hub.enter();
        let (quick, _) = hub.enter();
        for _ in 0..OPERATOR_BEHIND / 60_000 {
            says(&hub, id, &"x".repeat(60_000));
            assert!(next(&hub, quick).is_some());
        }
        assert_eq!(hub.state().operators.len(), 2, "not before");
        says(&hub, id, &"x".repeat(60_000));
        assert!(next(&hub, quick).is_some());
        assert!(matches!(
            hub.poll_event(slow, &Context::from_waker(Waker::noop())),
            Poll::Ready(None)
        ));
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
        let (operator, _) = hub.enter();
        hub.operator_says(operator, id, BYE).unwrap();
        assert_eq!(says(&hub, id, "wait"), Heard::Now);
        let mut told = Vec::new();
        while let Some(event) = next(&hub, operator) {
            told.push(event);
        }
        assert!(matches!(told[told.len() - 1].told, ToOperator::Ended { .. }), "{told:?}");
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
