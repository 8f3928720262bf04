//! The messages of `chat` between replicas.

use serde::{Deserialize, Serialize};

use crate::{
    connections::replicas::ReplicaId,
    service::chat::{Part, Published, Seen, Undelivered},
};

/// A message for all replicas with operators.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Broadcast<E> {
    Event(Published<E>),
    /// A part of a snapshot of the sender's conversations.
    Part(Part),
}

/// A message for one replica.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direct {
    /// An operator's message to a client.
    Say { id: u64, operator: u64, conversation: u64, text: String },
    /// The answer to the message `id` of an operator.
    Done { id: u64, error: Option<Undelivered> },
    /// A request for a snapshot.
    Snapshot,
    /// A confirmation that operators have seen events of the recipient.
    Seen(Seen),
}

/// The topic of messages for one replica.
pub(super) fn to(id: ReplicaId) -> String {
    format!("to.{id}")
}
