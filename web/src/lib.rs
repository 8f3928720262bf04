//! The browser client of echogate.
//!
//! The page's logic is plain Rust, compiled and tested natively. In reading order:
//!
//! - [`session`]: one connection as a state machine: events in, effects out
//! - [`payload`], [`transcript`], [`close_reason`], [`stats`], [`time`]: the parts of a session
//! - [`composer`], [`location`]: typed text, and the messages and endpoints that it stands for
//! - [`cards`], [`snippets`]: the server's routes and listeners, and programs that reach them
//! - [`storage`]: the settings that survive a reload
//! - [`pairing`]: the rules by which replies are recognised
//! - [`virtual_list`], [`filter`], [`search`], [`export`], [`base64`]: a transcript scrolled,
//!   searched, and as a file
//! - [`live`], [`exchanges`], [`waterfall`]: the server's connections, and the legs of a round trip
//! - [`ladder`]: the events of a connection as a sequence diagram; [`lesson`]: its steps, one by one
//! - [`operator`]: the operator's side of the `chat` service
//! - [`json`], [`wire`]: the server's JSON
//! - [`payload_view`], [`hexdump`], [`literal`]: a message shown, and copied
//! - [`mod@format`], [`plot`], [`live_region`], [`i18n`]: texts and drawings
//! - [`redraw`]: the time of the next drawing without an event
//!
//! The elements of the page and its calls to the browser are `view`, compiled for WebAssembly
//! alone.

pub mod base64;
pub mod cards;
pub mod close_reason;
pub mod composer;
pub mod exchanges;
pub mod export;
pub mod filter;
pub mod format;
pub mod hexdump;
pub mod i18n;
pub mod json;
pub mod ladder;
pub mod lesson;
pub mod literal;
pub mod live;
pub mod live_region;
pub mod location;
pub mod operator;
pub mod pairing;
pub mod payload;
pub mod payload_view;
pub mod plot;
pub mod redraw;
pub mod search;
pub mod session;
pub mod snippets;
pub mod stats;
pub mod storage;
pub mod time;
pub mod transcript;
pub mod virtual_list;
pub mod waterfall;
pub mod wire;

#[cfg(target_arch = "wasm32")]
mod view;
