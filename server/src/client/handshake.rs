//! The WebSocket handshake: what is asked, and why it was refused.

use std::{io, time::Duration};

use http::{HeaderMap, HeaderValue, Request, Response, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite},
    time::timeout,
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        client::IntoClientRequest,
        error::{CapacityError, Error, ProtocolError, SubProtocolError},
        protocol::WebSocketConfig,
    },
};

use super::{
    escape::{escape, first_line, words},
    link::CHUNK,
    target::Upgrade,
};

/// How long the handshake may take: a gateway may have to dial first.
const HANDSHAKE_TIME: Duration = Duration::from_secs(30);

/// The largest message that is taken or sent, 16 MiB: it is held in memory whole.
const MAX_MESSAGE: usize = 16 << 20;

/// How much of a refusal's body is looked at for its first line, in bytes, and how
/// long that may take.
const MAX_REFUSAL: u64 = 1024;
const REFUSAL_TIME: Duration = Duration::from_secs(1);

/// The most characters of a refusal's first line that are shown.
const MAX_SHOWN: usize = 200;

/// Turns `stream` into a WebSocket, and says which subprotocol was agreed on. The stream
/// stays the caller's, since a refusal is read from it by [`refusal`].
pub(super) async fn open<'a, S>(
    stream: &'a mut S,
    upgrade: &Upgrade,
) -> Result<(WebSocketStream<&'a mut S>, Option<HeaderValue>), Error>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let limits = WebSocketConfig::default()
        .read_buffer_size(CHUNK)
        .write_buffer_size(CHUNK)
        .max_write_buffer_size(MAX_MESSAGE + 2 * CHUNK)
        .max_message_size(Some(MAX_MESSAGE))
        .max_frame_size(Some(MAX_MESSAGE));
    let opening = client_async_with_config(request(upgrade)?, stream, Some(limits));
    match timeout(HANDSHAKE_TIME, opening).await {
        Ok(answer) => answer.map(|(socket, response)| {
            (socket, response.headers().get(header::SEC_WEBSOCKET_PROTOCOL).cloned())
        }),
        Err(_) => {
            let silence = "no answer to the WebSocket handshake";
            Err(io::Error::new(io::ErrorKind::TimedOut, silence).into())
        }
    }
}

fn request(upgrade: &Upgrade) -> Result<Request<()>, Error> {
    let Upgrade { at, path, headers, trust, .. } = upgrade;
    let mut request = format!("ws://{at}{path}").into_client_request()?;
    // The default port is left out, as browsers do and `Host` checks expect.
    let default_port = if trust.is_some() { ":443" } else { ":80" };
    if let Some(host) = at.to_string().strip_suffix(default_port) {
        request.headers_mut().insert(header::HOST, HeaderValue::from_str(host)?);
    }
    // A header of the user's own replaces the one that would be sent.
    let own = request.headers_mut();
    for name in headers.keys() {
        own.remove(name);
    }
    for (name, value) in headers {
        own.append(name, value.clone());
    }
    Ok(request)
}

/// Why [`open`] failed, in words. What the server says beside its status is still
/// to be read from `stream`.
pub(super) async fn refusal(error: Error, stream: &mut (impl AsyncRead + Unpin)) -> io::Error {
    let Error::Http(response) = error else { return io_error(error) };
    let (parts, start) = response.into_parts();
    let status = parts.status;
    let mut answer = format!("the server answered {status}");
    if let Some(place) = parts.headers.get(header::LOCATION).filter(|_| status.is_redirection()) {
        answer += &format!(" to {}", escape(&String::from_utf8_lossy(place.as_bytes())));
    }
    let response = Response::from_parts(parts, start.unwrap_or_default());
    let line = body_line(response, stream).await;
    if !line.is_empty() {
        answer += &format!(": {line}");
    }
    io::Error::other(answer)
}

/// The first line of a refusal's body, if it is meant for people.
async fn body_line(response: Response<Vec<u8>>, stream: &mut (impl AsyncRead + Unpin)) -> String {
    let header = |name| response.headers().get(name).map_or("", |v| v.to_str().unwrap_or(""));
    if header(header::CONTENT_TYPE).starts_with("text/html") {
        return String::new();
    }
    let chunked = header(header::TRANSFER_ENCODING).contains("chunked");
    let length = content_length(response.headers()).unwrap_or(MAX_REFUSAL).min(MAX_REFUSAL);
    let mut body = response.into_body();
    let missing = length.saturating_sub(body.len() as u64);
    timeout(REFUSAL_TIME, stream.take(missing).read_to_end(&mut body)).await.ok();
    body.truncate(MAX_REFUSAL as usize);
    let body = String::from_utf8_lossy(&body);
    // A chunk begins with a line that holds its size.
    let body = if chunked { body.split_once('\n').map_or("", |(_, rest)| rest) } else { &body };
    first_line(body, MAX_SHOWN)
}

fn content_length(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

/// An error of the WebSocket library as one of the system's kind, in words.
pub(super) fn io_error(error: Error) -> io::Error {
    use io::ErrorKind::{ConnectionAborted, FileTooLarge, InvalidData};

    match error {
        Error::Io(error) => error,
        Error::Protocol(ProtocolError::HandshakeIncomplete) => io::Error::new(
            ConnectionAborted,
            "the server closed the connection during the WebSocket handshake",
        ),
        Error::Protocol(ProtocolError::SecWebSocketSubProtocolError(
            SubProtocolError::NoSubProtocol,
        )) => io::Error::new(InvalidData, "the server speaks no subprotocol that was offered"),
        Error::Protocol(ProtocolError::HttparseError(_)) => {
            io::Error::new(InvalidData, "what the server answered is not HTTP")
        }
        Error::Capacity(CapacityError::MessageTooLong { size, max_size }) => io::Error::new(
            FileTooLarge,
            format!("a message of {size} bytes where {max_size} is the most that is taken"),
        ),
        error => {
            let text = words(&io::Error::other(error.to_string()));
            io::Error::new(InvalidData, first_line(&text, MAX_SHOWN))
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncWriteExt, duplex};

    use super::*;

    fn upgrade(url: &str, headers: HeaderMap) -> Upgrade {
        let (at, path) = url.split_once('/').unwrap();
        let (at, path) = (at.parse().unwrap(), format!("/{path}"));
        Upgrade { at, path, headers, trust: None, half_close: false }
    }

    /// What is said of a server that answers `answer` to the handshake.
    async fn said_of(answer: &[u8]) -> String {
        let (mut ours, mut theirs) = duplex(4096);
        theirs.write_all(answer).await.unwrap();
        theirs.shutdown().await.unwrap();
        let opened = open(&mut ours, &upgrade("h:1/x", HeaderMap::new())).await;
        let error = opened.err().unwrap();
        refusal(error, &mut ours).await.to_string()
    }

    #[test]
    fn the_host_header_names_the_port_unless_it_is_the_default() {
        let host =
            |url| request(&upgrade(url, HeaderMap::new())).unwrap().headers()["host"].clone();
        assert_eq!(host("localhost:8080/ws"), "localhost:8080");
        assert_eq!(host("localhost:80/ws"), "localhost");
        assert_eq!(host("[::1]:80/ws"), "[::1]");
    }

    #[test]
    fn headers_of_ones_own_are_added_and_replace_what_would_be_sent() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("host", HeaderValue::from_static("other"));
        let request = request(&upgrade("h:1/x", headers)).unwrap();
        assert_eq!(request.headers().get_all("x-a").iter().collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(request.headers().get_all("host").iter().collect::<Vec<_>>(), ["other"]);
    }

    #[tokio::test]
    async fn a_refusal_is_named_with_its_status_and_its_first_line() {
        let not_found =
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\nno route\x1b[2J\nmore";
        assert_eq!(said_of(not_found).await, "the server answered 404 Not Found: no route\\x1b[2J");
        let html = b"HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>";
        assert_eq!(said_of(html).await, "the server answered 502 Bad Gateway");
        let chunked =
            b"HTTP/1.1 503 Service Unavailable\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n";
        assert_eq!(said_of(chunked).await, "the server answered 503 Service Unavailable: busy");
        let moved =
            b"HTTP/1.1 301 Moved Permanently\r\nLocation: wss://h/\r\nContent-Length: 0\r\n\r\n";
        assert_eq!(said_of(moved).await, "the server answered 301 Moved Permanently to wss://h/");
    }

    #[tokio::test]
    async fn what_is_no_handshake_at_all_is_said_in_words() {
        assert_eq!(said_of(b"GET /X HTTP/1.1\r\n").await, "what the server answered is not HTTP");
        assert_eq!(
            said_of(b"").await,
            "the server closed the connection during the WebSocket handshake"
        );
        assert_eq!(
            said_of(b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await,
            "WebSocket protocol error: No \"Upgrade: websocket\" header"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_answer_is_given_up() {
        let (mut ours, _theirs) = duplex(4096);
        let opened = open(&mut ours, &upgrade("h:1/x", HeaderMap::new())).await;
        let error = io_error(opened.err().unwrap());
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
