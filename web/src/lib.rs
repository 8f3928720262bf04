//! The browser client of echogate.
//!
//! The page's logic is plain Rust, compiled and tested natively. In reading order:
//!
//! - [`session`]: one connection as a state machine: events in, effects out
//! - [`payload`], [`transcript`], [`close_reason`], [`stats`], [`time`]: the parts of a session
//! - [`composer`], [`location`]: typed text, and the messages and endpoints that it stands for
//! - [`virtual_list`], [`filter`], [`export`]: a transcript scrolled, searched, and as a file
//! - [`live`], [`exchanges`], [`waterfall`]: the server's connections, and the legs of a round trip
//! - [`operator`]: the operator's side of the `chat` service
//! - [`json`], [`wire`]: the server's JSON
//! - [`mod@format`], [`hexdump`], [`plot`], [`live_region`], [`i18n`]: texts and drawings
//! - [`redraw`]: the time of the next drawing without an event
//!
//! The elements of the page and its calls to the browser are `view`, compiled for WebAssembly
//! alone.

pub mod close_reason;
pub mod composer;
pub mod exchanges;
pub mod export;
pub mod filter;
pub mod format;
pub mod hexdump;
pub mod i18n;
pub mod json;
pub mod live;
pub mod live_region;
pub mod location;
pub mod operator;
pub mod payload;
pub mod plot;
pub mod redraw;
pub mod session;
pub mod stats;
pub mod time;
pub mod transcript;
pub mod virtual_list;
pub mod waterfall;
pub mod wire;

#[cfg(target_arch = "wasm32")]
mod view;
