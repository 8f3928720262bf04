//! The pure logic shared by echogate's server, native client and page.
//!
//! This crate has no I/O and no clock: bytes and times are arguments. It builds for wasm32.
//!
//! In reading order:
//!
//! - [`endpoint`]: the URLs of listeners, upstreams and the client's targets
//! - [`ws`]: the frames of the WebSocket protocol, for servers and clients
//! - [`framing`]: a byte stream as WebSocket messages, in five ways
//! - [`close`]: WebSocket close codes and their descriptions
//! - [`reason`]: the texts about the end of a connection and about a refusal
//! - [`backoff`]: the delays between reconnection attempts
//! - [`utf8`]: incremental UTF-8 validation
//! - [`hex`]: hexadecimal text
//! - [`api`]: the JSON types of the HTTP API: endpoints, connections, events
//! - [`recording`]: the JSON types of the events of a connection, for recordings and taps
//! - [`chat`]: the JSON types of the operator protocol of the `chat` service

pub mod api;
pub mod backoff;
pub mod chat;
pub mod close;
pub mod endpoint;
pub mod framing;
pub mod hex;
pub mod reason;
pub mod recording;
pub mod utf8;
pub mod ws;
