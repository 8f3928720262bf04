//! Pipe mode: bytes in, bytes out, and nothing else.

use bytes::BytesMut;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};

use super::{
    call::Conversation,
    link::{Inbound, Outbound, Received, Stop, both, goodbye},
    stream::read_chunk,
};

/// Bytes in, bytes out.
#[derive(Debug)]
pub(super) struct Pipe;

impl Conversation for Pipe {
    async fn hold(
        &mut self,
        outbound: impl Outbound,
        inbound: impl Inbound,
        _: &str,
    ) -> Result<String, Stop> {
        run(tokio::io::stdin(), tokio::io::stdout(), outbound, inbound).await
    }
}

/// Sends all of `input` and writes to `output` what comes, until the peer is done.
/// At the end of the input it says so to the peer and goes on reading. Holds one
/// chunk in each direction: who does not read is not read from. Where messages are
/// sent, each read of the input is one.
async fn run(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    mut outbound: impl Outbound,
    inbound: impl Inbound,
) -> Result<String, Stop> {
    let ended = both(upload(input, &mut outbound), download(inbound, output)).await;
    goodbye(&mut outbound, ended.as_ref().err()).await;
    ended
}

async fn upload(
    mut input: impl AsyncRead + Unpin,
    outbound: &mut impl Outbound,
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    loop {
        outbound.room().await;
        let bytes = read_chunk(&mut input, &mut buffer, outbound.largest()).await;
        let bytes = bytes.map_err(Stop::Input)?;
        if bytes.is_empty() {
            return outbound.finish().await.map_err(Stop::Connection);
        }
        outbound.send_bytes(bytes).await.map_err(Stop::Connection)?;
    }
}

async fn download(
    mut inbound: impl Inbound,
    mut output: impl AsyncWrite + Unpin,
) -> Result<String, Stop> {
    loop {
        match inbound.receive().await.map_err(Stop::Connection)? {
            Received::Bytes(bytes) | Received::Message(bytes) => {
                output.write_all(&bytes).await.map_err(Stop::Output)?;
                output.flush().await.map_err(Stop::Output)?;
            }
            Received::End(words) => return Ok(words),
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
        run(input, output, StreamOutbound(writer), StreamInbound::new(reader)).await
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

    #[tokio::test]
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
