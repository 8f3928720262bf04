//! The command line: parsing, the choice of the command, exit codes.
//!
//! - `serve`, `check`: the commands `serve`, `gateway`, `forward` and `check`
//! - `help`: examples, manual pages, shell completions
//! - `usage`: errors of the command line, as one line each
//! - `runtime`, `logging`, `stdout`, `signals`: the process; `output`: the threads that write its
//!   standard streams

mod check;
mod help;
mod logging;
mod output;
mod runtime;
mod serve;
mod signals;
mod stdout;
mod usage;

use std::{io, process::ExitCode};

use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;

use self::{
    check::CheckArgs,
    serve::{ForwardArgs, GatewayArgs, ServeCommand},
};
use crate::{
    client::{self, Error},
    config,
    terminal::has_reader,
    text::{credentials::without_credentials, io_error},
};

/// A socket workbench: TCP services, a WebSocket gateway to TCP services, and clients for the
/// terminal and the browser.
#[derive(Debug, Parser)]
#[command(name = "echogate", version, args_conflicts_with_subcommands = true)]
#[command(after_help = help::EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeCommand,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run the services, the WebSocket gateway and the page (default if no command is given)
    #[command(after_help = help::SERVE_EXAMPLES)]
    Serve(ServeCommand),
    /// Make one TCP service available to browsers, as a WebSocket at any path
    #[command(after_help = help::GATEWAY_EXAMPLES)]
    Gateway(GatewayArgs),
    /// Forward connections from a local port or socket to any endpoint, such as a wss:// URL. HTTP
    /// is served only with --http
    #[command(after_help = help::FORWARD_EXAMPLES)]
    Forward(ForwardArgs),
    /// Validate the settings of serve, print the listeners and routes, and exit
    #[command(after_help = help::CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Connect to an endpoint: a prompt on a terminal, bytes in and out in a pipe
    Connect(client::Args),
    /// Listen on an endpoint for one client: a prompt on a terminal, bytes in and out in a pipe
    Listen(client::listen::ListenArgs),
    /// Play one side of a recording: against an endpoint, or as a mock server
    Replay(client::replay::ReplayArgs),
    /// Show the first differences of two recordings
    Compare(client::compare::CompareArgs),
    /// Load an endpoint that answers each message with as many bytes, and measure it
    #[command(after_help = help::BENCH_EXAMPLES)]
    Bench(client::bench::Args),
    /// Show the data that passes on a connection of a running server
    Tap(client::tap::Args),
    /// Print a shell completion script
    #[command(after_help = help::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell to print the script for
        shell: Shell,
    },
    /// Print a manual page in roff format
    #[command(hide = true)]
    Man {
        /// The command to print the page of [default: echogate itself]
        command: Option<String>,
    },
}

/// Runs the program: parses the command line, runs the command and returns the exit status.
pub fn main() -> ExitCode {
    let _flush = FlushAtExit;
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // `--help` or `--version`.
            return printed(has_reader(e.print())).map_or_else(fail, |()| ExitCode::SUCCESS);
        }
        Err(e) => return fail(Error::Usage(usage::one_line(e, &Cli::whole_command()))),
    };
    let result = match cli.into_command() {
        command @ (Command::Serve(_) | Command::Gateway(_) | Command::Forward(_)) => {
            serve::run(command)
        }
        Command::Check(args) => check::run(args),
        Command::Connect(args) => run_client(client::run(args)),
        Command::Listen(args) => run_client(client::listen::run(args)),
        Command::Bench(args) => {
            runtime::raise_file_limit().unwrap_or_else(|why| client::warn(&why));
            run_client(client::bench::run(args))
        }
        Command::Tap(args) => run_client(client::tap::run(args)),
        Command::Replay(args) => {
            runtime::raise_file_limit().unwrap_or_else(|why| client::warn(&why));
            run_client(client::replay::run(args))
        }
        Command::Compare(args) => client::compare::run(&args),
        Command::Completions { shell } => help::print_completions(Cli::whole_command(), shell),
        Command::Man { command } => help::print_manual(Cli::whole_command(), command.as_deref()),
    };
    result.map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn fail(error: Error) -> ExitCode {
    let (line, status) = match error {
        Error::Usage(line) => (line, 2),
        Error::Failed(line) => (line, 1),
    };
    let line = without_credentials(&line);
    logging::show_error(&line);
    ExitCode::from(status)
}

/// The result of a write to standard output. It is no failure that the reader has gone.
fn printed(written: io::Result<bool>) -> Result<(), Error> {
    let failed = |error| Error::Failed(format!("standard output: {}", io_error::describe(&error)));
    written.map(drop).map_err(failed)
}

/// Flushes standard output and the log when dropped, also after a panic.
struct FlushAtExit;

impl Drop for FlushAtExit {
    fn drop(&mut self) {
        stdout::flush();
        logging::flush();
    }
}

impl Cli {
    fn read() -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&Cli::whole_command().try_get_matches()?)
    }

    fn into_command(self) -> Command {
        self.command.unwrap_or(Command::Serve(self.serve))
    }

    /// The command line, with the environment variable of each setting in its help.
    fn whole_command() -> clap::Command {
        let commands = ["serve", "gateway", "forward", "check"];
        let all = config::with_variables(Cli::command())
            .mut_subcommand("gateway", |gateway| {
                without(gateway, &["http", "listen", "route", "forward"])
            })
            .mut_subcommand("forward", |forward| {
                without(forward, &["listen", "route", "forward"]).mut_arg("http", |http| {
                    http.help(
                        "Serve HTTP as well, on this address, as --http of serve (repeatable)",
                    )
                })
            });
        commands.into_iter().fold(all, |all, name| all.mut_subcommand(name, config::with_variables))
    }
}

/// Hides the flags that a command rejects because its arguments replace them.
fn without(command: clap::Command, flags: &[&'static str]) -> clap::Command {
    flags.iter().fold(command, |command, flag| command.mut_arg(flag, |arg| arg.hide(true)))
}

fn run_client(client: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    let runtime = runtime::start().map_err(Error::Failed)?;
    let result = runtime.block_on(client);
    // `shutdown_background` does not wait for a thread that reads standard input, which may block
    // forever.
    runtime.shutdown_background();
    result
}
