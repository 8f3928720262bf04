//! `echogate`: the global allocator, and [`echogate::main`]. Everything else is in the library, so
//! that the tests run the same program.

use std::process::ExitCode;

/// Connections that are made and ended take a tenth less CPU time with mimalloc than with the C
/// library's allocator.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    echogate::main()
}
