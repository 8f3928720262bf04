//! The session on one connection: both directions, driven concurrently until they have ended.

use std::{
    cell::Cell,
    future::{Future, pending},
    io,
    time::Duration,
};

use echogate_proto::close::CloseCode;
use signal_hook::{consts::SIGINT, low_level::emulate_default_handler};
use thiserror::Error;
use tokio::{
    pin,
    sync::Notify,
    time::{sleep, timeout},
};

use super::{
    Error, notice,
    pending_replies::{Expected, PendingReplies, Wait},
    transport::{End, PeerRole, Sender, close::MessageError},
};
use crate::terminal::Stopped;
use crate::text::io_error::describe;

/// The time limit of a Close when no reply is awaited any more.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(1);

/// The time that the server has to answer a Close, outstanding replies included. The time in which
/// replies are written does not count.
const CLOSE_REPLY_TIMEOUT: Duration = Duration::from_secs(5);

/// The time for which the input is still read when nothing can be sent any more, to find out
/// whether input remains unsent.
const INPUT_CHECK: Duration = Duration::from_millis(100);

/// The reason why a session ended before both directions had ended.
#[derive(Debug, Error)]
pub(super) enum SessionError {
    #[error("{}", describe(.0))]
    Connection(io::Error),
    /// Part of the input could not be sent. The text says how much.
    #[error("{0}")]
    Unsent(String),
    /// A reply is missing. The text says which.
    #[error("{0}")]
    NoReply(String),
    #[error("standard input: {}", describe(.0))]
    Input(io::Error),
    #[error("standard output: {}", describe(.0))]
    Output(io::Error),
    /// A signal that terminates the process.
    #[error("ended by signal {0}")]
    Signal(i32),
}

impl From<Stopped> for SessionError {
    fn from(stopped: Stopped) -> SessionError {
        match stopped {
            Stopped::Interrupted => SessionError::Signal(SIGINT),
            Stopped::Input(error) => SessionError::Input(error),
            Stopped::Output(error) => SessionError::Output(error),
        }
    }
}

impl SessionError {
    /// The failure of the command with the target at `url`. After a signal this does not return:
    /// the signal ends the process, as it would without a handler. Ctrl-C at the prompt counts as
    /// SIGINT.
    pub(super) fn end_process_or_fail(self, url: &str) -> Error {
        if let SessionError::Signal(signal) = self {
            emulate_default_handler(signal).unwrap_or_default();
        }
        Error::Failed(format!("{url}: {self}"))
    }

    /// The close code for the peer; `None` if the peer cannot be reached any more.
    fn close_code(&self) -> Option<CloseCode> {
        match self {
            SessionError::Connection(error) => {
                MessageError::of(error).map(MessageError::close_code)
            }
            SessionError::NoReply(_) => Some(CloseCode::NORMAL),
            SessionError::Unsent(_)
            | SessionError::Input(_)
            | SessionError::Output(_)
            | SessionError::Signal(_) => Some(CloseCode::GOING_AWAY),
        }
    }
}

/// The state of the peer's direction, which the download sets and the upload waits for.
#[derive(Debug)]
pub(super) struct PeerDirection {
    pub(super) role: PeerRole,
    state: Cell<PeerState>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PeerState {
    /// Both directions are open.
    #[default]
    Open,
    /// The peer has ended its direction and may still read.
    HalfClosed,
    /// The connection has ended.
    Closed,
}

impl PeerDirection {
    pub(super) fn new(role: PeerRole) -> PeerDirection {
        PeerDirection { role, state: Cell::default(), changed: Notify::new() }
    }

    /// Records that the peer has ended its direction, and whether it may still read.
    pub(super) fn set_ended(&self, may_read: bool) {
        self.state.set(if may_read { PeerState::HalfClosed } else { PeerState::Closed });
        self.changed.notify_one();
    }

    /// Waits until the connection has ended.
    pub(super) async fn closed(&self) {
        self.until(|state| state == PeerState::Closed).await;
    }

    /// Waits until the peer has ended its direction and `pause` has passed since, or until
    /// [`INPUT_CHECK`] has passed since the end of the connection. The caller reads the input at
    /// the same time, and drops this future when there is input.
    pub(super) async fn done(&self, pause: Option<Duration>) {
        self.until(|state| state != PeerState::Open).await;
        let closing = async {
            self.closed().await;
            sleep(INPUT_CHECK).await;
        };
        let pausing = async {
            match pause {
                Some(pause) => sleep(pause).await,
                None => pending().await,
            }
        };
        tokio::select! {
            () = closing => {}
            () = pausing => {}
        }
    }

    /// Whether the peer has ended its direction and may still read.
    fn may_read(&self) -> bool {
        self.state.get() == PeerState::HalfClosed
    }

    async fn until(&self, reached: impl Fn(PeerState) -> bool) {
        while !reached(self.state.get()) {
            self.changed.notified().await;
        }
        // Keep the notification for the next caller.
        self.changed.notify_one();
    }
}

/// The end of an upload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UploadEnd {
    /// The end of the input has been sent. The peer ends the connection when it has replied.
    Finished,
    /// No reply is awaited any more.
    Done,
    /// A Close has been sent, which the peer answers.
    Closing,
}

/// Runs upload and download concurrently until both have ended or a local failure occurs, and
/// returns the description of the end.
///
/// If the peer may still read when the download ends, the upload continues. If the upload fails
/// because of the connection, the download continues, since replies may have arrived before.
pub(super) async fn run(
    upload: impl Future<Output = Result<UploadEnd, SessionError>>,
    download: impl Future<Output = Result<End, SessionError>>,
    peer: &PeerDirection,
    pending: &PendingReplies,
) -> Result<String, SessionError> {
    // The time limit begins at the first poll, after the Close has been sent.
    let closing = pending.elapse(CLOSE_REPLY_TIMEOUT);
    pin!(upload, download, closing);
    let (mut uploaded, mut description) = (None, None);
    while uploaded.is_none() || description.is_none() {
        tokio::select! {
            end = &mut download, if description.is_none() => {
                let end = end?;
                peer.set_ended(end.may_read);
                description = Some(end.description);
            }
            sent = &mut upload, if uploaded.is_none() => {
                match sent {
                    Ok(UploadEnd::Done) => return Ok(description.unwrap_or_default()),
                    Ok(UploadEnd::Finished | UploadEnd::Closing)
                    | Err(SessionError::Connection(_) | SessionError::Unsent(_)) => {}
                    Err(error) => return Err(error),
                }
                uploaded = Some(sent);
            }
            () = &mut closing, if matches!(uploaded, Some(Ok(UploadEnd::Closing))) => break,
        }
    }
    match uploaded {
        // The system reports a reset once. If the upload got the report, the download has seen a
        // regular end.
        Some(Err(SessionError::Connection(error)))
            if error.kind() == io::ErrorKind::ConnectionReset =>
        {
            Err(SessionError::Connection(error))
        }
        Some(Err(SessionError::Unsent(text))) => Err(SessionError::Unsent(text)),
        _ => Ok(description.unwrap_or_default()),
    }
}

/// Ends an upload after the end of its input. Sends the end to the peer. Then, if the transport has
/// no half-close, or if `by_silence` or `wait` require it, waits for the `expected` replies.
pub(super) async fn finish(
    sender: &mut Sender,
    peer: &PeerDirection,
    pending: &PendingReplies,
    wait: Wait,
    expected: Expected,
    by_silence: bool,
) -> Result<UploadEnd, SessionError> {
    sender.finish().await.map_err(SessionError::Connection)?;
    // A client owes no reply.
    let expected = if peer.role == PeerRole::Client { Expected::Optional } else { expected };
    let has_limit = by_silence || !matches!(wait, Wait::Default | Wait::UntilPeerEnds);
    if sender.half_closes() && !has_limit {
        if !sender.closes_last() {
            return Ok(UploadEnd::Finished);
        }
        peer.done(Some(Duration::ZERO)).await;
        return close_upload(sender).await;
    }
    // A datagram peer does not know of the client before the first message.
    if sender.half_closes() || sender.has_close() || pending.has_sent() {
        tokio::select! {
            done = pending.wait_until_done(wait, expected) => match done {
                // Some servers reply only after the Close of the client.
                Err(missing) if sender.has_close() => pending.set_missing(missing),
                done => done.map_err(SessionError::NoReply)?,
            },
            () = peer.done(Some(Duration::ZERO)) => return Ok(UploadEnd::Finished),
        }
    }
    close_upload(sender).await
}

/// Returns `description`, that of the end, or an error if a reply is missing.
pub(super) fn check_replies(
    description: String,
    pending: &PendingReplies,
) -> Result<String, SessionError> {
    pending.take_missing().map_or(Ok(description), |missing| Err(SessionError::NoReply(missing)))
}

/// Ends an upload whose input pauses after the peer has ended its direction. A server that may
/// still read must not take a part of the input for all of it: after what was sent it gets a reset,
/// and the user a notice unless `quiet` is set. A client as the peer decides on the end of both
/// directions.
pub(super) async fn end_at_pause(
    sender: &mut Sender,
    peer: &PeerDirection,
    pending: &PendingReplies,
    quiet: bool,
) -> Result<UploadEnd, SessionError> {
    if peer.role == PeerRole::Client || !peer.may_read() || !pending.has_sent() {
        return close_upload(sender).await;
    }
    if !quiet {
        notice("the server has ended, and the input has paused: the rest is not sent (see --wait)");
    }
    sender.abandon().await.map_err(|error| {
        let why = describe(&error);
        SessionError::Unsent(format!("the server has not received all that was sent: {why}"))
    })?;
    Ok(if sender.has_close() { UploadEnd::Closing } else { UploadEnd::Done })
}

/// Ends an upload after which no reply is awaited. Sends a Close over WebSocket.
pub(super) async fn close_upload(sender: &mut Sender) -> Result<UploadEnd, SessionError> {
    if !sender.has_close() {
        return Ok(UploadEnd::Done);
    }
    sender.close(CloseCode::NORMAL, "").await.map_err(SessionError::Connection)?;
    Ok(UploadEnd::Closing)
}

/// Closes a connection whose session has ended, with the close code for `error`.
pub(super) async fn close(sender: &mut Sender, error: Option<&SessionError>) {
    if error.is_none() {
        sender.set_complete();
    }
    if let Some(code) = error.map_or(Some(CloseCode::NORMAL), SessionError::close_code) {
        timeout(CLOSE_TIMEOUT, sender.close(code, "")).await.ok();
    }
}

#[cfg(test)]
mod tests {
    use std::future::ready;

    use tokio::time::Instant;

    use super::*;

    fn failed(kind: io::ErrorKind) -> Result<UploadEnd, SessionError> {
        Err(SessionError::Connection(kind.into()))
    }

    fn end(may_read: bool) -> Result<End, SessionError> {
        Ok(End { description: "ended".to_owned(), may_read })
    }

    async fn session(
        upload: impl Future<Output = Result<UploadEnd, SessionError>>,
        download: impl Future<Output = Result<End, SessionError>>,
        peer: &PeerDirection,
    ) -> Result<String, SessionError> {
        run(upload, download, peer, &PendingReplies::default()).await
    }

    async fn late<T>(result: T) -> T {
        sleep(Duration::from_secs(1)).await;
        result
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_download_ends_the_upload() {
        for may_read in [true, false] {
            let peer = PeerDirection::new(PeerRole::Server);
            let upload = async {
                peer.done(Some(Duration::from_secs(1))).await;
                Ok(UploadEnd::Done)
            };
            assert_eq!(session(upload, ready(end(may_read)), &peer).await.unwrap(), "ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_one_direction_waits_for_the_other() {
        let finished = || ready(Ok(UploadEnd::Finished));
        assert_eq!(
            session(finished(), late(end(true)), &PeerDirection::new(PeerRole::Server))
                .await
                .unwrap(),
            "ended"
        );
        let unsent = late(Err(SessionError::Unsent("1 byte".to_owned())));
        let error = session(unsent, ready(end(true)), &PeerDirection::new(PeerRole::Server))
            .await
            .unwrap_err();
        assert_eq!(error.to_string(), "1 byte");
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_that_is_not_answered_times_out() {
        let closing = ready(Ok(UploadEnd::Closing));
        session(
            closing,
            pending::<Result<End, SessionError>>(),
            &PeerDirection::new(PeerRole::Server),
        )
        .await
        .unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_is_waited_for_while_replies_are_written() {
        let replies = PendingReplies::default();
        let download = replies.while_writing(async {
            sleep(2 * CLOSE_REPLY_TIMEOUT).await;
            end(false)
        });
        let closing = ready(Ok(UploadEnd::Closing));
        let ended = run(closing, download, &PeerDirection::new(PeerRole::Server), &replies).await;
        assert_eq!(ended.unwrap(), "ended");
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_that_only_the_upload_has_seen_is_a_failure_and_a_broken_pipe_is_none() {
        let (reset, broken) = (io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe);
        let peer = PeerDirection::new(PeerRole::Server);
        session(ready(failed(reset)), late(end(true)), &peer).await.unwrap_err();
        session(ready(failed(broken)), late(end(true)), &peer).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn an_input_that_pauses_after_the_peers_end_is_waited_for_as_long_as_asked() {
        let peer = PeerDirection::new(PeerRole::Server);
        timeout(Duration::from_secs(9), peer.done(None)).await.unwrap_err();
        peer.set_ended(true);
        timeout(Duration::from_secs(9), peer.done(None)).await.unwrap_err();
        let start = Instant::now();
        peer.done(Some(Duration::from_secs(1))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        peer.set_ended(false);
        peer.done(None).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1) + INPUT_CHECK);
    }
}
