//! The end-to-end tests, one binary. Contents:
//!
//! - [`readme`]: the README's examples

mod readme;

/// The program under test.
const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");
