//! Connections that are streams of bytes: TCP, TLS and Unix sockets.

use std::io;

use bytes::{Bytes, BytesMut};
use echogate_proto::close::CloseCode;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use super::link::{CHUNK, End, Inbound, Outbound, Received};

/// The writing half of a stream.
#[derive(Debug)]
pub(super) struct StreamOutbound<W>(pub(super) W);

/// The reading half of a stream.
#[derive(Debug)]
pub(super) struct StreamInbound<R> {
    half: R,
    buffer: BytesMut,
}

impl<R> StreamInbound<R> {
    pub(super) fn new(half: R) -> Self {
        Self { half, buffer: BytesMut::new() }
    }
}

impl<W: AsyncWrite + Unpin> Outbound for StreamOutbound<W> {
    fn half_closes(&self) -> bool {
        true
    }

    async fn send_bytes(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.write_all(&bytes).await?;
        self.0.flush().await
    }

    /// Sends the line and a newline, as `nc` does.
    async fn send_line(&mut self, mut line: String) -> io::Result<()> {
        line.push('\n');
        self.0.write_all(line.as_bytes()).await?;
        self.0.flush().await
    }

    async fn finish(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }

    async fn abandon(&mut self, _: CloseCode) -> io::Result<()> {
        Ok(())
    }
}

impl<R: AsyncRead + Unpin> Inbound for StreamInbound<R> {
    async fn receive(&mut self) -> io::Result<Received> {
        let bytes = read_chunk(&mut self.half, &mut self.buffer, CHUNK).await?;
        if bytes.is_empty() {
            let words = "closed by the server".to_owned();
            return Ok(Received::End(End { words, may_read: true }));
        }
        Ok(Received::Bytes(bytes))
    }
}

/// The next bytes of `source`, at most `limit` of them; none at its end. `buffer` is
/// only memory to be used again, empty between calls.
pub(super) async fn read_chunk(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<Bytes> {
    use bytes::BufMut;

    buffer.reserve(limit);
    source.read_buf(&mut buffer.limit(limit)).await?;
    Ok(buffer.split().freeze())
}
