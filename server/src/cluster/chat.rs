//! `chat` over all replicas: events of conversations, snapshots, and messages of operators.
//!
//! On the subject `events` a replica publishes what happens in the conversations of its clients, and
//! snapshots of them, in one order. On `to.ID` it takes what others have for it alone.

use std::{
    collections::{BTreeMap, HashMap},
    future::pending,
    time::Duration,
};

use async_nats::{Message, Subscriber};
use echogate_proto::chat::ToOperator;
use futures_util::{FutureExt, StreamExt};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, MissedTickBehavior, interval};

use super::{
    members::SILENCE,
    session::{Session, VERSION},
};
use crate::{
    connections::replica::ReplicaId,
    service::chat::{Feed, OperatorMessage, Part, Published, Recent, RemoteOperator, Undelivered},
};

/// The interval of checks: snapshots that are missing, messages that are not confirmed.
const TICK: Duration = Duration::from_millis(200);

/// The times after which a message to another replica is sent again, and after which it is given up.
const CONFIRM: [Duration; 2] = [Duration::from_secs(2), Duration::from_secs(3)];

/// The most messages to other replicas that wait for confirmation.
const MAX_PENDING: usize = 256;

/// Events that are applied before they are confirmed to their owners.
const BATCH: usize = 64;

/// The time from the beginning of a session in which the heartbeats of all replicas arrive.
const SETTLED: Duration = SILENCE.saturating_add(Duration::from_secs(1));

/// A message for all replicas with operators.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Broadcast<E> {
    Event(Published<E>),
    Part(Part),
}

/// A message for one replica.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Direct {
    /// An operator's message to a client.
    Say { id: u64, operator: u64, conversation: u64, text: String },
    /// The answer to it.
    Done { id: u64, error: Option<Undelivered> },
    /// A request for a snapshot.
    Snapshot,
    /// Events up to `sequence` have been shown to operators; with `all`, those of a snapshot.
    Seen { sequence: u64, all: bool },
}

/// The part of a replica in the exchange. It outlives a connection to the broker.
#[derive(Debug)]
pub(super) struct Exchange {
    pub(super) feed: Feed,
    /// The answers to messages of other replicas' operators.
    answers: Recent<Option<Undelivered>>,
    /// Messages to other replicas that are not confirmed yet, by their identifiers.
    pending: HashMap<u64, Pending>,
    last_id: u64,
}

#[derive(Debug)]
struct Pending {
    message: OperatorMessage,
    attempts: usize,
    deadline: Instant,
}

impl Exchange {
    pub(super) fn new(feed: Feed) -> Exchange {
        Exchange { feed, answers: Recent::new(), pending: HashMap::new(), last_id: 0 }
    }

    /// Exchanges messages until the connection is lost.
    pub(super) async fn run(&mut self, session: &Session<'_>) -> Result<(), String> {
        let hub = &session.shared.hub;
        let mut direct = session.subscribe(VERSION, &to(session.shared.id)).await?;
        let mut events: Option<Subscriber> = None;
        let mut members = session.shared.members.subscribe();
        members.mark_changed();
        self.feed.operators.mark_changed();
        let (start, mut replicas) = (Instant::now(), 0);
        let mut ticks = interval(TICK);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        hub.set_connected(true);
        loop {
            tokio::select! {
                Some(event) = self.feed.events.recv() => {
                    let (sequence, event, operators) = event;
                    let event = Broadcast::Event((sequence, &event.message, operators));
                    session.publish("events", event).await?;
                }
                Some(message) = self.feed.messages.recv() => self.say(session, message).await?,
                Ok(()) = self.feed.operators.changed() => {
                    if *self.feed.operators.borrow_and_update() == 0 {
                        events = None;
                        hub.remove_mirrors();
                        continue;
                    }
                    if events.is_none() {
                        events = Some(session.subscribe(VERSION, "events").await?);
                    }
                    mirror_all(session);
                    ask(session).await?;
                }
                Ok(()) = members.changed() => {
                    let online = members.borrow_and_update().iter().map(|it| it.operators).sum();
                    let count = members.borrow().len();
                    hub.set_online(online, count < replicas);
                    replicas = count;
                    mirror_all(session);
                    ask(session).await?;
                }
                message = direct.next() => {
                    let message = message.ok_or("the subscription has ended")?;
                    self.take(session, &message).await?;
                }
                message = next(&mut events) => {
                    let message = message.ok_or("the subscription has ended")?;
                    take_events(session, message, &mut events).await?;
                }
                _ = ticks.tick() => {
                    if start.elapsed() > SETTLED {
                        let known: Vec<_> = members.borrow().iter().map(|it| it.id).collect();
                        hub.remove_gone(&known);
                    }
                    session.shared.counters.dropped(hub.take_unpublished());
                    ask(session).await?;
                    self.send_again(session).await?;
                }
            }
        }
    }

    /// Publishes the events that are left.
    pub(super) async fn finish(&mut self, session: &Session<'_>) {
        while let Ok((sequence, event, operators)) = self.feed.events.try_recv() {
            let event = Broadcast::Event((sequence, &event.message, operators));
            if session.publish("events", event).await.is_err() {
                return;
            }
        }
    }

    /// Gives up the messages that are not confirmed: the connection is lost.
    pub(super) fn disconnected(&mut self, session: &Session<'_>) {
        session.shared.hub.set_connected(false);
        for (_, Pending { message, .. }) in self.pending.drain() {
            give_up(session, &message, "the connection to the broker was lost");
        }
    }

    /// Sends an operator's message to the replica of its client.
    async fn say(&mut self, session: &Session<'_>, message: OperatorMessage) -> Result<(), String> {
        if self.pending.len() == MAX_PENDING {
            let text = "not sent: too many messages to other replicas are not confirmed";
            session.shared.hub.tell_operator(message.operator, text.to_owned());
            return Ok(());
        }
        self.last_id += 1;
        let id = self.last_id;
        session.publish(&to(message.owner), request(id, &message)).await?;
        let deadline = Instant::now() + CONFIRM[0];
        self.pending.insert(id, Pending { message, attempts: 1, deadline });
        Ok(())
    }

    /// Sends messages again that are not confirmed, under the same identifiers, or gives them up.
    async fn send_again(&mut self, session: &Session<'_>) -> Result<(), String> {
        let now = Instant::now();
        let is_over = |pending: &Pending| pending.deadline <= now;
        let given_up =
            |_: &u64, pending: &mut Pending| is_over(pending) && pending.attempts == CONFIRM.len();
        for (_, Pending { message, .. }) in self.pending.extract_if(given_up) {
            give_up(session, &message, "its replica does not answer");
        }
        for (id, pending) in self.pending.iter_mut().filter(|(_, pending)| is_over(pending)) {
            pending.deadline = now + CONFIRM[pending.attempts];
            pending.attempts += 1;
            session.publish(&to(pending.message.owner), request(*id, &pending.message)).await?;
        }
        Ok(())
    }

    /// Takes a message for this replica alone.
    async fn take(&mut self, session: &Session<'_>, message: &Message) -> Result<(), String> {
        let hub = &session.shared.hub;
        let Some((from, direct)) = session.open::<Direct>(message) else { return Ok(()) };
        match direct {
            Direct::Say { id, operator, conversation, text } => {
                let operator = RemoteOperator { replica: from, number: operator };
                let execute = || hub.remote_operator_says(operator, conversation, &text).err();
                let error = self.answers.answer(from, id, execute);
                session.publish(&to(from), Direct::Done { id, error }).await?;
            }
            Direct::Done { id, error } => {
                if let Some(pending) = self.pending.remove(&id)
                    && let Some(error) = error
                {
                    let OperatorMessage { operator, local, .. } = pending.message;
                    hub.tell_operator(operator, error.describe(local));
                }
            }
            Direct::Snapshot => {
                for part in hub.snapshot() {
                    session.publish("events", Broadcast::<ToOperator>::Part(part)).await?;
                }
            }
            Direct::Seen { sequence, all } => hub.confirm(sequence, all),
        }
        Ok(())
    }
}

/// The subject of messages for one replica.
fn to(id: ReplicaId) -> String {
    format!("to.{id}")
}

fn request(id: u64, message: &OperatorMessage) -> Direct {
    let OperatorMessage { operator, conversation, ref text, .. } = *message;
    Direct::Say { id, operator, conversation, text: text.clone() }
}

/// Tells an operator that nobody knows whether the client has a message.
fn give_up(session: &Session<'_>, message: &OperatorMessage, why: &str) {
    let OperatorMessage { operator, local, text, .. } = message;
    let text = format!("not confirmed, client {local} may not have received it ({why}): {text}");
    session.shared.hub.tell_operator(*operator, text);
}

/// The next message of a subscription, if there is one.
async fn next(subscriber: &mut Option<Subscriber>) -> Option<Message> {
    match subscriber {
        Some(subscriber) => subscriber.next().await,
        None => pending().await,
    }
}

/// Mirrors the conversations of all replicas, if there are operators.
fn mirror_all(session: &Session<'_>) {
    for member in session.shared.members.borrow().iter() {
        session.shared.hub.mirror(member.id, &member.name);
    }
}

/// Asks for the snapshots that are needed.
async fn ask(session: &Session<'_>) -> Result<(), String> {
    for owner in session.shared.hub.snapshots_to_ask_for() {
        session.publish(&to(owner), Direct::Snapshot).await?;
    }
    Ok(())
}

/// Applies an event and those that have arrived behind it, then confirms them to their owners.
async fn take_events(
    session: &Session<'_>,
    first: Message,
    events: &mut Option<Subscriber>,
) -> Result<(), String> {
    let hub = &session.shared.hub;
    let mut seen: BTreeMap<ReplicaId, (u64, bool)> = BTreeMap::new();
    let mut message = Some(first);
    let mut count = 0;
    while let Some(taken) = message {
        if let Some((owner, broadcast)) = session.open::<Broadcast<ToOperator>>(&taken) {
            let (sequence, all) = match broadcast {
                Broadcast::Event(event) => (hub.apply(owner, event), false),
                Broadcast::Part(part) => (hub.apply_part(owner, part), true),
            };
            if let Some(sequence) = sequence {
                let entry = seen.entry(owner).or_default();
                *entry = (sequence, entry.1 || all);
            }
        }
        count += 1;
        message = (count < BATCH).then(|| next(events).now_or_never().flatten()).flatten();
    }
    for (owner, (sequence, all)) in seen {
        session.publish(&to(owner), Direct::Seen { sequence, all }).await?;
    }
    Ok(())
}
