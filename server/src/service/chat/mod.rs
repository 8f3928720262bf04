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
//! - `hub`: the operations of clients and operators
//! - `conversations`: conversations and the messages that are kept of them
//! - `memory_shares`: the memory for messages, shared fairly between clients
//! - `operator_queues`: events for operators, queued until an operator takes them
//! - `token`: the secret that operators present
//!
//! All of it is bounded, by the constants in these files.

mod client;
mod conversations;
mod hub;
mod memory_shares;
mod operator;
mod operator_queues;
mod token;

pub(crate) use self::{
    client::Client, conversations::unix_time, hub::Hub, operator::Operator, token::Token,
};
