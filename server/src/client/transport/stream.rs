//! Connections that are byte streams: TCP, TLS and Unix sockets.

use std::io;

use bytes::{BufMut, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf};

use super::{ByteStream, CHUNK, End, PeerRole, Received};
use crate::net::stream::ResetGuard;

/// The sending half of a stream.
#[derive(Debug)]
pub(in crate::client) struct StreamSender {
    half: WriteHalf<Box<dyn ByteStream>>,
    /// The last byte sent, if line ends are to be CR LF.
    crlf: Option<u8>,
    /// The guard that resets the connection unless the session has ended regularly.
    guard: Option<ResetGuard>,
}

/// The receiving half of a stream.
#[derive(Debug)]
pub(in crate::client) struct StreamReceiver {
    half: ReadHalf<Box<dyn ByteStream>>,
    buffer: BytesMut,
    peer_role: PeerRole,
}

/// Splits a connected stream.
pub(in crate::client) fn split(
    stream: Box<dyn ByteStream>,
    peer_role: PeerRole,
) -> (StreamSender, StreamReceiver) {
    let (reader, writer) = tokio::io::split(stream);
    let receiver = StreamReceiver { half: reader, buffer: BytesMut::new(), peer_role };
    (StreamSender { half: writer, crlf: None, guard: None }, receiver)
}

impl StreamSender {
    /// Ends lines with CR LF if `crlf` is set.
    pub(super) fn with_crlf(self, crlf: bool) -> StreamSender {
        StreamSender { crlf: crlf.then_some(0), ..self }
    }

    pub(super) fn with_guard(self, guard: Option<ResetGuard>) -> StreamSender {
        StreamSender { guard, ..self }
    }

    pub(super) async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.crlf {
            Some(last) => self.half.write_all(&with_crlf(bytes, last)).await?,
            None => self.half.write_all(bytes).await?,
        }
        self.half.flush().await
    }

    pub(super) async fn shutdown(&mut self) -> io::Result<()> {
        self.half.shutdown().await?;
        self.set_complete();
        Ok(())
    }

    /// With a guard, waits until all that was sent is delivered, and leaves the connection to be
    /// reset when it is dropped.
    pub(super) async fn abandon(&mut self) -> io::Result<()> {
        match self.guard.take() {
            Some(guard) => guard.delivered().await,
            None => Ok(()),
        }
    }

    pub(super) fn set_complete(&mut self) {
        if let Some(guard) = self.guard.take() {
            guard.release();
        }
    }
}

/// `bytes` with a CR before each LF that lacks one. `last` is the byte before `bytes`.
fn with_crlf(bytes: &[u8], last: &mut u8) -> Vec<u8> {
    let mut converted = Vec::with_capacity(bytes.len() + bytes.len() / 16);
    for &byte in bytes {
        if byte == b'\n' && *last != b'\r' {
            converted.push(b'\r');
        }
        converted.push(byte);
        *last = byte;
    }
    converted
}

impl StreamReceiver {
    pub(super) async fn receive(&mut self) -> io::Result<Received> {
        let bytes = read_chunk(&mut self.half, &mut self.buffer, CHUNK).await?;
        if bytes.is_empty() {
            let description = format!("closed by the {}", self.peer_role);
            return Ok(Received::End(End { description, may_read: true }));
        }
        Ok(Received::Bytes(bytes))
    }
}

/// Reads the next bytes of `source`, at most `limit`. The result is empty at the end of `source`.
/// `buffer` provides the memory, and is empty between calls.
pub(in crate::client) async fn read_chunk(
    source: &mut (impl AsyncRead + Unpin),
    buffer: &mut BytesMut,
    limit: usize,
) -> io::Result<Bytes> {
    buffer.reserve(limit);
    source.read_buf(&mut buffer.limit(limit)).await?;
    Ok(buffer.split().freeze())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_end_gets_its_cr_once_also_across_pieces() {
        let mut last = 0;
        let pieces = [&b"a\nb\r"[..], b"\n\n", b"c\r\n\r"];
        let converted: Vec<u8> =
            pieces.iter().flat_map(|piece| with_crlf(piece, &mut last)).collect();
        assert_eq!(converted, b"a\r\nb\r\n\r\nc\r\n\r");
    }
}
