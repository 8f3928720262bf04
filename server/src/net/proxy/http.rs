//! A connection through an HTTP proxy, by CONNECT (RFC 9110 section 9.3.6).

use std::io;

use echogate_proto::{
    endpoint::{Credentials, HostPort},
    reason::{self, fill},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
};

use super::ProxyFailure;
use crate::{net::request_header::basic, text::escape::bytes};

/// The largest response head, in bytes.
const MAX_HEAD: usize = 16 * 1024;

/// The most header fields of a response.
const MAX_HEADERS: usize = 64;

/// Asks the proxy at the other end of `stream` to connect to a host. No byte after the response head
/// is read from the stream, because a server that speaks first may have sent it.
pub(super) async fn connect(
    mut stream: TcpStream,
    at: &HostPort,
    credentials: Option<&Credentials>,
) -> Result<TcpStream, ProxyFailure> {
    stream.write_all(request(at, credentials).as_bytes()).await?;
    let mut head = Vec::new();
    let mut peeked = [0; 2048];
    while head.len() < MAX_HEAD {
        let len = match stream.peek(&mut peeked).await? {
            0 => return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into()),
            len => len,
        };
        let before = head.len();
        head.extend(&peeked[..len]);
        let response = parse(&head)?;
        // The part of the head that was only peeked at.
        let read = response.as_ref().map_or(len, |response| response.len - before);
        stream.read_exact(&mut peeked[..read]).await?;
        if let Some(response) = response {
            return response.accepted(credentials.is_some()).map(|()| stream);
        }
    }
    Err(ProxyFailure::Refused(reason::PROXY_LONG_HEAD.to_owned()))
}

fn request(at: &HostPort, credentials: Option<&Credentials>) -> String {
    let at = HostPort { host: at.without_zone().to_owned(), port: at.port };
    let authorization = credentials.map_or(String::new(), |credentials| {
        format!("Proxy-Authorization: {}\r\n", basic(credentials))
    });
    format!("CONNECT {at} HTTP/1.1\r\nHost: {at}\r\n{authorization}\r\n")
}

struct Response {
    status: u16,
    phrase: String,
    /// The length of the head, in bytes.
    len: usize,
}

/// Parses the response head at the start of `head`; None if it is incomplete.
fn parse(head: &[u8]) -> Result<Option<Response>, ProxyFailure> {
    let invalid = || ProxyFailure::Refused(reason::PROXY_NOT_HTTP.to_owned());
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    match response.parse(head).map_err(|_| invalid())? {
        httparse::Status::Partial => Ok(None),
        httparse::Status::Complete(len) => {
            let status = response.code.ok_or_else(invalid)?;
            let phrase = bytes(response.reason.unwrap_or_default().trim().as_bytes());
            Ok(Some(Response { status, phrase, len }))
        }
    }
}

impl Response {
    /// Whether the proxy has connected to the host.
    fn accepted(self, with_credentials: bool) -> Result<(), ProxyFailure> {
        let Response { status, phrase, .. } = self;
        let template = match status {
            200..300 => return Ok(()),
            401 | 407 if with_credentials => reason::PROXY_STATUS_WRONG_PASSWORD,
            401 | 407 => reason::PROXY_STATUS_NO_PASSWORD,
            _ => "{0}",
        };
        let text = format!("{status} {phrase}");
        Err(ProxyFailure::Refused(fill(template, &[text.trim_end()])))
    }
}
