//! The pipe mode: the standard input is sent, and what is received goes to the standard output.

use std::{
    io::{self, Write},
    time::Duration,
};

use bytes::BytesMut;
use tokio::{
    io::{AsyncWriteExt, Stdin},
    time::{Instant, timeout},
};

use crate::client::{
    pending_replies::{Expected, PendingReplies, Wait},
    session::{self, PeerDirection, SessionError, UploadEnd, check_replies, end_at_pause, finish},
    transport::{CHUNK, Connection, End, PeerRole, Received, Receiver, Sender, stream::read_chunk},
};

/// The time limit of counting the input that could not be sent.
const COUNTING_TIMEOUT: Duration = Duration::from_secs(1);

/// The pause of the input that ends the counting.
const COUNTING_PAUSE: Duration = Duration::from_millis(100);

/// The pipe mode.
#[derive(Debug)]
pub(in crate::client) struct Pipe {
    /// The standard input, for one connection after the other.
    input: Stdin,
    /// The limit of the wait for replies when the input has ended.
    wait: Wait,
    /// Whether notices are suppressed (`--quiet`).
    quiet: bool,
}

impl Pipe {
    pub(in crate::client) fn new(wait: Wait, quiet: bool) -> Pipe {
        Pipe { input: tokio::io::stdin(), wait, quiet }
    }

    /// Writes a notice to the standard error, unless `--quiet` is given.
    pub(super) fn notice(&self, text: &str) {
        if !self.quiet {
            writeln!(io::stderr(), "{text}").ok();
        }
    }

    /// Sends all of the standard input, and writes all that is received to the standard output,
    /// until both directions have ended. After the end of the input the peer is still read from.
    /// After the end of the peer's direction the input is still sent, until it pauses or the peer
    /// refuses it. One chunk is held in memory for each direction, so that backpressure is passed
    /// on. Over a transport of messages each read of the input is one message.
    pub(in crate::client) async fn run(
        &mut self,
        Connection { mut sender, receiver, peer_role, peer, .. }: Connection,
    ) -> Result<String, SessionError> {
        if let Some(peer) = peer {
            self.notice(&format!("{peer} connected"));
        }
        let (peer, pending) = (PeerDirection::new(peer_role), PendingReplies::default());
        let Pipe { input, wait, quiet } = self;
        let upload = upload(input, &mut sender, &peer, &pending, *wait, *quiet);
        let ended =
            session::run(upload, download(receiver, &peer, &pending), &peer, &pending).await;
        let ended = ended.and_then(|description| check_replies(description, &pending));
        session::close(&mut sender, ended.as_ref().err()).await;
        ended
    }
}

async fn upload(
    input: &mut Stdin,
    sender: &mut Sender,
    peer: &PeerDirection,
    pending: &PendingReplies,
    mut wait: Wait,
    quiet: bool,
) -> Result<UploadEnd, SessionError> {
    if sender.has_close() {
        pending.wait_for_greeting().await;
    }
    let mut buffer = BytesMut::new();
    loop {
        sender.ready().await;
        let bytes = tokio::select! {
            biased;
            bytes = read_chunk(input, &mut buffer, sender.max_chunk()) => {
                bytes.map_err(SessionError::Input)?
            }
            () = peer.done(wait.for_input()) => {
                return end_at_pause(sender, peer, pending, quiet).await;
            }
        };
        if bytes.is_empty() {
            break;
        }
        pending.sent();
        let length = bytes.len() as u64;
        let sent = tokio::select! {
            biased;
            sent = sender.send_bytes(bytes) => sent,
            () = peer.closed() => Err(io::ErrorKind::BrokenPipe.into()),
        };
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                return Err(SessionError::Unsent(unsent(length, input, peer.role).await));
            }
            Err(error) => return Err(SessionError::Connection(error)),
        }
    }
    if !pending.has_sent() && (sender.half_closes() || wait == Wait::UntilPeerEnds) {
        // Some programs, such as nc, stop sending when their peer ends its direction: an input
        // without a byte, such as /dev/null, ends when everything has been received.
        tokio::select! {
            () = peer.done(Some(Duration::ZERO)) => {}
            () = pending.wait_until_peer_is_silent(wait) => {
                if let Wait::For(_) = wait {
                    // The peer has been silent for this time already.
                    wait = Wait::For(Duration::ZERO);
                }
            }
        }
    }
    finish(sender, peer, pending, wait, Expected::AfterLast, false).await
}

/// Describes how much of the input could not be sent: `length` bytes, and the bytes that can be
/// read from `input` without a pause.
async fn unsent(mut length: u64, input: &mut Stdin, peer_role: PeerRole) -> String {
    let mut buffer = BytesMut::new();
    let start = Instant::now();
    let mut at_least = "at least ";
    while start.elapsed() < COUNTING_TIMEOUT {
        let next = timeout(COUNTING_PAUSE, read_chunk(input, &mut buffer, CHUNK)).await;
        match next {
            Ok(Ok(bytes)) if !bytes.is_empty() => length += bytes.len() as u64,
            Ok(Ok(_)) => {
                at_least = "";
                break;
            }
            Ok(Err(_)) | Err(_) => break,
        }
    }
    format!(
        "closed by the {peer_role} before all input was sent: {at_least}{length} bytes were not sent"
    )
}

async fn download(
    mut receiver: Receiver,
    peer: &PeerDirection,
    pending: &PendingReplies,
) -> Result<End, SessionError> {
    let mut output = tokio::io::stdout();
    loop {
        let received = receiver.receive().await.map_err(SessionError::Connection)?;
        if let Received::Bytes(bytes) | Received::Message(bytes) = &received {
            let write = async {
                output.write_all(bytes).await?;
                output.flush().await
            };
            pending.while_writing(write).await.map_err(SessionError::Output)?;
        }
        match received {
            Received::Bytes(_) => pending.received_lines(1),
            Received::Message(_) => pending.received_message(),
            Received::Pong(_) => {}
            Received::HalfClosed => peer.set_ended(true),
            Received::End(end) => return Ok(end),
        }
    }
}
