//! The head of a 101 response, in place of the one that hyper writes.
//!
//! hyper adds `close` to the `Connection` header if the client sent that token or the server is
//! shutting down, and some clients then do not recognise `Upgrade` (RFC 9110 section 7.8 lists no
//! other token). It writes header names in lower case or as `Sec-Websocket-Accept`, while some
//! embedded clients expect the spelling of RFC 6455. So [`Switching`] replaces hyper's head as it
//! is written to the stream.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::{Arc, OnceLock},
    task::{Context, Poll, ready},
};

use axum::http::{HeaderMap, header};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The first bytes of the head that hyper writes.
const STATUS_LINE: &[u8] = b"HTTP/1.1 101 ";

/// The head to write in place of hyper's next 101, once it is set. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct SwitchingHead(Arc<OnceLock<Vec<u8>>>);

impl SwitchingHead {
    /// Sets the head, from the headers of the 101 response that hyper is about to write as the last
    /// response on the connection. Only headers of the handshake are copied: axum adds
    /// `Content-Length`, which a 101 must not have.
    pub(crate) fn set(&self, headers: &HeaderMap) {
        let mut head = b"HTTP/1.1 101 Switching Protocols\r\n".to_vec();
        for (name, value) in headers {
            let name = match *name {
                header::UPGRADE => "Upgrade",
                header::CONNECTION => "Connection",
                header::SEC_WEBSOCKET_ACCEPT => "Sec-WebSocket-Accept",
                header::SEC_WEBSOCKET_PROTOCOL => "Sec-WebSocket-Protocol",
                _ => continue,
            };
            head.extend([name.as_bytes(), b": ", value.as_bytes(), b"\r\n"].concat());
        }
        head.extend(b"\r\n");
        self.0.set(head).ok();
    }
}

/// The stream of an HTTP/1.1 connection, on which the head of a 101 response is replaced by that
/// of a [`SwitchingHead`].
#[derive(Debug)]
pub(crate) struct Switching<S> {
    stream: S,
    head: SwitchingHead,
    /// The number of bytes of the head that are written.
    written: usize,
}

impl<S> Switching<S> {
    pub(crate) fn new(stream: S, head: SwitchingHead) -> Switching<S> {
        Switching { stream, head, written: 0 }
    }

    /// The inner stream, after the upgrade.
    pub(crate) fn into_inner(self) -> S {
        self.stream
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Switching<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Switching<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let Switching { stream, head: SwitchingHead(head), written } = &mut *self;
        let Some(head) = head.get() else { return Pin::new(stream).poll_write(cx, buf) };
        // hyper's head is the last thing that it writes, and is complete in its buffer; the rest of
        // the previous response may precede it.
        let is_status_line = |window: &[u8]| window == STATUS_LINE;
        match buf.windows(STATUS_LINE.len()).rposition(is_status_line) {
            Some(0) => {}
            Some(start) => return Pin::new(stream).poll_write(cx, &buf[..start]),
            None => return Pin::new(stream).poll_write(cx, buf),
        }
        while *written < head.len() {
            match ready!(Pin::new(&mut *stream).poll_write(cx, &head[*written..]))? {
                0 => return Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
                n => *written += n,
            }
        }
        Poll::Ready(Ok(buf.len()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.head.0.get().is_some() {
            let first = bufs.iter().find(|buf| !buf.is_empty());
            return self.poll_write(cx, first.map_or(&[], |buf| buf));
        }
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    #[tokio::test]
    async fn the_head_of_a_101_is_replaced_behind_the_rest_of_another_response() {
        for pipe in [1, 7, 1024] {
            let (stream, mut client) = tokio::io::duplex(pipe);
            let head = SwitchingHead::default();
            let mut switching = Switching::new(stream, head.clone());
            let client = tokio::spawn(async move {
                let mut read = Vec::new();
                client.read_to_end(&mut read).await.unwrap();
                read
            });
            switching.write_all(b"HTTP/1.1 101 in a body").await.unwrap();
            let mut headers = HeaderMap::new();
            headers.insert(header::SEC_WEBSOCKET_ACCEPT, HeaderValue::from_static("x"));
            headers.insert(header::CONNECTION, HeaderValue::from_static("Upgrade"));
            head.set(&headers);
            let hypers = b"the end of itHTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade, close\r\n\r\n";
            switching.write_all(hypers).await.unwrap();
            switching.into_inner().shutdown().await.unwrap();
            let expected = "HTTP/1.1 101 in a bodythe end of it\
                HTTP/1.1 101 Switching Protocols\r\nSec-WebSocket-Accept: x\r\nConnection: Upgrade\r\n\r\n";
            assert_eq!(String::from_utf8(client.await.unwrap()).unwrap(), expected, "{pipe}");
        }
    }
}
