//! The browser client of echogate.
//!
//! What the page knows and decides is plain Rust, compiled and tested natively. In reading order:
//!
//! - [`session`]: one connection as a state machine: events in, effects out
//! - [`payload`], [`transcript`], [`ending`], [`stats`], [`time`]: what it is made of
//! - [`composer`], [`place`]: what somebody typed, and what it means
//! - [`mod@format`], [`dump`], [`announce`]: how things are said
//!
//! What draws it and what talks to the browser is `view`, compiled for WebAssembly alone.

pub mod announce;
pub mod composer;
pub mod dump;
pub mod ending;
pub mod format;
pub mod payload;
pub mod place;
pub mod session;
pub mod stats;
pub mod time;
pub mod transcript;

#[cfg(target_arch = "wasm32")]
mod view;
