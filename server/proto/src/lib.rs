//! The pure logic shared by echogate's server, native client and page.
//!
//! Nothing here opens a socket, reads a clock or knows of tokio or JavaScript:
//! bytes and times come in as arguments, and it all builds for wasm32.
//!
//! In reading order:
//!
//! - [`endpoint`]: the URLs that name listeners, routes and what the client calls
//! - [`close`]: WebSocket close codes, and what they mean in words
//! - [`hex`]: bytes as hexadecimal text, both ways

pub mod close;
pub mod endpoint;
pub mod hex;
