//! The end-to-end tests, one binary. Contents:
//!
//! - [`connect`]: the native client
//! - [`dist`]: the committed page is what its sources say
//! - [`page`]: the page in a browser
//! - [`readme`]: the README's examples

mod connect;
mod dist;
mod page;
mod readme;

/// The program under test.
const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");
