//! The pure logic shared by echogate's server, native client and page.
//!
//! Nothing here opens a socket, reads a clock or knows of tokio or JavaScript:
//! bytes and times come in as arguments, and it all builds for wasm32.
//!
//! In reading order:
//!
//! - [`endpoint`]: the URLs that name listeners, routes and what the client calls
//! - [`ws`]: WebSocket frames, as a server reads and writes them
//! - [`framing`]: a byte stream into WebSocket messages, in four ways
//! - [`close`]: WebSocket close codes, and what they mean in words
//! - [`utf8`]: UTF-8 in pieces
//! - [`hex`]: bytes as hexadecimal text, both ways
//! - [`live`]: what the server tells of itself: endpoints, connections, changes
//! - [`operator`]: what the `chat` service's operators and the server say to each other

pub mod close;
pub mod endpoint;
pub mod framing;
pub mod hex;
pub mod live;
pub mod operator;
pub mod utf8;
pub mod ws;
