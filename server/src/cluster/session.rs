//! The session of a replica over one connection to the broker: subjects, messages, heartbeats.
//!
//! A subject is `echogate.VERSION.CLUSTER.TOPIC`. A message is a JSON object with its sender:
//! `{"from":ID,"body":...}`. This module exchanges heartbeats. `chat` and `reports` exchange the
//! messages of the other topics while the session lasts.

use std::{
    collections::BTreeSet,
    fmt::Display,
    sync::Arc,
    time::{Duration, Instant},
};

use async_nats::{Client, Message, client::PublishErrorKind};
use parking_lot::Mutex;
use serde::{
    Deserialize, Serialize,
    de::{DeserializeOwned, IgnoredAny},
};
use tokio::{
    sync::watch,
    time::{Interval, MissedTickBehavior, interval},
};

use super::{
    LocalReplica,
    inbox::Inbox,
    members::{Change, Heartbeat, Member, Members},
};
use crate::{
    connections::replicas::{ReplicaId, ReplicaIdentity},
    service::chat::MAX_LINE,
    text::escape::escape,
};

/// The version of subjects and messages. Replicas of different versions ignore each other.
pub(super) const VERSION: u32 = 1;

/// The topic of heartbeats.
const HEARTBEAT_TOPIC: &str = "heartbeats";

/// The interval of heartbeats.
const HEARTBEAT_INTERVAL: Duration = Duration::from_secs(1);

/// The most bytes of JSON in one part of a long message, unless the broker's limit is lower. A part
/// has room for a message of chat of [`MAX_LINE`] quotation marks, two bytes each, and its
/// conversation.
pub(super) const PART: usize = 2 * MAX_LINE + 4 * REST;

/// The most bytes of JSON that the rest of a part takes: sender, numbers, names of fields.
pub(super) const REST: usize = 512;

/// The most senders of invalid messages that are logged, once each.
const MAX_REPORTED: usize = 64;

/// A message with its sender.
#[derive(Debug, Serialize, Deserialize)]
struct Envelope<T> {
    from: ReplicaId,
    body: T,
}

/// The session over one connection.
#[derive(Debug)]
pub(super) struct Session<'a> {
    pub(super) shared: &'a Arc<LocalReplica>,
    client: Client,
    cluster: String,
    /// The senders of invalid messages that were logged.
    reported: Mutex<BTreeSet<String>>,
    /// The number of operators of this replica.
    operators: watch::Receiver<usize>,
}

impl Session<'_> {
    pub(super) fn new<'a>(
        shared: &'a Arc<LocalReplica>,
        client: Client,
        cluster: &str,
        operators: watch::Receiver<usize>,
    ) -> Session<'a> {
        Session {
            shared,
            client,
            cluster: cluster.to_owned(),
            reported: Mutex::default(),
            operators,
        }
    }

    /// Publishes a message to the subscribers of a topic, and waits while the broker is slow.
    /// Reports a message that is too large for the broker, and returns false.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub(super) async fn publish(&self, topic: &str, body: impl Serialize) -> Result<bool, String> {
        let message = Envelope { from: self.shared.id, body };
        let payload = serde_json::to_vec(&message).map_err(|e| e.to_string())?;
        let subject = format!("echogate.{VERSION}.{}.{topic}", self.cluster);
        let size = payload.len();
        match self.client.publish(subject, payload.into()).await {
            Ok(()) => {
                self.shared.counters.sent.inc();
            }
            Err(error) if error.kind() == PublishErrorKind::MaxPayloadExceeded => {
                self.too_large(topic, size);
                return Ok(false);
            }
            Err(error) => return Err(error.to_string()),
        }
        Ok(true)
    }

    /// Counts and reports a message that is too large for the broker.
    fn too_large(&self, topic: &str, size: usize) {
        self.shared.counters.dropped.inc();
        self.shared.log_problem(&format!(
            "a message of {size} bytes for {topic} is not sent: the broker takes at most {} \
             (max_payload)",
            self.client.max_payload()
        ));
    }

    /// The most bytes of JSON in one part of a long message.
    pub(super) fn max_part(&self) -> usize {
        PART.min(self.client.max_payload().saturating_sub(REST))
    }

    /// Subscribes to a topic in messages of `version`: [`VERSION`], or `*` for all.
    ///
    /// # Errors
    ///
    /// The connection is lost.
    pub(super) async fn subscribe(
        &self,
        version: impl Display,
        topic: &str,
    ) -> Result<Inbox, String> {
        let subject = format!("echogate.{version}.{}.{topic}", self.cluster);
        let subscription = self.client.subscribe(subject).await.map_err(|e| e.to_string())?;
        let shared = self.shared.clone();
        Ok(Inbox::new(subscription, move || {
            shared.counters.dropped.inc();
        }))
    }

    /// The sender and the body of a message. `None` for an invalid message, which is counted, and
    /// logged if it is the first one of its sender.
    pub(super) fn open<T: DeserializeOwned>(&self, message: &Message) -> Option<(ReplicaId, T)> {
        self.shared.counters.received.inc();
        match serde_json::from_slice::<Envelope<T>>(&message.payload) {
            Ok(envelope) => Some((envelope.from, envelope.body)),
            Err(error) => {
                let from = serde_json::from_slice::<Envelope<IgnoredAny>>(&message.payload);
                let from = from.map_or_else(|_| "unknown".to_owned(), |it| it.from.to_string());
                self.invalid(&from, &message.subject, &error.to_string());
                None
            }
        }
    }

    /// Counts an invalid message, and logs the first one of each sender.
    fn invalid(&self, from: &str, subject: &str, why: &str) {
        self.shared.counters.invalid.inc();
        let mut reported = self.reported.lock();
        if reported.len() < MAX_REPORTED && reported.insert(from.to_owned()) {
            tracing::warn!(
                "cluster: messages of replica {} on {} are ignored: {}",
                escape(from),
                escape(subject),
                escape(why)
            );
        }
    }

    /// Sends heartbeats and handles those of other replicas, until the connection is lost.
    pub(super) async fn exchange_heartbeats(&self) -> Result<(), String> {
        // All versions, so that incompatible replicas are reported.
        let mut heartbeats = self.subscribe("*", HEARTBEAT_TOPIC).await?;
        let mut members = Members::default();
        let mut operators = self.operators.clone();
        let mut ticks = ticks(HEARTBEAT_INTERVAL);
        loop {
            let changes: Vec<Change> = tokio::select! {
                _ = ticks.tick() => {
                    self.send_heartbeat(false).await?;
                    members.expire(Instant::now())
                }
                // Other replicas learn at once whether there are operators.
                Ok(()) = operators.changed() => {
                    self.send_heartbeat(false).await?;
                    continue;
                }
                message = heartbeats.next() => {
                    self.take_heartbeat(&mut members, &message?).into_iter().collect()
                }
            };
            if !changes.is_empty() {
                for change in &changes {
                    log(change);
                    self.update_replicas(change);
                }
                self.shared.members.send_replace(members.list());
            }
            if changes.iter().any(|change| matches!(change, Change::Joined(_))) {
                // A new replica learns of this one at once.
                self.send_heartbeat(false).await?;
            }
        }
    }

    fn update_replicas(&self, change: &Change) {
        let (replicas, now) = (&self.shared.replicas, Instant::now());
        match change {
            Change::Joined(Member { id, name, .. }) => {
                replicas.add(ReplicaIdentity { id: *id, name: (**name).into() }, now);
            }
            Change::Left(member) => replicas.remove(member.id, None),
            Change::Silent(member) => replicas.remove(member.id, Some(now)),
            Change::Operators(_) => {}
        }
    }

    /// Sends a heartbeat; with `leaves`, the last one.
    async fn send_heartbeat(&self, leaves: bool) -> Result<(), String> {
        let (name, operators) = (self.shared.name.clone(), *self.operators.borrow());
        let sequence = self.shared.hub.sequence();
        self.publish(HEARTBEAT_TOPIC, Heartbeat { name, operators, sequence, leaves })
            .await
            .map(drop)
    }

    /// Sends the last heartbeat, and waits until it is written.
    pub(super) async fn leave(&self) {
        if self.send_heartbeat(true).await.is_ok() {
            self.client.flush().await.ok();
        }
    }

    fn take_heartbeat(&self, members: &mut Members, message: &Message) -> Option<Change> {
        let version = message.subject.split('.').nth(1).unwrap_or_default();
        if version != VERSION.to_string() {
            self.shared.counters.received.inc();
            let why =
                format!("its messages have version {version}, those of this replica {VERSION}");
            let from = serde_json::from_slice::<Envelope<IgnoredAny>>(&message.payload);
            let from = from.map_or_else(|_| version.to_owned(), |it| it.from.to_string());
            self.shared.set_problem(&format!("incompatible replica {from}: {why}"));
            self.invalid(&from, &message.subject, &why);
            return None;
        }
        let (id, heartbeat): (_, Heartbeat) = self.open(message)?;
        self.shared.hub.announce(id, heartbeat.sequence);
        members.take(id, &heartbeat, Instant::now())
    }
}

/// Ticks at intervals of `period`. A late tick delays the next ones.
pub(super) fn ticks(period: Duration) -> Interval {
    let mut ticks = interval(period);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    ticks
}

fn log(change: &Change) {
    match change {
        Change::Joined(it) => tracing::info!("cluster: replica {} ({}) has joined", it.name, it.id),
        Change::Left(it) => tracing::info!("cluster: replica {} ({}) has left", it.name, it.id),
        Change::Silent(it) => tracing::warn!(
            "cluster: replica {} ({}) is gone: no heartbeat for {:?}",
            it.name,
            it.id,
            super::members::SILENCE
        ),
        Change::Operators(it) => {
            tracing::debug!("cluster: replica {} has {} operators", it.name, it.operators);
        }
    }
}
