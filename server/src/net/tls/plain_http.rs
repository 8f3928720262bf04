//! The answer to a client that speaks plain HTTP on a port where HTTPS is served.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use echogate_event_loop::StreamSocket;

/// How long the client may take to read the answer and to end its side.
const LINGER: Duration = Duration::from_secs(2);

/// What the client is told.
const REASON: &str = "this port speaks TLS: use https:// or wss:// with it, not http:// or ws://\n";

/// Whether the client's first byte begins an HTTP request. It is not taken from the stream. (A TLS
/// record begins with 22, its content type; a method with a letter.)
pub(super) async fn comes_on(stream: &StreamSocket) -> io::Result<bool> {
    let StreamSocket::Tcp(stream) = stream else { return Ok(false) };
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Answers 400 and ends the connection. The request is read and thrown away: left unread, it would
/// make the end a reset, which could destroy the answer.
pub(super) async fn refuse(mut stream: StreamSocket) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{REASON}",
        REASON.len()
    );
    let goodbye = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut sink = [0; 4096];
        while stream.read(&mut sink).await? > 0 {}
        Ok(())
    };
    timeout(LINGER, goodbye).await.unwrap_or(Ok(()))
}
