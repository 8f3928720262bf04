//! `chat` over all replicas: events of conversations, snapshots, and messages of operators.
//!
//! On the topic `events` a replica publishes the events and snapshots of its clients'
//! conversations, in order. On `to.ID` a replica receives requests, answers and confirmations for
//! itself alone. Events wait in the inbox of the subscription while operators are slow, and are
//! confirmed to their replica when operators have taken them.

use std::{
    future::pending,
    time::{Duration, Instant},
};

use async_nats::Message;
use echogate_proto::chat::ToOperator;
use futures_util::FutureExt;

use super::{
    LocalReplica,
    inbox::Inbox,
    members::{Member, SILENCE},
    messages::{Broadcast, Direct, to},
    outbox::Outbox,
    session::{Session, VERSION, ticks},
};
use crate::service::chat::{Feed, Recent, RemoteOperator, Undelivered};

/// The interval of checks for missing snapshots and unconfirmed messages.
const TICK: Duration = Duration::from_millis(200);

/// The interval at which the last confirmation of events is repeated, since a message can be lost.
const CONFIRM_AGAIN: Duration = Duration::from_secs(1);

/// The least time between two snapshots of this replica. A snapshot serves all replicas that have
/// requested one.
const SNAPSHOTS: Duration = Duration::from_secs(1);

/// The most events that are applied in one turn of the loop.
const BATCH: usize = 64;

/// The time from the beginning of a session within which the heartbeats of all replicas arrive.
const SETTLED: Duration = SILENCE.saturating_add(Duration::from_secs(1));

/// The state of the replication of `chat` at this replica, which outlives a connection to the
/// broker.
#[derive(Debug)]
pub(super) struct ChatReplication {
    pub(super) feed: Feed,
    /// The answers to messages of other replicas' operators.
    answers: Recent<Option<Undelivered>>,
    outbox: Outbox,
    snapshots: Snapshots,
}

/// The snapshots of this replica, which are published at most every [`SNAPSHOTS`].
#[derive(Debug, Default)]
struct Snapshots {
    is_requested: bool,
    last: Option<Instant>,
}

impl Snapshots {
    fn is_due(&self, now: Instant) -> bool {
        self.is_requested && self.last.is_none_or(|last| now - last >= SNAPSHOTS)
    }

    fn published(&mut self, now: Instant) {
        *self = Snapshots { is_requested: false, last: Some(now) };
    }
}

impl ChatReplication {
    pub(super) fn new(feed: Feed) -> ChatReplication {
        ChatReplication {
            feed,
            answers: Recent::default(),
            outbox: Outbox::default(),
            snapshots: Snapshots::default(),
        }
    }

    /// Exchanges events, snapshots and messages until the connection is lost.
    pub(super) async fn run(&mut self, session: &Session<'_>) -> Result<(), String> {
        let hub = &session.shared.hub;
        let mut direct = session.subscribe(VERSION, &to(session.shared.id)).await?;
        let mut events: Option<Inbox> = None;
        let mut members = session.shared.members.subscribe();
        members.mark_changed();
        self.feed.operators.mark_changed();
        let (start, mut known) = (Instant::now(), Vec::new());
        let (mut ticks, mut repeats) = (ticks(TICK), ticks(CONFIRM_AGAIN));
        hub.set_connected(true);
        loop {
            tokio::select! {
                Some(event) = self.feed.events.recv() => {
                    session.publish("events", Broadcast::Event(event)).await?;
                }
                Some(message) = self.feed.messages.recv() => self.outbox.say(session, message).await?,
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
                    request_snapshots(session).await?;
                }
                Ok(()) = members.changed() => {
                    let now = members.borrow_and_update().clone();
                    let online = now.iter().map(|it| it.operators).fold(0, usize::saturating_add);
                    hub.set_online(online, is_operator_lost(&known, &now));
                    known = now;
                    mirror_all(session);
                    request_snapshots(session).await?;
                }
                message = direct.next() => self.take(session, &message?).await?,
                message = next(&mut events), if hub.has_room() => {
                    apply_events(session, message?, &mut events);
                }
                () = self.feed.taken.notified() => confirm(session, false).await?,
                _ = repeats.tick() => confirm(session, true).await?,
                _ = ticks.tick() => {
                    if start.elapsed() > SETTLED {
                        let known: Vec<_> = known.iter().map(|it| it.id).collect();
                        hub.remove_gone(&known);
                    }
                    session.shared.counters.dropped.inc_by(hub.take_unpublished());
                    hub.expire_unconfirmed(Instant::now());
                    hub.disconnect_operators_stalled_for_others();
                    request_snapshots(session).await?;
                    self.publish_snapshot(session).await?;
                    self.outbox.send_again(session).await?;
                }
            }
        }
    }

    /// Publishes the events that are still queued.
    pub(super) async fn finish(&mut self, session: &Session<'_>) {
        while let Ok(event) = self.feed.events.try_recv() {
            if session.publish("events", Broadcast::Event(event)).await.is_err() {
                return;
            }
        }
    }

    /// Gives up all messages that are not confirmed, after the loss of the connection.
    pub(super) fn disconnected(&mut self, shared: &LocalReplica) {
        shared.hub.set_connected(false);
        // After the next connection a snapshot replaces these events.
        while self.feed.events.try_recv().is_ok() {}
        let unsent = std::iter::from_fn(|| self.feed.messages.try_recv().ok());
        self.outbox.disconnected(shared, unsent);
    }

    /// Publishes a snapshot, if one is requested and due. Later events follow it.
    async fn publish_snapshot(&mut self, session: &Session<'_>) -> Result<(), String> {
        if self.snapshots.is_due(Instant::now()) {
            for part in session.shared.hub.snapshot(session.max_part()) {
                session.publish("events", Broadcast::<ToOperator>::Part(part)).await?;
            }
            self.snapshots.published(Instant::now());
        }
        Ok(())
    }

    /// Handles a message for this replica alone.
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
            Direct::Done { id, error } => self.outbox.answered(session.shared, from, id, error),
            Direct::Snapshot => {
                self.snapshots.is_requested = true;
                self.publish_snapshot(session).await?;
            }
            Direct::Seen(seen) => hub.confirm(seen),
        }
        Ok(())
    }
}

/// The next message of the subscription. Without a subscription the future is never ready.
async fn next(inbox: &mut Option<Inbox>) -> Result<Message, String> {
    match inbox {
        Some(inbox) => inbox.next().await,
        None => pending().await,
    }
}

/// Mirrors the conversations of all replicas, if there are operators.
fn mirror_all(session: &Session<'_>) {
    for member in session.shared.members.borrow().iter() {
        session.shared.hub.mirror(member.id, &member.name);
    }
}

/// Whether a replica with operators is among `before` and not among `now`.
fn is_operator_lost(before: &[Member], now: &[Member]) -> bool {
    let is_gone = |member: &&Member| now.iter().all(|it| it.id != member.id);
    before.iter().filter(is_gone).any(|member| member.operators > 0)
}

/// Requests the snapshots that are needed.
async fn request_snapshots(session: &Session<'_>) -> Result<(), String> {
    for owner in session.shared.hub.snapshots_to_request(Instant::now()) {
        session.publish(&to(owner), Direct::Snapshot).await?;
    }
    Ok(())
}

/// Confirms to other replicas the events that operators here have seen.
async fn confirm(session: &Session<'_>, repeats: bool) -> Result<(), String> {
    for (owner, seen) in session.shared.hub.seen(repeats) {
        session.publish(&to(owner), Direct::Seen(seen)).await?;
    }
    Ok(())
}

/// Applies an event, and further ones that have arrived, while the queues of operators have room.
fn apply_events(session: &Session<'_>, first: Message, events: &mut Option<Inbox>) {
    let hub = &session.shared.hub;
    let mut message = Some(first);
    for count in 1.. {
        let Some(taken) = message else { return };
        match session.open::<Broadcast<ToOperator>>(&taken) {
            Some((owner, Broadcast::Event(event))) => hub.apply(owner, event),
            Some((owner, Broadcast::Part(part))) => {
                hub.apply_part(owner, part, Instant::now());
            }
            None => {}
        }
        let continues = count < BATCH && hub.has_room();
        message = continues.then(|| next(events).now_or_never()?.ok()).flatten();
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::{super::session::PART, *};
    use crate::{
        connections::{registry::Peer, replicas::ReplicaId},
        service::chat::{Client, Hub, MAX_LINE, Token},
    };

    #[test]
    fn a_snapshot_has_the_longest_message_of_an_operator() {
        let hub = Arc::new(Hub::new(Token::random().unwrap()));
        let _feed = hub.join(ReplicaId::of(1));
        let _client = Client::new(&hub, &Peer::Path("\"".repeat(500).into()));
        let (operator, conversations) = hub.add_operator();
        let text = "\"".repeat(MAX_LINE);
        hub.operator_says(operator, conversations[0].id, &text).unwrap();
        let parts = hub.snapshot(PART);
        let parts: Vec<_> = parts.iter().map(|part| serde_json::to_string(part).unwrap()).collect();
        let text = serde_json::to_string(&text).unwrap();
        assert!(parts.iter().all(|part| part.len() < PART));
        assert!(parts.iter().any(|part| part.contains(&text)));
    }

    #[test]
    fn snapshots_that_are_requested_at_the_same_time_are_one() {
        let (mut snapshots, now) = (Snapshots::default(), Instant::now());
        assert!(!snapshots.is_due(now));
        snapshots.is_requested = true;
        assert!(snapshots.is_due(now));
        snapshots.published(now);
        assert!(!snapshots.is_due(now + SNAPSHOTS));
        snapshots.is_requested = true;
        assert!(!snapshots.is_due(now) && snapshots.is_due(now + SNAPSHOTS));
    }

    #[test]
    fn operators_are_lost_with_the_replica_that_had_them_even_if_another_one_joins() {
        let member =
            |id, operators| Member { id: ReplicaId::of(id), name: String::new(), operators };
        let before = [member(1, 0), member(2, 1)];
        assert!(is_operator_lost(&before, &[member(1, 0), member(3, 0)]));
        assert!(!is_operator_lost(&before, &[member(2, 0), member(3, 0)]));
    }
}
