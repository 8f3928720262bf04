//! `chat`: clients talk with the server's operators, each in a conversation of its own.
//!
//! ```text
//! client    lines of text  <->  Client    \
//! operator  JSON lines     <->  Operator   >  Hub
//! console   a terminal     <->  Seat      /
//! ```
//!
//! Everything meets in the [`Hub`], which keeps what was said and tells it to all
//! operators. It is bounded: see the constants in `hub`, and `shares` for how clients share
//! what it keeps.

mod client;
mod console;
mod hub;
mod operator;
mod seat;
mod shares;
mod token;

use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use self::{client::Client, operator::Operator, seat::Seat};
pub(crate) use self::{hub::Hub, token::Token};

/// Seconds since 1970, as conversations have them.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}
