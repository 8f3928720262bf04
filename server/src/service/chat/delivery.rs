//! The outcomes of messages between clients and operators.

use serde::{Deserialize, Serialize};

/// The limit of an operator's line, in bytes. No message of an operator is longer.
pub(crate) const MAX_LINE: usize = 64 * 1024;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum ToClient {
    /// A line from an operator.
    Line(String),
    /// A line from the server.
    Notice(&'static str),
    /// An operator ended the conversation.
    Bye,
}

/// The outcome of a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeliveryOutcome {
    /// Operators receive the message.
    Delivered,
    /// The message waits until an operator connects.
    Queued,
    /// The message was discarded: too many others wait.
    Dropped,
    /// The message was discarded: an operator has just ended the conversation.
    Ended,
}

/// The operators that receive a client's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Online {
    /// Operators at this replica.
    Here,
    /// Only operators at other replicas, which have to confirm the message.
    Elsewhere,
    /// No operators.
    Nowhere,
}

/// The reason why a client does not receive an operator's message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Undelivered {
    /// The conversation does not exist.
    Unknown,
    Ended,
    /// The client does not read.
    Unread,
    /// The text is not one line, is longer than [`MAX_LINE`], or has control characters.
    Invalid,
}

impl Undelivered {
    /// The reason in one line, for the conversation `id`.
    pub(crate) fn describe(self, id: u64) -> String {
        match self {
            Undelivered::Unknown => format!("conversation {id} does not exist"),
            Undelivered::Ended => format!("conversation {id} has ended"),
            Undelivered::Unread => format!("not sent: client {id} does not read its messages"),
            Undelivered::Invalid => format!(
                "a message must be a single line of at most {MAX_LINE} bytes without control characters"
            ),
        }
    }
}
