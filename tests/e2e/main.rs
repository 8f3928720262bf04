//! The end-to-end tests, one binary. Contents:
//!
//! (each module's first line says what it covers)

mod connect;

/// The program under test.
const ECHOGATE: &str = env!("CARGO_BIN_EXE_echogate-under-test");

#[test]
fn the_program_is_there() {
    assert!(std::path::Path::new(ECHOGATE).is_file());
}
