//! The harness of the end-to-end tests.
//!
//! - [`browser`]: a page in headless Chromium
//! - [`pty`]: a program on a pseudo-terminal, and its output there
//! - [`server`]: an `echogate serve` process on free ports, stopped when dropped
//! - [`program`]: third-party programs
//! - [`http`]: HTTP/1.1 requests written as text, and responses read from a stream
//! - [`ws`]: WebSocket frames built byte by byte, valid or not
//! - [`upstream`]: TCP servers that a test controls, and one that does not answer
//! - [`tls`]: test certificates, and both ends of TLS
//! - [`imports`]: the direction of imports between the modules of a crate
//! - [`tcp`]: resets, source addresses, small buffers, blocked writes and queue sizes of TCP
//!   sockets
//!
//! The functions panic, and so fail the test, when a step fails: a broken connection, an unexpected
//! response, a wait longer than [`server::WAIT_TIMEOUT`].

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
