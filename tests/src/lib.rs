//! The harness of the end-to-end tests.
//!
//! - [`browser`]: a page in headless Chromium
//! - [`pty`]: a program on a terminal of its own, and what it shows there
//! - [`server`]: an `echogate serve` process on free ports, stopped when dropped

pub mod browser;
pub mod pty;
pub mod server;
