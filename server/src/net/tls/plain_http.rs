//! The answer to a plain HTTP request on an HTTPS port.

use std::{io, time::Duration};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use echogate_event_loop::StreamSocket;

/// The time limit for the client to read the answer and close the connection.
const LINGER: Duration = Duration::from_secs(2);

/// The body of the answer.
const REASON: &str = "this port speaks TLS: use https:// or wss:// with it, not http:// or ws://\n";

/// Whether the client's first byte, which stays in the stream, begins an HTTP request: a method
/// begins with a letter, a TLS record with its content type 22.
pub(super) async fn is_request(stream: &StreamSocket) -> io::Result<bool> {
    let StreamSocket::Tcp(stream) = stream else { return Ok(false) };
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Answers 400 and closes the connection. The request is read and discarded: closing a socket with
/// unread data sends a reset, which could destroy the answer.
pub(super) async fn reject(mut stream: StreamSocket) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 400 Bad Request\r\nContent-Type: text/plain; charset=utf-8\r\n\
         Content-Length: {}\r\nConnection: close\r\n\r\n{REASON}",
        REASON.len()
    );
    let exchange = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        while stream.read(&mut discarded).await? > 0 {}
        Ok(())
    };
    timeout(LINGER, exchange).await.unwrap_or(Ok(()))
}
