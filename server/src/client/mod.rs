//! The native client: `echogate connect`, and `echogate bench` in `bench`.
//!
//! In reading order:
//!
//! - `target`: what is to be called, and whether the options given go with it
//! - `dial`: from an address to a connected stream
//! - `handshake`: from a stream to a WebSocket, or why not
//! - `link`: a connection as both modes see it, and how both directions are driven
//! - `stream`, `websocket`: connections of bytes, connections of messages
//! - `pipe`: the mode for scripts: bytes in, bytes out
//! - `terminal`: the mode for people: a prompt, and replies above it
//! - `bench`: the mode for load: many connections, and every reply checked

pub mod bench;

mod dial;
mod handshake;
mod link;
mod pipe;
mod stream;
mod target;
mod terminal;
mod websocket;

use std::{
    io::{self, IsTerminal},
    path::PathBuf,
};

use echogate_proto::endpoint::Endpoint;
use thiserror::Error as ThisError;

use crate::escape;

use self::{
    link::{Inbound, Outbound, Stop},
    stream::{StreamInbound, StreamOutbound},
    target::{Header, Target, Upgrade},
    terminal::Manner,
};

/// What is to be called, and how.
#[derive(clap::Args, Clone, Debug)]
struct Call {
    /// What to connect to: tcp://HOST:PORT, tls://HOST:PORT, unix:///PATH,
    /// ws://HOST[:PORT][/PATH] or wss://HOST[:PORT][/PATH]
    #[arg(value_name = "URL", default_value = "tcp://127.0.0.1:7007")]
    url: Endpoint,

    /// Add a header to the WebSocket request (repeatable)
    #[arg(long, value_name = "NAME:VALUE")]
    header: Vec<Header>,

    /// Send an Origin header, as a page of that origin would
    #[arg(long, value_name = "ORIGIN")]
    origin: Option<String>,

    /// Offer a WebSocket subprotocol (repeatable, in order of preference)
    #[arg(long, value_name = "NAME")]
    protocol: Vec<String>,

    /// With TLS, trust the root certificates in this PEM file instead of the system's
    #[arg(long, value_name = "FILE")]
    ca: Option<PathBuf>,

    /// With TLS, the name that is sent and that the certificate has to be for, if it is not
    /// the URL's host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

/// The command line of `echogate connect`.
#[derive(clap::Args, Clone, Debug)]
pub struct Args {
    #[command(flatten)]
    call: Call,

    /// On a terminal, show each reply's round-trip time
    #[arg(long)]
    timing: bool,

    /// On a terminal, show nothing but the replies
    #[arg(long, short)]
    quiet: bool,
}

/// Why the client failed: one line that names the endpoint and what went wrong.
#[derive(Debug, ThisError)]
pub enum Error {
    /// What was asked for makes no sense.
    #[error("{0}: {1}")]
    Usage(Endpoint, String),
    /// The connection could not be made, or it failed.
    #[error("{0}: {1}")]
    Failed(Endpoint, String),
}

/// Connects, and carries what is typed or piped in there and what comes back here,
/// until one side is done.
///
/// A read of the standard input may outlast it: the runtime is to be shut down with
/// [`shutdown_background`](tokio::runtime::Runtime::shutdown_background).
///
/// # Errors
///
/// When the connection cannot be made or breaks, or the standard input or output
/// does; a closed standard output is none.
pub async fn run(args: Args) -> Result<(), Error> {
    let url = &args.call.url;
    let target = Target::new(&args.call).map_err(|words| Error::Usage(url.clone(), words))?;
    call(target, &args).await.map_err(|stop| Error::Failed(url.clone(), stop.to_string()))
}

async fn call(target: Target, args: &Args) -> Result<(), Stop> {
    match target {
        Target::Tcp(at) => {
            let stream = dial::tcp(&at).await.map_err(Stop::Connection)?;
            let from = stream.local_addr().map_err(Stop::Connection)?;
            let (reader, writer) = stream.into_split();
            let (outbound, inbound) = (StreamOutbound(writer), StreamInbound::new(reader));
            exchange(outbound, inbound, &format!(" (from {from})"), args).await
        }
        Target::Tls(at, trust) => {
            let (stream, from) = dial::host(&at, Some(&trust)).await.map_err(Stop::Connection)?;
            let (reader, writer) = tokio::io::split(stream);
            let (outbound, inbound) = (StreamOutbound(writer), StreamInbound::new(reader));
            exchange(outbound, inbound, &format!(" (from {from})"), args).await
        }
        Target::Unix(path) => {
            let stream = dial::unix(&path).await.map_err(Stop::Connection)?;
            let (reader, writer) = stream.into_split();
            exchange(StreamOutbound(writer), StreamInbound::new(reader), "", args).await
        }
        Target::WebSocket(upgrade) => call_websocket(&upgrade, args).await,
    }
}

async fn call_websocket(upgrade: &Upgrade, args: &Args) -> Result<(), Stop> {
    let dialled = dial::host(&upgrade.at, upgrade.trust.as_ref()).await;
    let (mut stream, from) = dialled.map_err(Stop::Connection)?;
    match handshake::open(&mut stream, upgrade).await {
        Ok(socket) => {
            let (outbound, inbound) = websocket::halves(socket);
            exchange(outbound, inbound, &format!(" (from {from})"), args).await
        }
        Err(error) => Err(Stop::Connection(handshake::refusal(error, &mut stream).await)),
    }
}

/// Uses a connection in the mode that the standard streams ask for.
async fn exchange(
    outbound: impl Outbound,
    inbound: impl Inbound,
    from: &str,
    args: &Args,
) -> Result<(), Stop> {
    if io::stdin().is_terminal() && io::stdout().is_terminal() {
        let manner = Manner { timing: args.timing, quiet: args.quiet };
        let greeting = format!("connected to {}{from}", args.call.url);
        terminal::run(outbound, inbound, &greeting, manner).await
    } else {
        pipe::run(tokio::io::stdin(), tokio::io::stdout(), outbound, inbound).await
    }
}
