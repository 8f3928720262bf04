//! The library behind the `echogate` binary.

pub mod client;

use std::process::ExitCode;

use clap::Parser;

#[derive(Parser)]
#[command(name = "echogate", version, about)]
enum Cli {
    /// Connect to an endpoint
    Connect(client::Args),
}

/// The whole program: reads the command line, does what it says, and answers
/// with the exit status.
pub fn main() -> ExitCode {
    let Cli::Connect(args) = Cli::parse();
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("echogate: {error}");
            return ExitCode::FAILURE;
        }
    };
    let ended = runtime.block_on(client::run(args));
    // A read of the standard input may never end.
    runtime.shutdown_background();
    match ended {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("echogate: {error}");
            ExitCode::from(error.status())
        }
    }
}
