//! Two hubs as replicas of a cluster: a client's at one, operators at the other.

use std::{
    sync::Arc,
    task::{Context, Poll, Waker},
    time::{Duration, Instant},
};

use echogate_proto::chat::{Author, Conversation, Ending, ToOperator};
use tokio::sync::{Semaphore, mpsc::Receiver};

use super::{
    delivery::{DeliveryOutcome, ToClient},
    hub::Hub,
    mirrored::MIRRORED,
    operator_queues::InFlightPermit,
    remote::Feed,
    token::Token,
};
use crate::connections::{registry::Peer, replicas::ReplicaId};

/// The payload that a broker takes.
const MAX_PAYLOAD: usize = 1 << 20;

/// The replica of clients, and the one of an operator.
struct Replicas {
    clients: Hub,
    feed: Feed,
    operators: Hub,
    operator: u64,
    now: Instant,
}

impl Replicas {
    /// Replicas that know each other. The snapshot is not requested yet.
    fn new() -> Replicas {
        let hub = || Hub::new(Token::random().unwrap());
        let (clients, operators) = (hub(), hub());
        let feed = clients.join(ReplicaId::of(1));
        operators.join(ReplicaId::of(2));
        clients.set_connected(true);
        operators.set_connected(true);
        let (operator, _) = operators.add_operator();
        operators.mirror(ReplicaId::of(1), "a/1");
        clients.set_online(1, false);
        Replicas { clients, feed, operators, operator, now: Instant::now() }
    }

    /// Replicas after the first snapshot.
    fn live() -> Replicas {
        let mut replicas = Replicas::new();
        assert!(replicas.exchange());
        replicas
    }

    /// Passes a snapshot, if one is requested, and the events after it.
    fn exchange(&mut self) -> bool {
        let is_requested = !self.operators.snapshots_to_request(self.now).is_empty();
        if is_requested {
            self.lose_events();
            for part in self.clients.snapshot(MAX_PAYLOAD) {
                self.operators.apply_part(ReplicaId::of(1), part, self.now);
            }
        }
        while let Ok(event) = self.feed.events.try_recv() {
            self.operators.apply(ReplicaId::of(1), event);
        }
        is_requested
    }

    fn lose_events(&mut self) {
        while self.feed.events.try_recv().is_ok() {}
    }

    /// The events that the operator has not taken.
    fn events(&self) -> Vec<ToOperator> {
        let cx = Context::from_waker(Waker::noop());
        let next = || match self.operators.poll_event(self.operator, &cx) {
            Poll::Ready(event) => Some(event.expect("the operator is connected").message.clone()),
            Poll::Pending => None,
        };
        std::iter::from_fn(next).collect()
    }

    /// Passes a confirmation. False if there is none.
    fn confirm(&self, repeats: bool) -> bool {
        let seen = self.operators.seen(repeats);
        seen.iter().for_each(|(_, seen)| self.clients.confirm(*seen));
        !seen.is_empty()
    }

    fn open(&self) -> (u64, Receiver<ToClient>) {
        self.clients.open_conversation(&Peer::Unknown)
    }

    fn say(&self, conversation: u64, text: &str) -> DeliveryOutcome {
        self.clients.client_says(conversation, text.to_owned(), None)
    }

    /// The number of messages that a client can send until too many are unseen.
    fn room(&self, conversation: u64) -> usize {
        (0..200).take_while(|_| self.say(conversation, "x") != DeliveryOutcome::Dropped).count()
    }

    /// Sends a message with a permit, of which there are as many as the result.
    fn say_with_permit(&self, conversation: u64) -> Arc<Semaphore> {
        let permits = Arc::new(Semaphore::new(2));
        let permit = || permits.clone().try_acquire_owned().unwrap();
        let both = InFlightPermit::new(permit(), permit());
        self.clients.client_says(conversation, "hello".to_owned(), Some(both));
        permits
    }
}

fn texts(events: &[ToOperator]) -> Vec<&str> {
    fn text(event: &ToOperator) -> Option<&str> {
        match event {
            ToOperator::Said { message, .. } => Some(&message.text),
            _ => None,
        }
    }
    events.iter().filter_map(text).collect()
}

fn opened(events: &[ToOperator]) -> Vec<&Conversation> {
    fn conversation(event: &ToOperator) -> Option<&Conversation> {
        match event {
            ToOperator::Opened { conversation } => Some(conversation),
            _ => None,
        }
    }
    events.iter().filter_map(conversation).collect()
}

#[test]
fn an_operator_who_comes_later_gets_what_was_said_with_the_conversation_however_many_parts_it_has()
{
    let mut replicas = Replicas::new();
    let (silent, _silent) = replicas.open();
    let (id, mut receiver) = replicas.open();
    (0..50).for_each(|number| _ = replicas.say(id, &format!("{number:0>1000}")));
    let (operator, _) = replicas.clients.add_operator();
    replicas.clients.operator_says(operator, id, "answer").unwrap();
    replicas.say(id, &"x".repeat(20_000));
    replicas.say(id, "last");
    replicas.clients.end_conversation(silent, Ending::Left);
    assert!(receiver.try_recv().is_ok());
    replicas.operators.snapshots_to_request(replicas.now);
    let parts = replicas.clients.snapshot(10_000);
    assert!(parts.len() > 5, "{}", parts.len());
    for part in parts {
        replicas.operators.apply_part(ReplicaId::of(1), part, replicas.now);
    }
    let events = replicas.events();
    assert_eq!(texts(&events), [""; 0], "as new messages");
    let [ended, open] = opened(&events)[..] else { panic!("{events:?}") };
    assert_eq!((ended.ending, open.ending), (Some(Ending::Left), None));
    assert!(open.waiting_since.is_some());
    let authors = open.messages.iter().filter(|message| message.from == Author::Client).count();
    assert_eq!((open.messages.len(), authors), (52, 51));
    assert_eq!((&*open.messages[50].text, &*open.messages[51].text), ("answer", "last"));
    let ToOperator::Error { text } = events.last().unwrap() else { panic!("{events:?}") };
    assert!(text.contains(" is shown without 1 message, "), "{text}");
    replicas.lose_events();
    replicas.say(id, "new");
    replicas.exchange();
    assert_eq!(texts(&replicas.events()), ["new"]);
    let (_, conversations) = replicas.operators.add_operator();
    assert_eq!(conversations[1].messages.len(), 53, "for those who come later still");
}

#[test]
fn a_message_is_in_flight_until_an_operator_of_another_replica_has_taken_it() {
    let mut replicas = Replicas::live();
    let (id, _receiver) = replicas.open();
    let permits = replicas.say_with_permit(id);
    replicas.exchange();
    assert!(!replicas.confirm(false), "it is queued");
    assert_eq!((permits.available_permits(), replicas.clients.unconfirmed()), (0, 1));
    assert_eq!(texts(&replicas.events()), ["hello"]);
    assert!(replicas.confirm(false) && !replicas.confirm(false));
    assert_eq!((permits.available_permits(), replicas.clients.unconfirmed()), (2, 0));
}

#[test]
fn the_events_of_an_operator_that_leaves_are_seen_by_nobody() {
    let mut replicas = Replicas::live();
    let (id, _receiver) = replicas.open();
    replicas.say(id, "hello");
    replicas.exchange();
    replicas.operators.remove_operator(replicas.operator);
    assert!(!replicas.confirm(false) && !replicas.confirm(true));
}

#[test]
fn a_slow_broker_takes_no_permits_of_messages_that_operators_here_have_seen() {
    let replicas = Replicas::live();
    let (here, _) = replicas.clients.add_operator();
    let (id, _receiver) = replicas.open();
    let permits = replicas.say_with_permit(id);
    assert_eq!(permits.available_permits(), 0);
    let cx = Context::from_waker(Waker::noop());
    while replicas.clients.poll_event(here, &cx).is_ready() {}
    assert_eq!(permits.available_permits(), 2, "although the event is not published yet");
}

#[test]
fn an_operator_that_connects_here_sees_what_no_other_replica_has_confirmed() {
    let replicas = Replicas::live();
    let (id, _receiver) = replicas.open();
    let permits = replicas.say_with_permit(id);
    replicas.clients.add_operator();
    assert_eq!(permits.available_permits(), 2);
}

#[test]
fn a_message_that_is_not_confirmed_in_time_is_queued_and_its_client_knows() {
    let replicas = Replicas::live();
    let (id, mut receiver) = replicas.open();
    let permits = replicas.say_with_permit(id);
    replicas.clients.expire_unconfirmed(replicas.now);
    assert!(receiver.try_recv().is_err() && permits.available_permits() == 0);
    let late = Instant::now() + Duration::from_secs(13);
    replicas.clients.expire_unconfirmed(late);
    assert!(matches!(receiver.try_recv(), Ok(ToClient::Notice(_))));
    assert_eq!(permits.available_permits(), 2);
    replicas.say(id, "again");
    replicas.clients.expire_unconfirmed(late + Duration::from_secs(13));
    assert!(receiver.try_recv().is_err(), "the client knows");
    assert_eq!(replicas.room(id), 98);
}

#[test]
fn messages_behind_a_snapshot_are_unseen_and_those_in_it_are_not() {
    let mut replicas = Replicas::new();
    let (id, _receiver) = replicas.open();
    (0..60).for_each(|_| _ = replicas.say(id, "before"));
    assert!(replicas.exchange());
    replicas.events();
    (0..10).for_each(|_| _ = replicas.say(id, "behind"));
    assert!(replicas.confirm(false));
    assert_eq!(replicas.room(id), 90);
}

#[test]
fn a_confirmation_that_is_lost_is_repeated() {
    let mut replicas = Replicas::live();
    let (id, _receiver) = replicas.open();
    let permits = replicas.say_with_permit(id);
    replicas.exchange();
    replicas.events();
    assert_eq!(replicas.operators.seen(false).len(), 1, "lost");
    assert!(!replicas.confirm(false) && replicas.confirm(true));
    assert_eq!(permits.available_permits(), 2);
}

#[test]
fn operators_know_how_many_messages_of_a_gap_are_not_kept() {
    let mut replicas = Replicas::new();
    let (id, _receiver) = replicas.open();
    replicas.say(id, "first");
    assert!(replicas.exchange());
    replicas.events();
    replicas.clients.add_operator();
    (0..300).for_each(|_| _ = replicas.say(id, "missed"));
    replicas.lose_events();
    replicas.say(id, "last");
    replicas.exchange();
    assert!(replicas.exchange());
    let events = replicas.events();
    let ToOperator::Error { text } = &events[0] else { panic!("{events:?}") };
    assert!(text.contains(" is shown without 101 messages, "), "{text}");
    assert_eq!(texts(&events).len(), 200);
    assert_eq!(texts(&events).last(), Some(&"last"));
}

#[test]
fn a_client_beyond_the_limit_of_conversations_is_not_seen_until_others_end() {
    let mut replicas = Replicas::live();
    let open_one = |_| {
        let opened = replicas.open();
        replicas.exchange();
        opened
    };
    let open: Vec<_> = (0..MIRRORED).map(open_one).collect();
    let (hidden, _receiver) = replicas.open();
    let shown = open[0].0;
    let permits = replicas.say_with_permit(hidden);
    (0..50).for_each(|_| _ = replicas.say(shown, "hello"));
    replicas.exchange();
    assert_eq!(texts(&replicas.events()).len(), 50);
    assert!(replicas.confirm(false) && replicas.confirm(true));
    assert_eq!(permits.available_permits(), 2, "it is not waited for");
    assert_eq!((replicas.room(hidden), replicas.room(shown)), (99, 100));

    replicas.clients.end_conversation(shown, Ending::Left);
    replicas.exchange();
    replicas.now += Duration::from_secs(5);
    assert!(replicas.exchange());
    let events = replicas.events();
    let earlier = opened(&events).last().unwrap().messages.last();
    assert_eq!(earlier.map(|message| &*message.text), Some("x"));
    assert!(replicas.confirm(true));
    assert_eq!(replicas.room(hidden), 100);
}

#[test]
fn the_report_of_a_message_that_is_not_sent_to_another_replica_has_the_client_and_the_text() {
    let mut replicas = Replicas::live();
    let _client = replicas.open();
    replicas.exchange();
    let (operator, conversations) = replicas.operators.add_operator();
    let client = conversations[0].id;
    // Nothing takes the messages for the broker: the receiver is gone with the feed of that replica.
    let refused = replicas.operators.operator_says(operator, client, "hello");
    let expected = format!(
        "not sent to client {client} (too many messages wait for the broker of --cluster): hello"
    );
    assert_eq!(refused, Err(expected));
}
