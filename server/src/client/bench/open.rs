//! From an endpoint to a connection that frames or bytes can be written on as they are.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::{datagram::Datagrams, dial, handshake, target::Target};
use crate::stream::Stream;

/// A connection that has been made.
pub(super) enum Opened {
    /// A stream, and what has come on it together with the handshake's answer.
    Stream(Stream, Vec<u8>),
    Datagrams(Datagrams),
}

/// Connects.
pub(super) async fn open(target: &Target) -> io::Result<Opened> {
    match target {
        Target::Tcp(_) | Target::Tls(..) | Target::Unix(_) => {
            Ok(Opened::Stream(dial::stream(target).await?.0, Vec::new()))
        }
        Target::Udp(_) | Target::UnixGram(_) => {
            Ok(Opened::Datagrams(dial::datagrams(target).await?.0))
        }
        Target::WebSocket(upgrade) => {
            let (stream, _) = dial::host(&upgrade.at, upgrade.trust.as_ref()).await?;
            let mut stream = Remembering { stream, read: Vec::new() };
            if let Err(error) = handshake::open(&mut stream, upgrade).await.map(drop) {
                return Err(handshake::refusal(error, &mut stream).await);
            }
            let early = stream.behind_the_head();
            Ok(Opened::Stream(stream.stream, early))
        }
    }
}

/// A stream that keeps what is read from it: the handshake may read more than its
/// answer.
struct Remembering<S> {
    stream: S,
    read: Vec<u8>,
}

impl<S> Remembering<S> {
    /// What was read behind the head of an HTTP answer.
    fn behind_the_head(&mut self) -> Vec<u8> {
        let end = self.read.windows(4).position(|four| four == b"\r\n\r\n");
        self.read.split_off(end.map_or(self.read.len(), |end| end + 4))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Remembering<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        self.read.extend_from_slice(&buf.filled()[before..]);
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Remembering<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
