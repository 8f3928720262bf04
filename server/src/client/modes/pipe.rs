//! The pipe mode: the standard input is sent, and what is received goes to the standard output.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt, Stdin},
    time::{Instant, timeout},
};

use crate::client::{
    pending_replies::{Expected, PendingReplies, Wait},
    session::{self, Peer, SessionError, UploadEnd, check_replies, close_upload, finish},
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
}

impl Pipe {
    pub(in crate::client) fn new(wait: Wait) -> Pipe {
        Pipe { input: tokio::io::stdin(), wait }
    }

    /// Pipes the standard streams through `connection`.
    pub(in crate::client) async fn run(
        &mut self,
        connection: Connection,
    ) -> Result<String, SessionError> {
        run(&mut self.input, tokio::io::stdout(), connection, self.wait).await
    }
}

/// Sends all of `input`, and writes all that is received to `output`, until both directions have
/// ended. After the end of the input the peer is still read from. After the end of the peer's
/// direction the input is still sent, until it pauses or the peer refuses it. One chunk is held in
/// memory for each direction, so that backpressure is passed on. Over a transport of messages each
/// read of the input is one message.
async fn run(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    Connection { mut sender, receiver, peer_role, .. }: Connection,
    wait: Wait,
) -> Result<String, SessionError> {
    let (peer, pending) = (Peer::new(peer_role), PendingReplies::default());
    let upload = upload(input, &mut sender, &peer, &pending, wait);
    let ended = session::run(upload, download(receiver, output, &peer, &pending), &peer).await;
    let ended = ended.and_then(|description| check_replies(description, &pending));
    session::close(&mut sender, ended.as_ref().err()).await;
    ended
}

async fn upload(
    mut input: impl AsyncRead + Unpin,
    sender: &mut Sender,
    peer: &Peer,
    pending: &PendingReplies,
    wait: Wait,
) -> Result<UploadEnd, SessionError> {
    if sender.has_close() {
        pending.wait_for_greeting().await;
    }
    let mut buffer = BytesMut::new();
    loop {
        sender.ready().await;
        let bytes = tokio::select! {
            biased;
            bytes = read_chunk(&mut input, &mut buffer, sender.max_chunk()) => {
                bytes.map_err(SessionError::Input)?
            }
            () = peer.done(wait.for_input()) => return close_upload(sender).await,
        };
        if bytes.is_empty() {
            break;
        }
        pending.sent();
        let length = bytes.len() as u64;
        let sent = tokio::select! {
            biased;
            sent = sender.send_bytes(bytes) => sent,
            () = peer.closed() => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Err(SessionError::Unsent(unsent(length, &mut input, peer.role).await));
            }
            Err(error) => return Err(SessionError::Connection(error)),
        }
    }
    if wait == Wait::UntilPeerEnds && !pending.has_sent() {
        // The end of an input without a byte means that everything has been received.
        peer.done(Some(Duration::ZERO)).await;
    }
    finish(sender, peer, pending, wait, Expected::AfterLast, false).await
}

/// Describes how much of the input could not be sent: `length` bytes, and the bytes that can be
/// read from `input` without a pause.
async fn unsent(
    mut length: u64,
    input: &mut (impl AsyncRead + Unpin),
    peer_role: PeerRole,
) -> String {
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
    mut output: impl AsyncWrite + Unpin,
    peer: &Peer,
    pending: &PendingReplies,
) -> Result<End, SessionError> {
    loop {
        let received = receiver.receive().await.map_err(SessionError::Connection)?;
        if let Received::Bytes(bytes) | Received::Message(bytes) = &received {
            output.write_all(bytes).await.map_err(SessionError::Output)?;
            output.flush().await.map_err(SessionError::Output)?;
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

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex, sink, split};

    use super::*;
    use crate::client::transport::stream;

    async fn run_over(
        stream: DuplexStream,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
    ) -> Result<String, SessionError> {
        let peer_role = PeerRole::Server;
        let (sender, receiver) = stream::split(Box::new(stream), peer_role);
        let (sender, receiver) = (Sender::Stream(sender), Receiver::Stream(receiver));
        let connection = Connection { sender, receiver, peer_role, local: None, peer: None };
        run(input, output, connection, Wait::Default).await
    }

    #[tokio::test]
    async fn the_end_of_the_input_is_signalled_and_the_rest_is_read_to_the_end() {
        let (ours, mut theirs) = duplex(4);
        let peer = async move {
            let mut received = Vec::new();
            theirs.read_to_end(&mut received).await.unwrap();
            theirs.write_all(b"and the rest").await.unwrap();
            received
        };
        let mut output = Vec::new();
        let (ended, received) = tokio::join!(run_over(ours, &b"all of it"[..], &mut output), peer);
        ended.unwrap();
        assert_eq!(received, b"all of it");
        assert_eq!(output, b"and the rest");
    }

    #[tokio::test]
    async fn a_peer_that_reads_only_as_fast_as_it_writes_does_not_deadlock() {
        let (ours, theirs) = duplex(16);
        let (mut reader, mut writer) = split(theirs);
        let peer = async move {
            tokio::io::copy(&mut reader, &mut writer).await.unwrap();
            writer.shutdown().await.unwrap();
        };
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let mut output = Vec::new();
        let (ended, ()) = tokio::join!(run_over(ours, &data[..], &mut output), peer);
        ended.unwrap();
        assert!(output == data);
    }

    #[tokio::test(start_paused = true)]
    async fn an_open_input_does_not_delay_the_end_after_the_peers_end() {
        let (ours, mut theirs) = duplex(64);
        let (_open, input) = duplex(1);
        theirs.write_all(b"bye").await.unwrap();
        drop(theirs);
        let mut output = Vec::new();
        run_over(ours, input, &mut output).await.unwrap();
        assert_eq!(output, b"bye");
    }

    #[tokio::test]
    async fn a_peer_that_ends_first_gets_the_rest_of_the_input() {
        let (ours, theirs) = duplex(16);
        let (mut reader, mut writer) = split(theirs);
        let peer = async move {
            writer.shutdown().await.unwrap();
            let mut received = Vec::new();
            reader.read_to_end(&mut received).await.unwrap();
            received
        };
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let (ended, received) = tokio::join!(run_over(ours, &data[..], sink()), peer);
        ended.unwrap();
        assert!(received == data);
    }

    #[tokio::test]
    async fn an_input_that_cannot_be_sent_is_a_failure_that_names_its_size() {
        let (ours, theirs) = duplex(16);
        drop(theirs);
        let error = run_over(ours, &[b'x'; 200_000][..], sink()).await.unwrap_err();
        let text = "closed by the server before all input was sent: 200000 bytes were not sent";
        assert_eq!(error.to_string(), text);
    }

    #[tokio::test]
    async fn a_failure_of_the_input_is_reported() {
        let (ours, _theirs) = duplex(64);
        let input = failing_reader(io::ErrorKind::IsADirectory);
        let error = run_over(ours, input, sink()).await.unwrap_err();
        assert_eq!(error.to_string(), "standard input: is a directory");
    }

    /// A reader whose first read fails.
    fn failing_reader(kind: io::ErrorKind) -> impl AsyncRead + Unpin {
        struct Failing(io::ErrorKind);
        impl AsyncRead for Failing {
            fn poll_read(
                self: std::pin::Pin<&mut Self>,
                _: &mut std::task::Context<'_>,
                _: &mut tokio::io::ReadBuf<'_>,
            ) -> std::task::Poll<io::Result<()>> {
                std::task::Poll::Ready(Err(self.0.into()))
            }
        }
        Failing(kind)
    }
}
