//! The answer to a plain HTTP request on an HTTPS port: a redirection to the same URL with `https`,
//! or a refusal that names it.

use std::{io, time::Duration};

use axum::http::StatusCode;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

use echogate_event_loop::StreamSocket;

use crate::net::authority::Authority;

/// The time limit for the client to read the answer and close the connection.
const LINGER: Duration = Duration::from_secs(2);

/// The largest head of a request, in bytes, whose URL the answer names.
const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of such a request.
const MAX_HEADERS: usize = 64;

/// A request, as far as the answer depends on it.
#[derive(Debug, Default, PartialEq, Eq)]
struct PlainRequest {
    /// The method is GET or HEAD, and the request is no WebSocket handshake.
    may_be_redirected: bool,
    is_head: bool,
    /// The URL over TLS; none if the request is incomplete or malformed.
    url: Option<String>,
}

/// Whether the client's first byte, which stays in the stream, begins an HTTP request: a method
/// begins with a letter, a TLS record with its content type 22.
pub(super) async fn is_request(stream: &StreamSocket) -> io::Result<bool> {
    let StreamSocket::Tcp(stream) = stream else { return Ok(false) };
    let mut first = [0];
    Ok(stream.peek(&mut first).await? == 1 && first[0].is_ascii_alphabetic())
}

/// Answers a request and closes the connection. A GET request is redirected if `redirects` is set;
/// other requests are refused with 400. Returns the status.
///
/// The rest of the request is read and discarded: closing a socket with unread data sends a reset,
/// which could destroy the answer.
pub(super) async fn answer(mut stream: StreamSocket, redirects: bool) -> io::Result<StatusCode> {
    let request = PlainRequest::read(&mut stream).await?;
    let (status, answer) = request.answer(redirects);
    let exchange = async {
        stream.write_all(answer.as_bytes()).await?;
        stream.shutdown().await?;
        let mut discarded = [0; 4096];
        while stream.read(&mut discarded).await? > 0 {}
        Ok(status)
    };
    timeout(LINGER, exchange).await.unwrap_or(Ok(status))
}

impl PlainRequest {
    async fn read(stream: &mut StreamSocket) -> io::Result<PlainRequest> {
        let mut head = Vec::with_capacity(1024);
        loop {
            let is_end = stream.read_buf(&mut head).await? == 0;
            match PlainRequest::parse(&head) {
                Some(request) => return Ok(request),
                None if is_end || head.len() > MAX_HEAD => return Ok(PlainRequest::default()),
                None => {}
            }
        }
    }

    /// Parses the head of a request; None if it is incomplete.
    fn parse(head: &[u8]) -> Option<PlainRequest> {
        let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
        let mut request = httparse::Request::new(&mut headers);
        match request.parse(head) {
            Ok(httparse::Status::Partial) => return None,
            Ok(httparse::Status::Complete(_)) => {}
            Err(_) => return Some(PlainRequest::default()),
        }
        let has = |header: &httparse::Header<'_>, name| header.name.eq_ignore_ascii_case(name);
        let is_handshake = request.headers.iter().any(|h| has(h, "sec-websocket-key"));
        let mut hosts = request.headers.iter().filter(|h| has(h, "host")).map(|h| h.value);
        let host = match (hosts.next(), hosts.next()) {
            (Some(host), None) => std::str::from_utf8(host).ok().and_then(Authority::parse),
            _ => None,
        };
        let scheme = if is_handshake { "wss" } else { "https" };
        let path = request.path.filter(|path| {
            path.starts_with('/') && path.bytes().all(|byte| byte.is_ascii_graphic())
        });
        Some(PlainRequest {
            may_be_redirected: matches!(request.method, Some("GET" | "HEAD")) && !is_handshake,
            is_head: request.method == Some("HEAD"),
            url: host.zip(path).map(|(host, path)| format!("{scheme}://{host}{path}")),
        })
    }

    /// The answer and its status.
    fn answer(&self, redirects: bool) -> (StatusCode, String) {
        let body = match &self.url {
            Some(url) => format!("this port speaks TLS: use {url}\n"),
            None => "this port speaks TLS: use https:// or wss:// with it, not http:// or ws://\n"
                .to_owned(),
        };
        let (status, location) = match &self.url {
            // Not to be stored: browsers would keep it after the server is without TLS again.
            Some(url) if redirects && self.may_be_redirected => (
                StatusCode::PERMANENT_REDIRECT,
                format!("Location: {url}\r\nCache-Control: no-store\r\n"),
            ),
            _ => (StatusCode::BAD_REQUEST, String::new()),
        };
        let answer = format!(
            "HTTP/1.1 {status}\r\n{location}Content-Type: text/plain; charset=utf-8\r\n\
             Content-Length: {}\r\nConnection: close\r\n\r\n{}",
            body.len(),
            if self.is_head { "" } else { &body }
        );
        (status, answer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_url_over_tls_is_that_of_a_well_formed_request_alone() {
        for (head, url) in [
            (
                "GET /x?y HTTP/1.1\r\nHost: Gate.Example:8443\r\n\r\n",
                Some("https://gate.example:8443/x?y"),
            ),
            ("GET / HTTP/1.1\r\nhost: [::1]\r\n\r\n", Some("https://[::1]/")),
            ("GET / HTTP/1.1\r\nHost: h\r\nSec-WebSocket-Key: x\r\n\r\n", Some("wss://h/")),
            ("GET //evil/ HTTP/1.1\r\nHost: h\r\n\r\n", Some("https://h//evil/")),
            ("GET / HTTP/1.1\r\nHost: a b\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: a/b\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: user@a\r\n\r\n", None),
            ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", None),
            ("GET http://h/ HTTP/1.1\r\nHost: h\r\n\r\n", None),
            ("GET / HTTP/1.1\r\n\r\n", None),
            ("nonsense\r\n\r\n", None),
        ] {
            let request = PlainRequest::parse(head.as_bytes()).unwrap();
            assert_eq!(request.url.as_deref(), url, "{head}");
            let is_redirected = request.answer(true).0 == StatusCode::PERMANENT_REDIRECT;
            assert_eq!(is_redirected, url.is_some_and(|url| url.starts_with("https")), "{head}");
            assert_eq!(request.answer(false).0, StatusCode::BAD_REQUEST);
        }
        assert_eq!(PlainRequest::parse(b"GET / HTTP/1.1\r\nHost: h\r\n"), None);
    }
}
