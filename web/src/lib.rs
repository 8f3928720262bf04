//! The browser client of echogate.
//!
//! What the page knows and decides is plain Rust, compiled and tested natively. In reading order:
//!
//! - [`session`]: one connection as a state machine: events in, effects out
//! - [`payload`], [`transcript`], [`ending`], [`stats`], [`time`]: what it is made of
//! - [`composer`], [`place`]: what somebody typed, and what it means
//! - [`list`], [`filter`], [`record`]: a transcript in sight, searched, and in a file
//! - [`live`], [`way`]: the server's side of it
//! - [`operator`]: the other end of a chat
//! - [`json`], [`told`]: what the server says, and how
//! - [`mod@format`], [`dump`], [`plot`], [`announce`], [`words`]: how things are said and drawn
//!
//! What draws it and what talks to the browser is `view`, compiled for WebAssembly alone.

pub mod announce;
pub mod composer;
pub mod dump;
pub mod ending;
pub mod filter;
pub mod format;
pub mod json;
pub mod list;
pub mod live;
pub mod operator;
pub mod payload;
pub mod place;
pub mod plot;
pub mod record;
pub mod session;
pub mod stats;
pub mod time;
pub mod told;
pub mod transcript;
pub mod way;
pub mod words;

#[cfg(target_arch = "wasm32")]
mod view;
