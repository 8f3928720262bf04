//! The program under test: the same `main` as `echogate`'s own.

use std::process::ExitCode;

fn main() -> ExitCode {
    echogate::main()
}
