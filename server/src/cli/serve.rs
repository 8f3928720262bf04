//! `echogate serve`, `echogate gateway` and `echogate forward`: start, reload at SIGHUP, stop.

use std::{
    future::pending,
    io::{self, IsTerminal},
    path::PathBuf,
};

use clap::Args;
use echogate_proto::endpoint::{EndpointError, HostPort};
use tokio::{sync::mpsc::Receiver, task::spawn_blocking};

use super::{
    Cli, Command, Error, logging, runtime,
    signals::{self, Signals},
    stdout, usage,
};
use crate::{
    config::{
        ANY_PATH, ActivatedNames, ConfigLayer, ForwardSpec, HttpAddress, LogFormat, RouteSpec,
        Settings, Sources,
    },
    connections::limits::descriptors,
    console::ConsoleOperator,
    net::tls,
    server::{ActivatedSockets, Server, ServiceManager},
    service::Service,
};

#[derive(Args, Debug)]
pub(super) struct ServeCommand {
    /// Answer the clients of the service chat from this terminal
    #[arg(long)]
    console: bool,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
pub(super) struct ServeArgs {
    /// Read settings from this TOML file. Flags and environment variables override it. SIGHUP reads
    /// it again without closing connections
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    #[command(flatten)]
    layer: ConfigLayer,
}

#[derive(Args, Debug)]
pub(super) struct GatewayArgs {
    /// The address to listen on, as --http of serve takes it; a port alone means localhost
    #[arg(value_name = "[HOST:]PORT")]
    bind: HttpAddress,
    /// The TCP service to connect to, or a URL with options, as --route of serve takes it; a port
    /// alone means this machine
    #[arg(value_name = "HOST:PORT", value_parser = parse_upstream)]
    upstream: RouteSpec,
    #[command(flatten)]
    serve: ServeArgs,
}

#[derive(Args, Debug)]
pub(super) struct ForwardArgs {
    /// The socket to listen on: [HOST:]PORT for TCP, where a port alone means this machine only, or
    /// a URL with tcp, tls, unix, udp or unixgram
    #[arg(value_name = "LISTEN")]
    socket: String,
    /// The upstream: HOST:PORT, PORT, or a URL with options, as --forward of serve takes it
    #[arg(value_name = "URL")]
    upstream: String,
    #[command(flatten)]
    serve: ServeArgs,
}

fn parse_upstream(text: &str) -> Result<RouteSpec, String> {
    let is_host = !text.bytes().all(|byte| byte.is_ascii_digit())
        && matches!(text.parse::<HostPort>(), Err(EndpointError::NoPort));
    let scheme = if is_host { "tcp://" } else { "" };
    format!("{ANY_PATH}={scheme}{text}").parse()
}

impl ServeArgs {
    fn sources(self) -> Result<Sources, String> {
        let sources = Sources::read(self.layer, self.config.as_deref())?;
        sources.log_format().begin();
        Ok(sources)
    }

    pub(super) fn settings(self, activated: &ActivatedNames) -> Result<Settings, String> {
        Settings::load(&self.sources()?, activated)
    }
}

impl GatewayArgs {
    fn settings(self, activated: &ActivatedNames) -> Result<Settings, String> {
        let Self { bind, upstream, serve } = self;
        Settings::load(&serve.sources()?.into_gateway(bind, upstream)?, activated)
    }
}

impl ForwardArgs {
    fn settings(self, activated: &ActivatedNames) -> Result<Settings, String> {
        let Self { socket, upstream, serve } = self;
        let forward = ForwardSpec::new(&socket, &upstream)?;
        Settings::load(&serve.sources()?.into_forward(forward)?, activated)
    }
}

/// Runs the server until a signal stops it, with the settings of `command` (`serve`, `gateway` or
/// `forward`), the environment and the file.
pub(super) fn run(command: Command) -> Result<(), Error> {
    let console = matches!(&command, Command::Serve(args) if args.console);
    if console && !(io::stdin().is_terminal() && io::stdout().is_terminal()) {
        return Err(Error::Usage(
            "--console needs a terminal on standard input and standard output".to_owned(),
        ));
    }
    let console_log = logging::start(console).map_err(Error::Usage)?;
    let activated = ActivatedSockets::from_env().map_err(Error::Usage)?;
    let names = activated.names();
    let settings = settings_of(command, &names).map_err(Error::Usage)?;
    if console {
        if settings.log_format == LogFormat::Json {
            let why = "--console cannot be used with --log-format json: it shows the log as text";
            return Err(Error::Usage(why.to_owned()));
        }
        let served = settings.check_served(Service::Chat, &names);
        served.map_err(|why| Error::Usage(format!("--console {why}")))?;
    }
    stdout::start().map_err(Error::Failed)?;
    runtime::raise_file_limit().unwrap_or_else(|why| tracing::warn!("{why}"));
    descriptors::keep_reserve();
    let runtime = runtime::start().map_err(Error::Failed)?;
    let served = runtime.block_on(serve(settings, activated, names, console_log));
    // `shutdown_background` does not wait for tasks that missed the shutdown deadline.
    runtime.shutdown_background();
    served.map_err(Error::Failed)
}

/// Binds the sockets and serves until a signal. There is a console if `console_log` is given, which
/// carries the log to it.
async fn serve(
    settings: Settings,
    activated: ActivatedSockets,
    names: ActivatedNames,
    console_log: Option<Receiver<String>>,
) -> Result<(), String> {
    // The handlers precede the sockets: a program that can connect may send a signal at once.
    let Signals { stop, mut reload } =
        signals::handle().map_err(|e| format!("cannot handle signals: {e}"))?;
    let mut server = Server::bind(settings, activated).await?;
    server.take_over().await?;
    stdout::queue(server.announcement().as_bytes());
    // The console owns the terminal from here on: later announcements go through it.
    let announce: fn(&[u8]) = if console_log.is_some() { logging::show } else { stdout::queue };
    let operator = match console_log {
        Some(log) => {
            stdout::flush();
            let operator = ConsoleOperator::start(server.hub().clone(), log);
            Some(operator.map_err(|e| format!("cannot use the terminal: {e}"))?)
        }
        None => None,
    };
    let service_manager = ServiceManager::from_env();
    let watch = service_manager.watch(&server);
    let reload = async || next_reload(&mut reload, &service_manager, names.clone()).await;
    tokio::select! {
        () = server.run(&service_manager, reload, stop.cancelled(), announce) => {}
        () = watch => {}
    }
    if let Some(operator) = operator {
        operator.stop().await;
    }
    Ok(())
}

/// Waits for SIGHUP and reads the settings anew.
async fn next_reload(
    hangups: &mut Receiver<()>,
    service_manager: &ServiceManager,
    names: ActivatedNames,
) -> Result<Settings, String> {
    if hangups.recv().await.is_none() {
        // The signal thread has ended: no SIGHUP will be reported any more.
        pending::<()>().await;
    }
    service_manager.reloading();
    // Reading files may block.
    let settings = spawn_blocking(move || reread_settings(&names)).await;
    settings.unwrap_or_else(|e| Err(e.to_string()))
}

/// Parses the command line of this process again, and with it the files that it names, the
/// environment and the settings file.
fn reread_settings(activated: &ActivatedNames) -> Result<Settings, String> {
    let cli = Cli::read().map_err(|e| usage::one_line(e, &Cli::whole_command()))?;
    settings_of(cli.into_command(), activated)
}

/// Merges the settings of a command with those of the environment and the file.
fn settings_of(command: Command, activated: &ActivatedNames) -> Result<Settings, String> {
    let settings = match command {
        Command::Serve(args) => args.serve.settings(activated),
        Command::Gateway(args) => args.settings(activated),
        Command::Forward(args) => args.settings(activated),
        _ => Err("this command does not serve".to_owned()),
    };
    if let Some(warning) = tls::take_warning() {
        tracing::warn!("{warning}");
    }
    settings
}
