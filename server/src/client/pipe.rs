//! Pipe mode: bytes in, bytes out, and nothing else.

use std::time::Duration;

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::{Instant, timeout},
};

use super::{
    call::Conversation,
    link::{
        CHUNK, End, Inbound, Outbound, Peer, Received, Stop, Uploaded, both, complete, finish,
        goodbye, leave,
    },
    replies::{Expected, Replies, Wait},
    stream::read_chunk,
};

/// How long the rest of an input that cannot be sent is counted.
const COUNTING_TIME: Duration = Duration::from_secs(1);

/// A pause after which an input counts as one whose end is not in sight.
const COUNTING_PAUSE: Duration = Duration::from_millis(100);

/// Bytes in, bytes out.
#[derive(Debug)]
pub(super) struct Pipe {
    /// How long the peer is waited for when the input has ended.
    pub(super) wait: Wait,
}

impl Conversation for Pipe {
    async fn hold(
        &mut self,
        outbound: impl Outbound,
        inbound: impl Inbound,
        _: &str,
    ) -> Result<String, Stop> {
        run(tokio::io::stdin(), tokio::io::stdout(), outbound, inbound, self.wait).await
    }
}

/// Sends all of `input` and writes to `output` what comes, until both sides are done. At the
/// end of the input the peer is told so and is still read from. At the end of the peer's side
/// the input is still sent, as long as the peer takes it and there is no pause in it. Holds
/// one chunk in each direction: who does not read is not read from. Where messages are
/// sent, each read of the input is one.
async fn run(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    mut outbound: impl Outbound,
    inbound: impl Inbound,
    wait: Wait,
) -> Result<String, Stop> {
    let (peer, replies) = (Peer::default(), Replies::default());
    let upload = upload(input, &mut outbound, &peer, &replies, wait);
    let ended = both(upload, download(inbound, output, &peer, &replies), &peer).await;
    let ended = ended.and_then(|words| complete(words, &replies));
    goodbye(&mut outbound, ended.as_ref().err()).await;
    ended
}

async fn upload(
    mut input: impl AsyncRead + Unpin,
    outbound: &mut impl Outbound,
    peer: &Peer,
    replies: &Replies,
    wait: Wait,
) -> Result<Uploaded, Stop> {
    if outbound.has_close() {
        replies.greeting().await;
    }
    let mut buffer = BytesMut::new();
    loop {
        outbound.room().await;
        let bytes = tokio::select! {
            biased;
            bytes = read_chunk(&mut input, &mut buffer, outbound.largest()) => {
                bytes.map_err(Stop::Input)?
            }
            () = peer.done(wait.for_input()) => return leave(outbound).await,
        };
        if bytes.is_empty() {
            break;
        }
        replies.sent();
        let length = bytes.len() as u64;
        let sent = tokio::select! {
            biased;
            sent = outbound.send_bytes(bytes) => sent,
            () = peer.closed() => Err(std::io::ErrorKind::BrokenPipe.into()),
        };
        match sent {
            Ok(()) => {}
            Err(error) if error.kind() == std::io::ErrorKind::BrokenPipe => {
                return Err(Stop::Unsent(unsent(length, &mut input).await));
            }
            Err(error) => return Err(Stop::Connection(error)),
        }
    }
    finish(outbound, peer, replies, wait, Expected::AfterLast, false).await
}

/// Says how much of the input could not be sent: `length` bytes and what `input` still holds,
/// as far as that can be read without a pause.
async fn unsent(mut length: u64, input: &mut (impl AsyncRead + Unpin)) -> String {
    let mut buffer = BytesMut::new();
    let start = Instant::now();
    let mut at_least = "at least ";
    while start.elapsed() < COUNTING_TIME {
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
        "closed by the server before all of the input was sent; {at_least}{length} bytes were not"
    )
}

async fn download(
    mut inbound: impl Inbound,
    mut output: impl AsyncWrite + Unpin,
    peer: &Peer,
    replies: &Replies,
) -> Result<End, Stop> {
    loop {
        let received = inbound.receive().await.map_err(Stop::Connection)?;
        if let Received::Bytes(bytes) | Received::Message(bytes) = &received {
            output.write_all(bytes).await.map_err(Stop::Output)?;
            output.flush().await.map_err(Stop::Output)?;
        }
        match received {
            Received::Bytes(_) => replies.came(1),
            Received::Message(_) => replies.messages(1),
            Received::HalfClosed => peer.ended(true),
            Received::End(end) => return Ok(end),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use tokio::io::{AsyncReadExt, DuplexStream, duplex, sink, split};

    use super::{super::stream::*, *};

    async fn run_over(
        stream: DuplexStream,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
    ) -> Result<String, Stop> {
        let (reader, writer) = split(stream);
        let (outbound, inbound) = (StreamOutbound(writer), StreamInbound::new(reader));
        run(input, output, outbound, inbound, Wait::Default).await
    }

    #[tokio::test]
    async fn the_input_goes_out_half_closes_and_the_rest_is_read_to_the_end() {
        let (ours, mut theirs) = duplex(4);
        let peer = async move {
            let mut heard = Vec::new();
            theirs.read_to_end(&mut heard).await.unwrap();
            theirs.write_all(b"and the rest").await.unwrap();
            heard
        };
        let mut output = Vec::new();
        let (ended, heard) = tokio::join!(run_over(ours, &b"all of it"[..], &mut output), peer);
        ended.unwrap();
        assert_eq!(heard, b"all of it");
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
    async fn a_peer_that_ends_first_is_not_kept_waiting_for_by_an_open_input() {
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
            let mut heard = Vec::new();
            reader.read_to_end(&mut heard).await.unwrap();
            heard
        };
        let data: Vec<u8> = (0..1_000_000_u32).map(|i| i as u8).collect();
        let (ended, heard) = tokio::join!(run_over(ours, &data[..], sink()), peer);
        ended.unwrap();
        assert!(heard == data);
    }

    #[tokio::test]
    async fn an_input_that_cannot_be_sent_is_a_failure_that_says_how_much() {
        let (ours, theirs) = duplex(16);
        drop(theirs);
        let stop = run_over(ours, &[b'x'; 200_000][..], sink()).await.unwrap_err();
        let words = "closed by the server before all of the input was sent; 200000 bytes were not";
        assert_eq!(stop.to_string(), words);
    }

    #[tokio::test]
    async fn an_input_that_fails_is_named() {
        let (ours, _theirs) = duplex(64);
        let input = tokio_test_reader(io::ErrorKind::IsADirectory);
        let stop = run_over(ours, input, sink()).await.unwrap_err();
        assert_eq!(stop.to_string(), "standard input: is a directory");
    }

    /// A reader that fails at once.
    fn tokio_test_reader(kind: io::ErrorKind) -> impl AsyncRead + Unpin {
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
