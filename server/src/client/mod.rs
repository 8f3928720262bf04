//! The native client: `echogate connect`, `listen`, `bench`, `tap`, `replay` and `compare`.
//!
//! In reading order:
//!
//! - `args`: the command line of `connect`; `session_args`: the options that it shares with
//!   `listen`, and the mode that they select
//! - `target`: the validated target of a connection; `target_args`, `target_endpoint`,
//!   `address_args`: its options and its endpoint on the command line
//! - `dial`: connected streams and datagram sockets
//! - `transport`: a connection over any transport: a sender and a receiver
//! - `session`: both directions of a connection, driven until they have ended
//! - `pending_replies`: the replies that a session waits for, and their time limits
//! - `recording`: the connections in a file, for `--record`; `recording_file`: the file
//! - `verbose`: the steps of a connection, for `--verbose`
//! - `modes`: the pipe mode and the messages mode
//! - `reconnect`: sessions over several connections in turn
//! - `listen`: the server's side: sessions with clients; `server_tls`: its certificate
//! - `open`: connections without a message layer, for `bench` and `replay`
//! - `bench`: the load generator
//! - `tap`: the events of a connection of a running server
//! - `replay`: one side of a recording; `compare`: two recordings

pub(crate) mod bench;
pub(crate) mod compare;

mod address_args;
mod args;
mod dial;
pub(crate) mod listen;
mod modes;
mod open;
mod pending_replies;
mod reconnect;
mod recording;
mod recording_file;
pub(crate) mod replay;
mod server_tls;
mod session;
mod session_args;
pub(crate) mod tap;
mod target;
mod target_args;
mod target_endpoint;
mod transport;
mod verbose;

use std::io::{self, Write};

use echogate_proto::endpoint::Endpoint;

use self::{recording::SessionRecorder, session::SessionError};
use crate::{net::tls, terminal, text::escape::escape};

pub(crate) use self::args::Args;

/// An error that ends the program, as one line.
#[derive(Debug)]
pub(crate) enum Error {
    /// Wrong arguments, settings or environment: status 2.
    Usage(String),
    /// Any other error: status 1.
    Failed(String),
}

/// The URL of `endpoint` for errors and reports: without credentials.
fn shown_url(endpoint: &Endpoint) -> String {
    Endpoint { credentials: None, ..endpoint.clone() }.to_string()
}

/// Prints a line on the standard error.
fn notice(text: &str) {
    writeln!(io::stderr(), "echogate: {}", escape(text)).ok();
}

/// Prints a warning on the standard error.
pub(crate) fn warn(text: &str) {
    notice(&format!("warning: {text}"));
}

/// Warns of what makes the connections of a client unsafe: a server's certificate that is not verified
/// (`--insecure`), and the file of TLS secrets.
fn warn_of_unsafe_tls(insecure: bool) {
    if insecure {
        warn("the server's certificate is not verified (--insecure)");
    }
    warn_of_key_log();
}

/// Warns that TLS secrets are written to the file of `SSLKEYLOGFILE`, or cannot be.
fn warn_of_key_log() {
    if let Some(warning) = tls::take_warning() {
        warn(&warning);
    }
}

/// Runs `echogate connect`: connects, sends the input and writes the replies until both directions
/// have ended.
///
/// A read of the standard input may still be pending afterwards, so the runtime must be shut down
/// with [`shutdown_background`](tokio::runtime::Runtime::shutdown_background).
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let endpoint = args.target.endpoint().map_err(Error::Usage)?;
    let url = shown_url(&endpoint);
    let usage = |text| Error::Usage(format!("{url}: {text}"));
    let target = args.target(&endpoint).map_err(usage)?;
    warn_of_unsafe_tls(args.target.insecure);
    if args.session.verbose {
        verbose::start();
    }
    let mut mode = args.mode(&target, &url).map_err(usage)?;
    let recorder = args.record.as_deref().map(|path| SessionRecorder::start(path, &target, &url));
    let recorder = recorder.transpose().map_err(Error::Usage)?;
    let mut policy = args.policy();
    policy.transport.reset_when_cut = mode.has_end();
    policy.transport.recorder = recorder.clone();
    let session = policy.run(&target, &mut mode);
    let ended = match &recorder {
        Some(_) => unless_terminated(session).await,
        None => session.await,
    };
    let recorded = recorder.map_or(Ok(()), |recorder| recorder.finish());
    match (mode.close(ended), recorded) {
        (Ok(()), recorded) => recorded.map_err(Error::Failed),
        (Err(error), recorded) => {
            recorded.unwrap_or_else(|why| notice(&why));
            Err(error.end_process_or_fail(&url))
        }
    }
}

/// Runs `session`, and drops it with its connection at a signal that terminates the process.
async fn unless_terminated(
    session: impl Future<Output = Result<String, SessionError>>,
) -> Result<String, SessionError> {
    tokio::select! {
        biased;
        signal = terminal::fatal_signal() => Err(SessionError::Signal(signal)),
        ended = session => ended,
    }
}
