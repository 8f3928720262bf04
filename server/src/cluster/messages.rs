//! The messages that replicas exchange of `chat`.

use serde::{Deserialize, Serialize};

use crate::{
    connections::replica::ReplicaId,
    service::chat::{Part, Published, Seen, Undelivered},
};

/// A message for all replicas with operators.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Broadcast<E> {
    Event(Published<E>),
    Part(Part),
}

/// A message for one replica.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Direct {
    /// An operator's message to a client.
    Say { id: u64, operator: u64, conversation: u64, text: String },
    /// The answer to it.
    Done { id: u64, error: Option<Undelivered> },
    /// A request for a snapshot.
    Snapshot,
    /// Operators have seen events.
    Seen(Seen),
}

/// The subject of messages for one replica.
pub(super) fn to(id: ReplicaId) -> String {
    format!("to.{id}")
}
