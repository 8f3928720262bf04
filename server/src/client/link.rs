//! A connection as the two modes see it, whatever it runs over: an outbound and an
//! inbound half, and how both are driven at once.

use std::{future::Future, io, time::Duration};

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use thiserror::Error;
use tokio::{pin, time::timeout};

use super::escape::words;
use crate::terminal::Stopped;

/// The most that is read, sent or written at once: 64 KiB.
pub(super) const CHUNK: usize = 64 * 1024;

/// How long a goodbye may take when there is nothing more to wait for.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// The half that sends. When it fails for the end of the connection, the inbound
/// half tells how that came.
pub(super) trait Outbound {
    /// The most that [`Outbound::send_bytes`] takes at once.
    fn largest(&self) -> usize {
        CHUNK
    }
    /// Waits until the peer can be expected to take more, where the transport does not see
    /// to that.
    async fn room(&mut self) {}
    /// Sends part of a stream of bytes; where there are messages, as a binary one.
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()>;
    /// Sends a line (given without its end) as the transport's users write one.
    async fn send_line(&mut self, line: String) -> io::Result<()>;
    /// Says that nothing more will be sent; the peer may go on.
    async fn finish(&mut self) -> io::Result<()>;
    /// Says why the connection is given up, where the transport has words for it.
    async fn abandon(&mut self, code: CloseCode) -> io::Result<()>;
}

/// The half that receives.
pub(super) trait Inbound {
    /// What comes next. Cancel safe: nothing is lost if the future is dropped.
    async fn receive(&mut self) -> io::Result<Received>;
}

/// What has come.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Received {
    /// The next bytes of a stream, cut anywhere.
    Bytes(Bytes),
    /// A whole message.
    Message(Bytes),
    /// The peer is done, and all went well; in words, how it said so.
    End(String),
}

/// Why the exchange ended before the peer was done.
#[derive(Debug, Error)]
pub(super) enum Stop {
    #[error("{}", words(.0))]
    Connection(io::Error),
    #[error("standard input: {}", words(.0))]
    Input(io::Error),
    #[error("standard output: {}", words(.0))]
    Output(io::Error),
    #[error("interrupted")]
    Interrupted,
}

impl From<Stopped> for Stop {
    fn from(stopped: Stopped) -> Stop {
        match stopped {
            Stopped::Interrupted => Stop::Interrupted,
            Stopped::Input(error) => Stop::Input(error),
            Stopped::Output(error) => Stop::Output(error),
        }
    }
}

impl Stop {
    /// What a peer that takes close codes should be told, unless it is gone.
    fn goodbye(&self) -> Option<CloseCode> {
        match self {
            Stop::Connection(error) => match error.kind() {
                io::ErrorKind::FileTooLarge => Some(CloseCode::TOO_BIG),
                io::ErrorKind::InvalidData => Some(CloseCode::PROTOCOL_ERROR),
                _ => None,
            },
            Stop::Input(_) | Stop::Output(_) | Stop::Interrupted => Some(CloseCode::GOING_AWAY),
        }
    }
}

/// Runs both directions at once until the peer has ended its own, or something of
/// ours fails.
///
/// The end of the download is the end: the peer is done, whether or not there is
/// more to send. The end of the upload is half a goodbye. A connection that fails
/// while sending may still hold what the peer had to say, so that is waited for.
pub(super) async fn both<T>(
    upload: impl Future<Output = Result<(), Stop>>,
    download: impl Future<Output = Result<T, Stop>>,
) -> Result<T, Stop> {
    pin!(upload, download);
    let mut uploaded = None;
    let end = loop {
        tokio::select! {
            end = &mut download => break end?,
            sent = &mut upload, if uploaded.is_none() => match sent {
                Ok(()) | Err(Stop::Connection(_)) => uploaded = Some(sent),
                Err(stop) => return Err(stop),
            },
        }
    };
    match uploaded {
        // The system reports a reset once. If sending took the report, reading sees
        // what looks like a clean end.
        Some(Err(Stop::Connection(error))) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(Stop::Connection(error))
        }
        _ => Ok(end),
    }
}

/// Ends the sending half when nothing more is waited for, because of `stop` or because
/// the peer is done.
pub(super) async fn goodbye(outbound: &mut impl Outbound, stop: Option<&Stop>) {
    if let Some(code) = stop.map_or(Some(CloseCode::NORMAL), Stop::goodbye) {
        timeout(GOODBYE_TIME, outbound.abandon(code)).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::future::{pending, ready};

    use super::*;

    fn failed(kind: io::ErrorKind) -> Result<(), Stop> {
        Err(Stop::Connection(kind.into()))
    }

    #[tokio::test]
    async fn the_end_of_the_download_does_not_wait_for_the_upload() {
        assert_eq!(both(pending(), ready(Ok(7))).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_upload_waits_for_the_download() {
        let late = async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(7)
        };
        assert_eq!(both(ready(Ok(())), late).await.unwrap(), 7);
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_that_only_the_upload_has_seen_is_a_failure_and_a_closed_peer_is_none() {
        let late = || async {
            tokio::time::sleep(Duration::from_secs(1)).await;
            Ok(())
        };
        both(ready(failed(io::ErrorKind::ConnectionReset)), late()).await.unwrap_err();
        both(ready(failed(io::ErrorKind::BrokenPipe)), late()).await.unwrap();
    }

    #[tokio::test]
    async fn an_input_that_cannot_be_read_ends_it_all() {
        let upload = ready(Err(Stop::Input(io::ErrorKind::IsADirectory.into())));
        let stop = both(upload, pending::<Result<(), Stop>>()).await.unwrap_err();
        assert_eq!(stop.to_string(), "standard input: is a directory");
    }
}
