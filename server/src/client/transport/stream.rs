//! Connections that are byte streams: TCP, TLS and Unix sockets.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{ByteStream, CHUNK, End, Received};

/// The sending half of a stream.
#[derive(Debug)]
pub(in crate::client) struct StreamSender(WriteHalf<Box<dyn ByteStream>>);

/// The receiving half of a stream.
#[derive(Debug)]
pub(in crate::client) struct StreamReceiver {
    half: ReadHalf<Box<dyn ByteStream>>,
    buffer: BytesMut,
}

/// Splits a connected stream.
pub(in crate::client) fn split(stream: Box<dyn ByteStream>) -> (StreamSender, StreamReceiver) {
    let (reader, writer) = tokio::io::split(stream);
    (StreamSender(writer), StreamReceiver { half: reader, buffer: BytesMut::new() })
}

impl StreamSender {
    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all(bytes).await?;
        self.0.flush().await
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.0.shutdown().await
    }
}

impl StreamReceiver {
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        let bytes = read_chunk(&mut self.half, &mut self.buffer, CHUNK).await?;
        if bytes.is_empty() {
            let description = "closed by the server".to_owned();
            return Ok(Received::End(End { description, may_read: true }));
        }
        Ok(Received::Bytes(bytes))
    }
}

/// Reads the next bytes of `source`, at most `limit`; none at its end. `buffer` provides the
/// memory, and is empty between calls.
pub(in crate::client) async fn read_chunk(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<Bytes> {
    buffer.reserve(limit);
    source.read_buf(&mut buffer.limit(limit)).await?;
    Ok(buffer.split().freeze())
}
