//! The program under test: the same `main` and the same allocator as the binary `echogate`.

use std::process::ExitCode;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    echogate::main()
}
