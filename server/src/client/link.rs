//! A connection as the two modes see it, whatever it runs over: an outbound and an
//! inbound half, and how both are driven at once.

use std::{
    cell::Cell,
    future::{Future, pending},
    io,
    time::Duration,
};

use bytes::Bytes;
use echogate_proto::close::CloseCode;
use thiserror::Error;
use tokio::{
    pin,
    sync::Notify,
    time::{Instant, sleep, timeout},
};

use super::{
    escape::words,
    replies::{Expected, Replies, Wait},
};
use crate::terminal::Stopped;

/// The most that is read, sent or written at once: 64 KiB.
pub(super) const CHUNK: usize = 64 * 1024;

/// How long a goodbye may take when there is nothing more to wait for.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// How long the server may take to answer a Close, and to send what it owes before that.
const CLOSING_TIME: Duration = Duration::from_secs(5);

/// How long the input may take to show that there is more of it, when nothing can be sent any
/// more.
const LOOK_TIME: Duration = Duration::from_millis(100);

/// The half that sends. When it fails for the end of the connection, the inbound
/// half tells how that came.
pub(super) trait Outbound {
    /// The most that [`Outbound::send_bytes`] takes at once.
    fn largest(&self) -> usize {
        CHUNK
    }
    /// Whether [`Outbound::finish`] tells the peer that the input has ended, so that the peer
    /// can end its own side when everything is answered.
    fn half_closes(&self) -> bool;
    /// Whether the connection is ended by Close frames, and the peer may say something before
    /// the first message.
    fn has_close(&self) -> bool {
        false
    }
    /// Waits until the peer can be expected to take more, where the transport does not see
    /// to that.
    async fn room(&mut self) {}
    /// Sends part of a stream of bytes; where there are messages, as a binary one.
    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()>;
    /// Sends a line (given without its end) as the transport's users write one.
    async fn send_line(&mut self, line: String) -> io::Result<()>;
    /// Says that nothing more will be sent, where that can be said of one side alone; the
    /// peer may go on.
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
    /// The peer has ended its side of a connection that still has an end to come.
    HalfClosed,
    /// The end; all went well.
    End(End),
}

/// How the peer ended.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct End {
    /// How the peer said so.
    pub(super) words: String,
    /// Only the peer's side has ended: it may still read what is sent.
    pub(super) may_read: bool,
}

/// Why the exchange ended before the peer was done.
#[derive(Debug, Error)]
pub(super) enum Stop {
    #[error("{}", words(.0))]
    Connection(io::Error),
    /// The input has not been sent whole; says how much is missing.
    #[error("{0}")]
    Unsent(String),
    /// A reply has not come; says which.
    #[error("{0}")]
    NoReply(String),
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
            Stop::NoReply(_) => Some(CloseCode::NORMAL),
            Stop::Unsent(_) | Stop::Input(_) | Stop::Output(_) | Stop::Interrupted => {
                Some(CloseCode::GOING_AWAY)
            }
        }
    }
}

/// The peer's side of a connection, as the upload needs to know it.
#[derive(Debug, Default)]
pub(super) struct Peer {
    state: Cell<PeerState>,
    changed: Notify,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum PeerState {
    /// Both directions are open.
    #[default]
    Open,
    /// The peer sends nothing more and may still read.
    HalfClosed,
    /// The connection is over.
    Closed,
}

impl Peer {
    /// The peer has ended its side, and `may_read` or not.
    pub(super) fn ended(&self, may_read: bool) {
        self.state.set(if may_read { PeerState::HalfClosed } else { PeerState::Closed });
        self.changed.notify_one();
    }

    /// Waits until nothing can be sent any more.
    pub(super) async fn closed(&self) {
        self.until(|state| state == PeerState::Closed).await;
    }

    /// Waits until the peer has ended its side and the input, which the caller waits for
    /// meanwhile, has then been silent for `pause`.
    pub(super) async fn done(&self, pause: Option<Duration>) {
        self.until(|state| state != PeerState::Open).await;
        let closing = async {
            self.closed().await;
            sleep(LOOK_TIME).await;
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

    async fn until(&self, reached: impl Fn(PeerState) -> bool) {
        while !reached(self.state.get()) {
            self.changed.notified().await;
        }
        // For the next to wait.
        self.changed.notify_one();
    }
}

/// How an upload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Uploaded {
    /// The peer knows that nothing more comes, and ends the connection when it is done.
    Finished,
    /// Nothing more is waited for.
    Over,
    /// A Close has been sent; the peer answers it.
    Closing,
}

/// Runs both directions at once until both have ended, or something of ours fails.
///
/// The end of the download is the end of both where nothing can be sent any more. Where the
/// peer may still read, the upload goes on. A connection that fails while sending may still
/// hold what the peer had to say, so that is waited for.
pub(super) async fn both(
    upload: impl Future<Output = Result<Uploaded, Stop>>,
    download: impl Future<Output = Result<End, Stop>>,
    peer: &Peer,
) -> Result<String, Stop> {
    pin!(upload, download);
    let (mut uploaded, mut words) = (None, None);
    let closing = sleep(Duration::ZERO);
    pin!(closing);
    while uploaded.is_none() || words.is_none() {
        tokio::select! {
            end = &mut download, if words.is_none() => {
                let End { words: said, may_read } = end?;
                peer.ended(may_read);
                words = Some(said);
            }
            sent = &mut upload, if uploaded.is_none() => {
                match sent {
                    Ok(Uploaded::Over) => return Ok(words.unwrap_or_default()),
                    Ok(Uploaded::Closing) => {
                        closing.as_mut().reset(Instant::now() + CLOSING_TIME);
                    }
                    Ok(Uploaded::Finished) | Err(Stop::Connection(_) | Stop::Unsent(_)) => {}
                    Err(stop) => return Err(stop),
                }
                uploaded = Some(sent);
            }
            () = &mut closing, if matches!(uploaded, Some(Ok(Uploaded::Closing))) => break,
        }
    }
    match uploaded {
        // The system reports a reset once. If sending took the report, reading sees
        // what looks like a clean end.
        Some(Err(Stop::Connection(error))) if error.kind() == io::ErrorKind::ConnectionReset => {
            Err(Stop::Connection(error))
        }
        Some(Err(Stop::Unsent(words))) => Err(Stop::Unsent(words)),
        _ => Ok(words.unwrap_or_default()),
    }
}

/// Ends an upload whose input has ended: tells the peer so, and waits for the replies that are
/// `expected` where the peer has no end of its own to tell, or where `by_silence` or `wait` say
/// so.
pub(super) async fn finish(
    outbound: &mut impl Outbound,
    peer: &Peer,
    replies: &Replies,
    wait: Wait,
    expected: Expected,
    by_silence: bool,
) -> Result<Uploaded, Stop> {
    outbound.finish().await.map_err(Stop::Connection)?;
    if outbound.half_closes() && wait == Wait::Default && !by_silence {
        return Ok(Uploaded::Finished);
    }
    // Without a connection nobody knows of us before we have sent something.
    if outbound.half_closes() || outbound.has_close() || !replies.is_unasked() {
        tokio::select! {
            over = replies.over(wait, expected) => match over {
                // A server may answer only when it is told that nothing more comes.
                Err(missing) if outbound.has_close() => replies.is_missing(missing),
                over => over.map_err(Stop::NoReply)?,
            },
            () = peer.done(Some(Duration::ZERO)) => return Ok(Uploaded::Finished),
        }
    }
    leave(outbound).await
}

/// The peer's last words, unless a reply has not come.
pub(super) fn complete(words: String, replies: &Replies) -> Result<String, Stop> {
    replies.take_missing().map_or(Ok(words), |missing| Err(Stop::NoReply(missing)))
}

/// Ends an upload after which nothing more is waited for. A Close is answered, and the peer may
/// say something before that.
pub(super) async fn leave(outbound: &mut impl Outbound) -> Result<Uploaded, Stop> {
    if !outbound.has_close() {
        return Ok(Uploaded::Over);
    }
    outbound.abandon(CloseCode::NORMAL).await.map_err(Stop::Connection)?;
    Ok(Uploaded::Closing)
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
    use std::future::ready;

    use super::*;

    fn failed(kind: io::ErrorKind) -> Result<Uploaded, Stop> {
        Err(Stop::Connection(kind.into()))
    }

    fn end(may_read: bool) -> Result<End, Stop> {
        Ok(End { words: "ended".to_owned(), may_read })
    }

    async fn late<T>(done: T) -> T {
        sleep(Duration::from_secs(1)).await;
        done
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_download_is_the_end_when_the_upload_has_heard_of_it() {
        for may_read in [true, false] {
            let peer = Peer::default();
            let upload = async {
                peer.done(Some(Duration::from_secs(1))).await;
                Ok(Uploaded::Over)
            };
            assert_eq!(both(upload, ready(end(may_read)), &peer).await.unwrap(), "ended");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_end_of_the_upload_waits_for_the_download_and_the_other_way_round() {
        let finished = || ready(Ok(Uploaded::Finished));
        assert_eq!(both(finished(), late(end(true)), &Peer::default()).await.unwrap(), "ended");
        let unsent = late(Err(Stop::Unsent("1 byte".to_owned())));
        let stop = both(unsent, ready(end(true)), &Peer::default()).await.unwrap_err();
        assert_eq!(stop.to_string(), "1 byte");
    }

    #[tokio::test(start_paused = true)]
    async fn a_close_that_is_not_answered_is_not_waited_for_without_end() {
        let closing = ready(Ok(Uploaded::Closing));
        both(closing, pending::<Result<End, Stop>>(), &Peer::default()).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_reset_that_only_the_upload_has_seen_is_a_failure_and_a_closed_peer_is_none() {
        let (reset, broken) = (io::ErrorKind::ConnectionReset, io::ErrorKind::BrokenPipe);
        let peer = Peer::default();
        both(ready(failed(reset)), late(end(true)), &peer).await.unwrap_err();
        both(ready(failed(broken)), late(end(true)), &peer).await.unwrap();
    }

    #[tokio::test]
    async fn an_input_that_cannot_be_read_ends_it_all() {
        let upload = ready(Err(Stop::Input(io::ErrorKind::IsADirectory.into())));
        let download = pending::<Result<End, Stop>>();
        let stop = both(upload, download, &Peer::default()).await.unwrap_err();
        assert_eq!(stop.to_string(), "standard input: is a directory");
    }

    #[tokio::test(start_paused = true)]
    async fn an_input_that_pauses_after_the_peers_end_is_waited_for_as_long_as_asked() {
        let peer = Peer::default();
        timeout(Duration::from_secs(9), peer.done(None)).await.unwrap_err();
        peer.ended(true);
        timeout(Duration::from_secs(9), peer.done(None)).await.unwrap_err();
        let start = Instant::now();
        peer.done(Some(Duration::from_secs(1))).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1));
        peer.ended(false);
        peer.done(None).await;
        assert_eq!(start.elapsed(), Duration::from_secs(1) + LOOK_TIME);
    }
}
