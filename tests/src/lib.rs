//! The harness of the end-to-end tests.
//!
//! - [`server`]: an `echogate serve` process on free ports, stopped when dropped

pub mod server;
