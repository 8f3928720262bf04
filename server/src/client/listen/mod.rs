//! `echogate listen`: a session with the first client of a listening socket, or with one client
//! after the other.
//!
//! - `args`: the command line
//! - `acceptor`: the bound sockets, and the clients that reach them; `datagrams`: the first sender
//!   of a datagram socket
//! - `listener`: the endpoint, and the clients that have connected
//! - `websocket`: the server's side of the opening handshake

pub(super) mod acceptor;
mod args;
pub(super) mod datagrams;
pub(super) mod listener;
pub(super) mod websocket;

use std::io::{self, Write};

use futures_util::TryFutureExt;

use self::listener::Listener;
use super::{Error, modes::Mode, session::SessionError, shown_url, verbose, warn_of_key_log};
use crate::text::io_error::describe;

pub(crate) use self::args::ListenArgs;

/// Runs `echogate listen`: waits for a client and exchanges the standard streams with it, until
/// both directions have ended; with `--keep-open` for one client after the other.
///
/// As after [`run`](super::run), a read of the standard input may still be pending.
pub(crate) async fn run(args: ListenArgs) -> Result<(), Error> {
    let endpoint = args.endpoint().map_err(Error::Usage)?;
    let url = shown_url(&endpoint);
    let settings = args.settings(&endpoint).map_err(|why| Error::Usage(format!("{url}: {why}")))?;
    warn_of_key_log();
    let listener = Listener::bind(settings).await;
    let listener =
        listener.map_err(|error| Error::Failed(format!("{url}: {}", describe(&error))))?;
    let url = listener.url();
    if args.session.verbose {
        verbose::start();
    }
    if !args.session.quiet {
        writeln!(io::stderr(), "{}", listener.hint(args.keep_open)).ok();
    }
    let mut mode = args.mode(&url);
    let ended = serve(&mut mode, listener, args.keep_open).await;
    mode.close(ended).map_err(|error| error.end_process_or_fail(&url.to_string()))
}

/// Exchanges the standard streams with the first client; with `keep_open` with each client.
async fn serve(
    mode: &mut Mode,
    mut listener: Listener,
    keep_open: bool,
) -> Result<String, SessionError> {
    loop {
        let next = listener.next().map_err(SessionError::Connection);
        let Some((peer, connection)) = mode.until_done(next).await? else {
            return Ok(String::new());
        };
        let notice = match connection {
            Ok(connection) if keep_open => end_of(&peer, mode.run(connection).await)?,
            Ok(connection) => {
                drop(listener);
                return mode.run(connection).await;
            }
            Err(reason) => Some(format!("{peer}: {reason}")),
        };
        if let Some(notice) = notice {
            mode.notice(&notice).await?;
        }
    }
}

/// The notice about the end of one session among several; `None` if that end has no description.
///
/// # Errors
///
/// A failure of the standard streams, or a signal, which ends all sessions.
fn end_of(peer: &str, ended: Result<String, SessionError>) -> Result<Option<String>, SessionError> {
    match ended {
        Ok(description) if description.is_empty() => Ok(None),
        Ok(text) => Ok(Some(format!("{peer}: {text}"))),
        Err(
            error @ (SessionError::Connection(_)
            | SessionError::Unsent(_)
            | SessionError::NoReply(_)),
        ) => Ok(Some(format!("{peer}: {error}"))),
        Err(error) => Err(error),
    }
}
