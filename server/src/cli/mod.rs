//! The command line.

mod check;
mod help;
pub(crate) mod process;

use std::{
    future::pending,
    io::{self, IsTerminal},
    path::PathBuf,
    process::ExitCode,
};

use clap::{
    Args, CommandFactory, FromArgMatches, Parser, Subcommand,
    error::{ContextKind, ContextValue, ErrorKind},
};
use clap_complete::Shell;
use echogate_proto::endpoint::{Endpoint, HostPort};
use tokio::task::spawn_blocking;

use self::{check::Attempt, process::Signals};
use crate::{
    client,
    config::{self, ActivatedNames, BindAddress, Given, RouteSpec, Settings, Sources},
    server::{ActivatedSockets, Server},
    service::{Service, chat::Seat},
    text::escape,
};

/// A socket workbench: TCP services, a WebSocket gateway to them, and clients in the
/// terminal and in the browser.
#[derive(Debug, Parser)]
#[command(name = "echogate", version, args_conflicts_with_subcommands = true)]
#[command(disable_help_subcommand = true, after_help = help::EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    serve: ServeCommand,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Serve: the services, the gateway and the page (also what happens without a command)
    #[command(after_help = help::SERVE_EXAMPLES)]
    Serve(ServeCommand),
    /// Put a TCP service in front of browsers: WebSocket at / and /websockify
    #[command(after_help = help::GATEWAY_EXAMPLES)]
    Gateway(GatewayArgs),
    /// Say what serve would do with these settings, and what a connection would meet
    #[command(after_help = help::CHECK_EXAMPLES)]
    Check(CheckArgs),
    /// Connect to an endpoint: a prompt on a terminal, bytes in and out in a pipe
    Connect(client::Args),
    /// Load an endpoint that answers each message with as many bytes, and measure it
    #[command(after_help = help::BENCH_EXAMPLES)]
    Bench(client::bench::Args),
    /// Show the help on a command, or its manual page
    #[command(after_help = help::HELP_EXAMPLES)]
    Help(help::Args),
    /// Print what makes a shell complete the arguments of echogate
    #[command(after_help = help::COMPLETIONS_EXAMPLES)]
    Completions {
        /// The shell that is to read it
        shell: Shell,
    },
}

#[derive(Args, Debug)]
struct ServeCommand {
    /// Answer chat's clients on this terminal
    #[arg(long)]
    console: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
struct ServeArgs {
    /// Settings in a TOML file; flags and the environment come before it. Read again at
    /// SIGHUP, without an end to any connection
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    given: Given,
}

#[derive(Args, Debug)]
struct GatewayArgs {
    /// Where to serve, on loopback unless a host is given
    #[arg(value_name = "[HOST:]PORT", value_parser = parse_bind)]
    bind: BindAddress,
    /// The service: HOST:PORT, or a URL as a route takes it
    #[arg(value_name = "HOST:PORT", value_parser = parse_upstream)]
    upstream: RouteSpec,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
struct CheckArgs {
    /// A WebSocket URL that a client might connect to
    #[arg(long, value_name = "URL")]
    url: Option<Endpoint>,
    /// The origin of the page that connects to it, if it is a page that does
    #[arg(long, value_name = "ORIGIN", requires = "url")]
    origin: Option<String>,
    #[command(flatten)]
    serve: ServeArgs,
}

fn parse_bind(text: &str) -> Result<BindAddress, String> {
    match text.parse() {
        Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => {
            Ok(BindAddress(HostPort { host: "localhost".to_owned(), port }))
        }
        _ => text.parse(),
    }
}

fn parse_upstream(text: &str) -> Result<RouteSpec, String> {
    let scheme = if text.contains("://") || text.starts_with("service:") { "" } else { "tcp://" };
    format!("/={scheme}{text}").parse()
}

/// Why the program fails: one line, and the exit status.
enum Failure {
    /// What was asked for makes no sense: status 2.
    Usage(String),
    /// It could not be done: status 1.
    Run(String),
}

/// The whole program: reads the command line, does what it says, and answers with
/// the exit status.
pub fn main() -> ExitCode {
    let _flush = process::FlushAtEnd;
    let cli = match Cli::read() {
        Ok(cli) => cli,
        Err(e) if !e.use_stderr() => {
            // Help or the version was asked for.
            let printed = e.print().map_err(|e| output_failed(&e));
            return printed.map_or_else(fail, |()| ExitCode::SUCCESS);
        }
        Err(e) => return fail(Failure::Usage(one_line(&e))),
    };
    let done = match cli.command.unwrap_or(Command::Serve(cli.serve)) {
        Command::Serve(ServeCommand { console, .. }) => serve(console),
        Command::Gateway(_) => serve(false),
        Command::Check(args) => check(args),
        Command::Connect(args) => call(client::run(args)),
        Command::Bench(args) => {
            process::raise_file_limit();
            call(client::bench::run(args))
        }
        Command::Help(args) => args.show(Cli::whole_command()).map_err(|e| match e {
            help::Error::Unknown(what) => Failure::Usage(what),
            help::Error::Output(e) => output_failed(&e),
        }),
        Command::Completions { shell } => {
            help::complete(Cli::whole_command(), shell).map_err(|e| output_failed(&e))
        }
    };
    done.map_or_else(fail, |()| ExitCode::SUCCESS)
}

fn fail(failure: Failure) -> ExitCode {
    let (line, status) = match failure {
        Failure::Usage(line) => (line, 2),
        Failure::Run(line) => (line, 1),
    };
    process::show(format!("echogate: {line}\n").as_bytes());
    ExitCode::from(status)
}

fn output_failed(error: &io::Error) -> Failure {
    Failure::Run(format!("standard output: {}", escape::words(error)))
}

/// What is wrong with the command line, and the tip if there is one, in one line.
fn one_line(error: &clap::Error) -> String {
    if let Some(line) = misplaced(error) {
        return line;
    }
    let text = error.to_string();
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let mut line = lines.next().unwrap_or_default().trim_start_matches("error: ").to_owned();
    if line.ends_with(':') {
        // What follows is a list: the arguments that are missing.
        line.push(' ');
        line.push_str(lines.next().unwrap_or_default());
    }
    for tip in lines.filter_map(|line| line.strip_prefix("tip: ")) {
        line.push_str("; ");
        line.push_str(tip);
    }
    line
}

/// Where the flags belong that stand before a command, if that is what is wrong.
fn misplaced(error: &clap::Error) -> Option<String> {
    let command = match error.get(ContextKind::InvalidSubcommand)? {
        ContextValue::String(command) if error.kind() == ErrorKind::ArgumentConflict => command,
        _ => return None,
    };
    let flags = match error.get(ContextKind::PriorArg)? {
        ContextValue::String(flag) => flag.clone(),
        ContextValue::Strings(flags) => flags.join(" "),
        _ => return None,
    };
    let all = Cli::command();
    let takes = |flag: &str| {
        let flag = flag.split_whitespace().next()?.strip_prefix("--")?;
        all.find_subcommand(command)?.get_arguments().find(|arg| arg.get_long() == Some(flag))
    };
    Some(match takes(&flags) {
        Some(_) => format!("{flags} goes behind {command}: echogate {command} … {flags}"),
        None => format!("{flags} does not go with {command}: it is a flag of serve"),
    })
}

impl Cli {
    fn read() -> Result<Cli, clap::Error> {
        Cli::from_arg_matches(&Cli::whole_command().try_get_matches()?)
    }

    /// The command line, with the environment's variables in its help.
    fn whole_command() -> clap::Command {
        let commands = ["serve", "gateway", "check"];
        let all = config::with_variables(Cli::command());
        commands.into_iter().fold(all, |all, name| all.mut_subcommand(name, config::with_variables))
    }
}

impl ServeArgs {
    fn sources(self) -> Result<Sources, String> {
        Sources::read(self.given, self.config.as_deref())
    }

    fn settings(self, inherited: &ActivatedNames) -> Result<Settings, String> {
        Settings::load(&self.sources()?, inherited)
    }
}

impl GatewayArgs {
    fn settings(self, inherited: &ActivatedNames) -> Result<Settings, String> {
        let Self { bind, upstream, serve } = self;
        Settings::load(&serve.sources()?.into_gateway(bind, &upstream)?, inherited)
    }
}

fn check(args: CheckArgs) -> Result<(), Failure> {
    process::log(false).map_err(Failure::Usage)?;
    let settings = args.serve.settings(&ActivatedNames::default()).map_err(Failure::Usage)?;
    let mut text = Vec::new();
    check::describe(&settings, &mut text).map_err(|e| output_failed(&e))?;
    help::print(&text).map_err(|e| output_failed(&e))?;
    if let Some(url) = args.url {
        let verdict = check::judge(&settings, &Attempt { url, origin: args.origin });
        let line = format!("{}\n", verdict.map_err(Failure::Run)?);
        help::print(line.as_bytes()).map_err(|e| output_failed(&e))?;
    }
    Ok(())
}

/// Serves by the settings of the command line, which are read again at each SIGHUP: all
/// of them, and the files that they name, as if it were the start.
fn serve(console: bool) -> Result<(), Failure> {
    if console && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Failure::Usage("--console needs a terminal".to_owned()));
    }
    let log = process::log(console).map_err(Failure::Usage)?;
    let inherited = ActivatedSockets::from_env().map_err(Failure::Usage)?;
    let names = inherited.names();
    let settings = settings(&names).map_err(Failure::Usage)?;
    if console {
        let served = settings.check_served(Service::Chat, &names);
        served.map_err(|why| Failure::Usage(format!("--console {why}")))?;
    }
    process::open_stdout().map_err(Failure::Run)?;
    process::raise_file_limit();
    let runtime = process::runtime().map_err(Failure::Run)?;
    let served = runtime.block_on(async {
        let server = Server::bind(settings, inherited).await?;
        // Before the announcement: who reads it may send a signal at once.
        let Signals { stop, mut reload } =
            process::signals().map_err(|e| format!("cannot handle signals: {e}"))?;
        process::print(server.announcement().as_bytes());
        // What is announced later is shown where the console lets it appear.
        let announce: fn(&[u8]) = if console { process::show } else { process::print };
        let seat = match log {
            Some(log) => {
                process::flush_stdout();
                let seat = Seat::take(server.hub().clone(), log);
                Some(seat.map_err(|e| format!("cannot use the terminal: {e}"))?)
            }
            None => None,
        };
        let reload = async || {
            // None comes any more when the thread that handles signals is gone.
            if reload.recv().await.is_none() {
                pending::<()>().await;
            }
            let names = names.clone();
            // Reading files may block.
            let read = spawn_blocking(move || self::settings(&names)).await;
            read.unwrap_or_else(|e| Err(e.to_string()))
        };
        server.run(reload, stop.cancelled(), announce).await;
        if let Some(seat) = seat {
            seat.give_up().await;
        }
        Ok(())
    });
    // What did not end in time is not waited for.
    runtime.shutdown_background();
    served.map_err(Failure::Run)
}

/// What the command line says to serve.
fn settings(inherited: &ActivatedNames) -> Result<Settings, String> {
    let cli = Cli::read().map_err(|e| one_line(&e))?;
    match cli.command {
        None => cli.serve.serve.settings(inherited),
        Some(Command::Serve(args)) => args.serve.settings(inherited),
        Some(Command::Gateway(args)) => args.settings(inherited),
        Some(_) => Err("this command serves nothing".to_owned()),
    }
}

fn call(client: impl Future<Output = Result<(), client::Error>>) -> Result<(), Failure> {
    let runtime = process::runtime().map_err(Failure::Run)?;
    let ended = runtime.block_on(client);
    // A read of the standard input may never end.
    runtime.shutdown_background();
    ended.map_err(|e| match e {
        client::Error::Usage(..) => Failure::Usage(e.to_string()),
        client::Error::Failed(..) => Failure::Run(e.to_string()),
    })
}
