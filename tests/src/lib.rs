//! The harness of the end-to-end tests.
//!
//! - [`browser`]: a page in headless Chromium
//! - [`pty`]: a program on a terminal of its own, and what it shows there
//! - [`server`]: an `echogate serve` process on free ports, stopped when dropped
//! - [`program`]: programs of others, unmodified
//! - [`http`]: requests and answers by hand, on a stream that stays in hand
//! - [`ws`]: WebSocket frames by hand, so that every rule can be broken
//! - [`upstream`]: a TCP server whose every move a test decides
//! - [`tls`]: certificates made for a test, and both ends of TLS
//! - [`imports`]: the direction of imports between the modules of a crate
//! - [`tcp`]: what `TcpStream` lacks: resets, small buffers, floods

pub mod browser;
pub mod http;
pub mod imports;
pub mod program;
pub mod pty;
pub mod server;
pub mod tcp;
pub mod tls;
pub mod upstream;
pub mod ws;
