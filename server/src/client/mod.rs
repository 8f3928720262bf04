//! The native client: `echogate connect`, and `echogate bench` in `bench`.
//!
//! In reading order:
//!
//! - `options`: the command line of `connect`, and which mode it asks for
//! - `target`: what is to be called, and whether the options given go with it
//! - `call`: one call: from a target to a connection, and what is made of it there
//! - `dial`: from an address to a connected stream, or a socket for datagrams
//! - `handshake`: from a stream to a WebSocket, or why not
//! - `link`: a connection as all modes see it, and how both directions are driven
//! - `stream`, `websocket`, `datagram`: connections of bytes, of messages, of datagrams;
//!   `udp`: a host's addresses in turn; `replies`: which are waited for, and how long;
//!   `flow`: how many datagrams are sent before their replies
//! - `pipe`: the mode for scripts: bytes in, bytes out
//! - `talk`: the mode in messages, for people and for the clock; `source`: where they come
//!   from; `ledger`: what was sent and came on one connection; `show`, `lines`, `timing`:
//!   what is shown of it
//! - `again`: connections one after the other
//! - `prompt`: a person's prompt
//! - `bench`: the mode for load: many connections, and every reply checked

pub(crate) mod bench;

mod again;
mod call;
mod datagram;
mod dial;
mod flow;
mod handshake;
mod ledger;
mod lines;
mod link;
mod options;
mod pipe;
mod prompt;
mod replies;
mod show;
mod source;
mod stream;
mod talk;
mod target;
mod timing;
mod udp;
mod websocket;

use std::{
    io::{self, Write},
    path::PathBuf,
};

use echogate_proto::endpoint::Endpoint;
use thiserror::Error as ThisError;

use crate::text::escape;

use self::{options::Use, target::Header};

pub(crate) use self::options::Args;

/// What is to be called, and how.
#[derive(clap::Args, Clone, Debug)]
struct Call {
    /// What to connect to: tcp://HOST:PORT, tls://HOST:PORT, udp://HOST:PORT,
    /// unix:///PATH, unixgram:///PATH, ws://[USER:PASSWORD@]HOST[:PORT][/PATH] or wss://...;
    /// in a PATH %XX is any byte
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

    /// With TLS, take any certificate: whoever answers may read and change everything
    #[arg(long, short = 'k', conflicts_with = "ca")]
    insecure: bool,

    /// With TLS, the name that is sent and that the certificate has to be for, if it is not
    /// the URL's host
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
}

impl Call {
    /// The URL as errors name it, and the credentials that stood in it nowhere.
    fn url(&self) -> Endpoint {
        Endpoint { credentials: None, ..self.url.clone() }
    }

    /// Warns of what makes the connection unsafe.
    fn warn(&self) {
        if self.insecure {
            let words = "warning: the server's certificate is not verified (--insecure)";
            writeln!(io::stderr(), "echogate: {words}").ok();
        }
    }
}

/// Why the client failed: one line that names the endpoint and what went wrong.
#[derive(Debug, ThisError)]
pub(crate) enum Error {
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
/// When the connection cannot be made or breaks, or the standard input or output does, when
/// the input cannot be sent whole, or a reply does not come.
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let url = args.call.url();
    let usage = |words| Error::Usage(url.clone(), words);
    let target = args.target().map_err(usage)?;
    args.call.warn();
    let calls = args.calls();
    let ended = match args.to_use().map_err(usage)? {
        Use::Bytes(mut pipe) => call::call(&target, calls.wait, &mut pipe).await.map(drop),
        Use::Messages(mut talk) => {
            let ended = calls.hold(&target, &mut talk).await;
            talk.close(ended)
        }
    };
    ended.map_err(|stop| Error::Failed(url.clone(), stop.to_string()))
}
