//! The native client: `echogate connect` and `echogate bench`.
//!
//! In reading order:
//!
//! - `args`: the command line, and the mode that it selects
//! - `target`: the validated target of a connection; `target_args`: its options on the command line
//! - `dial`: connected streams and datagram sockets
//! - `transport`: a connection over any transport: a sender and a receiver
//! - `session`: both directions of a connection, driven until they have ended
//! - `pending_replies`: the replies that a session waits for, and their time limits
//! - `modes`: the pipe mode and the messages mode
//! - `reconnect`: sessions over several connections in turn
//! - `bench`: the load generator

pub(crate) mod bench;

mod args;
mod dial;
mod modes;
mod pending_replies;
mod reconnect;
mod session;
mod target;
mod target_args;
mod transport;

use echogate_proto::endpoint::Endpoint;
use thiserror::Error as ThisError;

use self::modes::Mode;

pub(crate) use self::args::Args;

/// A failure of the client, as one line that names the endpoint and the reason.
#[derive(Debug, ThisError)]
pub(crate) enum Error {
    /// The command line is invalid.
    #[error("{0}: {1}")]
    Usage(Endpoint, String),
    /// The connection could not be made, or failed.
    #[error("{0}: {1}")]
    Failed(Endpoint, String),
}

/// Runs `echogate connect`: connects, sends the input and writes the replies until both directions
/// have ended.
///
/// A read of the standard input may still be pending afterwards, so the runtime must be shut down
/// with [`shutdown_background`](tokio::runtime::Runtime::shutdown_background).
pub(crate) async fn run(args: Args) -> Result<(), Error> {
    let url = args.target.url();
    let usage = |text| Error::Usage(url.clone(), text);
    let target = args.target().map_err(usage)?;
    args.target.warn();
    let policy = args.policy();
    let ended = match args.mode().map_err(usage)? {
        Mode::Pipe(pipe) => match policy.connect(&target).await {
            Ok(connection) => pipe.run(connection).await.map(drop),
            Err(error) => Err(error),
        },
        Mode::Messages(mut messages) => {
            let ended = policy.run(&target, &mut messages).await;
            messages.close(ended)
        }
    };
    ended.map_err(|error| Error::Failed(url.clone(), error.to_string()))
}
