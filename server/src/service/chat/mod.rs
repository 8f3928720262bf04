//! `chat`: clients talk with the server's operators, each client in a conversation of its own.
//!
//! ```text
//! Client            lines of text  \
//! Operator          JSON lines      >  Hub
//! console/          a terminal     /
//! ```
//!
//! The [`Hub`] keeps the conversations and reports every change to every operator. Its parts, each
//! using only those below it:
//!
//! - `replicas`: the operations of a cluster; `mirrored`: the application of other replicas' events
//! - `hub`: the operations of clients and operators
//! - `remote`: the other replicas; `mirror`: the mirror of one of them, the order of its events
//! - `untaken`: events of another replica that operators have not taken; `requests`: the answers to
//!   requests of others, the numbers of their operators; `snapshot`: conversations for other replicas
//! - `conversations`: conversations and the messages that are kept of them
//! - `delivery`: the outcomes of messages; `kept`: a conversation for other replicas
//! - `memory_shares`: the memory for messages, shared fairly between clients
//! - `operator_queues`: events for operators, queued until an operator takes them
//! - `token`: the secret that operators present
//!
//! All of it is bounded, by the constants in these files.

mod client;
mod conversations;
mod delivery;
mod hub;
mod kept;
mod memory_shares;
mod mirror;
mod mirrored;
mod operator;
mod operator_queues;
mod remote;
mod replicas;
mod requests;
mod snapshot;
#[cfg(test)]
mod tests;
mod token;
mod untaken;

pub(crate) use self::{
    client::Client,
    conversations::unix_time,
    delivery::{MAX_LINE, Undelivered},
    hub::Hub,
    mirror::Seen,
    operator::Operator,
    remote::{Feed, OperatorMessage, Published, not_sent},
    requests::{Recent, RemoteOperator},
    snapshot::Part,
    token::Token,
};
