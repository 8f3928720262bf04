//! `echogate listen`: a session with the first client of a listening socket, or with one client
//! after the other.
//!
//! - `args`: the command line
//! - `listener`: the listening socket, and the clients that have connected
//! - `datagrams`: the first sender of a datagram socket
//! - `websocket`: the server's side of the opening handshake

mod args;
pub(super) mod datagrams;
pub(super) mod listener;
pub(super) mod websocket;

use std::io::{self, Write};

use self::listener::{Incoming, Listener};
use super::{
    Error,
    modes::{Mode, messages::Messages, pipe::Pipe},
    session::SessionError,
    shown_url,
    transport::Connection,
    verbose,
};
use crate::text::io_error::describe;

pub(crate) use self::args::ListenArgs;

/// Runs `echogate listen`: waits for a client and exchanges the standard streams with it, until both
/// directions have ended; with `--keep-open` for one client after the other.
///
/// As after [`run`](super::run), a read of the standard input may still be pending.
pub(crate) async fn run(args: ListenArgs) -> Result<(), Error> {
    let endpoint = args.endpoint().map_err(Error::Usage)?;
    let url = shown_url(&endpoint);
    let settings = args.settings(&endpoint).map_err(|why| Error::Usage(format!("{url}: {why}")))?;
    let listener = Listener::bind(settings).await;
    let listener =
        listener.map_err(|error| Error::Failed(format!("{url}: {}", describe(&error))))?;
    let url = listener.url().to_string();
    if args.session.verbose {
        verbose::start();
    }
    let notices = Notices { quiet: args.session.quiet };
    notices.show(&listener.hint(args.keep_open));
    let ended = match args.mode(listener.kind(), &url) {
        Mode::Pipe(pipe) => serve_pipe(pipe, listener, args.keep_open, notices).await,
        Mode::Messages(messages) => serve_messages(*messages, listener, args.keep_open).await,
    };
    ended.map_err(|error| Error::Failed(format!("{url}: {error}")))
}

/// Notices on the standard error, without `--quiet`.
#[derive(Clone, Copy, Debug)]
struct Notices {
    quiet: bool,
}

impl Notices {
    fn show(self, text: &str) {
        if !self.quiet {
            writeln!(io::stderr(), "{text}").ok();
        }
    }
}

/// Pipes the standard streams through the connection of the first client; with `keep_open` of each
/// client.
async fn serve_pipe(
    mut pipe: Pipe,
    mut listener: Listener,
    keep_open: bool,
    notices: Notices,
) -> Result<(), SessionError> {
    loop {
        let Incoming { peer, connection } = listener.next().await?;
        let connection = match connection {
            Ok(connection) => connection,
            Err(reason) => {
                notices.show(&format!("{peer}: {reason}"));
                continue;
            }
        };
        notices.show(&format!("{peer} connected"));
        if !keep_open {
            drop(listener);
            return pipe.run(connection).await.map(drop);
        }
        if let Some(text) = end_of(&peer, pipe.run(connection).await)? {
            notices.show(&text);
        }
    }
}

/// Exchanges messages with the first client; with `keep_open` with each client.
async fn serve_messages(
    mut messages: Messages,
    listener: Listener,
    keep_open: bool,
) -> Result<(), SessionError> {
    let ended = run_messages(&mut messages, listener, keep_open).await;
    messages.close(ended)
}

async fn run_messages(
    messages: &mut Messages,
    mut listener: Listener,
    keep_open: bool,
) -> Result<String, SessionError> {
    while let Some(Incoming { peer, connection }) = messages.until_done(listener.next()).await? {
        let connection: Connection = match connection {
            Ok(connection) => connection,
            Err(reason) => {
                messages.notice(&format!("{peer}: {reason}")).await?;
                continue;
            }
        };
        if !keep_open {
            drop(listener);
            return messages.run(connection).await;
        }
        if let Some(text) = end_of(&peer, messages.run(connection).await)? {
            messages.notice(&text).await?;
        }
    }
    Ok(String::new())
}

/// The notice about the end of one session among several, if there is something to say; or the
/// failure of the standard streams, which ends all.
fn end_of(peer: &str, ended: Result<String, SessionError>) -> Result<Option<String>, SessionError> {
    match ended {
        Ok(description) if description.is_empty() => Ok(None),
        Ok(text) => Ok(Some(format!("{peer}: {text}"))),
        Err(error @ (SessionError::Connection(_) | SessionError::Unsent(_))) => {
            Ok(Some(format!("{peer}: {error}")))
        }
        Err(SessionError::NoReply(text)) => Ok(Some(format!("{peer}: {text}"))),
        Err(error) => Err(error),
    }
}
