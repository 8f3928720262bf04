//! The end-to-end tests, one binary. Contents:
//!
//! - [`connect`]: the native client
//! - [`readme`]: the README's examples

mod connect;
mod readme;

/// The program under test.
const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");
