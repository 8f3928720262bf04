//! Pipe mode: bytes in, bytes out, and nothing else.

use std::{io, time::Duration};

use bytes::BytesMut;
use tokio::{
    io::{AsyncRead, AsyncWrite, AsyncWriteExt},
    time::timeout,
};

use super::{
    link::{Inbound, Outbound, Received, Stop, both},
    stream::read_chunk,
};

/// How long a goodbye may take when there is nothing more to wait for.
const GOODBYE_TIME: Duration = Duration::from_secs(1);

/// Sends all of `input` and writes to `output` what comes, until the peer is done.
/// At the end of the input it says so to the peer and goes on reading. Holds one
/// chunk in each direction: who does not read is not read from.
pub(super) async fn run(
    input: impl AsyncRead + Unpin,
    output: impl AsyncWrite + Unpin,
    mut outbound: impl Outbound,
    inbound: impl Inbound,
) -> Result<(), Stop> {
    let ended = both(upload(input, &mut outbound), download(inbound, output)).await;
    if let Err(stop) = &ended
        && let Some(code) = stop.goodbye()
    {
        timeout(GOODBYE_TIME, outbound.abandon(code)).await.ok();
    }
    match ended {
        // Who reads our output has seen enough.
        Err(Stop::Output(error)) if error.kind() == io::ErrorKind::BrokenPipe => Ok(()),
        ended => ended,
    }
}

async fn upload(
    mut input: impl AsyncRead + Unpin,
    outbound: &mut impl Outbound,
) -> Result<(), Stop> {
    let mut buffer = BytesMut::new();
    loop {
        let bytes = read_chunk(&mut input, &mut buffer).await.map_err(Stop::Input)?;
        if bytes.is_empty() {
            return outbound.finish().await.map_err(Stop::Connection);
        }
        outbound.send_bytes(bytes).await.map_err(Stop::Connection)?;
    }
}

async fn download(
    mut inbound: impl Inbound,
    mut output: impl AsyncWrite + Unpin,
) -> Result<(), Stop> {
    loop {
        match inbound.receive().await.map_err(Stop::Connection)? {
            Received::Bytes(bytes) | Received::Message(bytes) => {
                output.write_all(&bytes).await.map_err(Stop::Output)?;
                output.flush().await.map_err(Stop::Output)?;
            }
            Received::End(_) => return Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, DuplexStream, duplex, empty, sink, split};

    use super::{super::stream::*, *};

    async fn run_over(
        stream: DuplexStream,
        input: impl AsyncRead + Unpin,
        output: impl AsyncWrite + Unpin,
    ) -> Result<(), Stop> {
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
    async fn a_closed_output_is_a_success() {
        let (ours, mut theirs) = duplex(64);
        let (output, reader) = duplex(1);
        drop(reader);
        theirs.write_all(b"unheard").await.unwrap();
        run_over(ours, empty(), output).await.unwrap();
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
