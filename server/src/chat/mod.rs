//! `chat`: clients talk with the server's operators, each in a conversation of its own.
//!
//! ```text
//! client    lines of text  <->  Client    \
//! operator  JSON lines     <->  Operator   >  Hub
//! console   the terminal   <->  Console   /
//! ```
//!
//! Everything meets in the [`Hub`], which keeps what was said and tells it to all
//! operators. It is bounded: see the constants in `hub`.

mod client;
pub(crate) mod console;
mod hub;
mod operator;
mod token;

pub(crate) use self::{client::Client, operator::Operator};
pub use self::{hub::Hub, token::Token};
