//! The errors of an opening handshake.

use std::{fmt, io, time::Duration};

use echogate_proto::reason::{self, fill};
use http::{HeaderMap, StatusCode, header};
use thiserror::Error;
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};

use super::response::Response;
use crate::text::escape::{bytes, escape, first_line};

/// The most bytes of a rejection's body that are read for its first line, and the time limit.
const MAX_BODY: usize = 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of the first line that are shown.
const MAX_SHOWN: usize = 200;

/// The error of an opening handshake.
#[derive(Debug, Error)]
pub(crate) enum OpeningError {
    #[error(transparent)]
    Stream(#[from] io::Error),
    /// The other side, whose role is given, closed the connection before the end of its response.
    #[error("{}", fill(reason::CLOSED_IN_HANDSHAKE, &[&format_args!("the {}", .0)]))]
    Closed(&'static str),
    /// The response did not come in time.
    #[error("{}", reason::NO_HANDSHAKE_RESPONSE)]
    TimedOut,
    /// The response is not HTTP, or exceeds a limit.
    #[error("{0}")]
    NotHttp(&'static str),
    /// The response has the status 101 and violates RFC 6455.
    #[error("{0}")]
    InvalidUpgrade(String),
    /// The response has another status than 101.
    #[error(transparent)]
    Rejected(Box<Rejection>),
}

impl From<OpeningError> for io::Error {
    fn from(error: OpeningError) -> io::Error {
        let kind = match error {
            OpeningError::Stream(error) => return error,
            OpeningError::Closed(_) => io::ErrorKind::ConnectionAborted,
            OpeningError::TimedOut => io::ErrorKind::TimedOut,
            OpeningError::NotHttp(_) | OpeningError::InvalidUpgrade(_) => {
                io::ErrorKind::InvalidData
            }
            OpeningError::Rejected(_) => io::ErrorKind::Other,
        };
        io::Error::new(kind, error)
    }
}

/// A response with another status than 101.
#[derive(Debug, Error)]
pub(crate) struct Rejection {
    role: &'static str,
    pub(crate) status: StatusCode,
    /// The reason phrase; that of the status if the response has none.
    reason: String,
    /// The header fields, among them `Retry-After` and `WWW-Authenticate`.
    pub(crate) headers: HeaderMap,
    /// The first line of the body, escaped; empty if there is none or the body is HTML.
    line: String,
}

impl fmt::Display for Rejection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Rejection { role, status, reason, headers, line } = self;
        write!(f, "the {role} responded {}", status.as_u16())?;
        if !reason.is_empty() {
            write!(f, " {}", escape(reason))?;
        }
        if status.is_redirection()
            && let Some(location) = headers.get(header::LOCATION)
        {
            write!(f, " to {}", bytes(location.as_bytes()))?;
        }
        if line.is_empty() { Ok(()) } else { write!(f, ": {line}") }
    }
}

/// The error for `response`, of whose body `body` has been read.
pub(super) async fn rejection(
    role: &'static str,
    response: Response,
    body: Vec<u8>,
    stream: &mut (impl AsyncRead + Unpin),
) -> OpeningError {
    let line = body_line(&response, body, stream).await;
    let Response { status, reason, headers } = response;
    let reason = match reason.trim() {
        "" => status.canonical_reason().unwrap_or_default(),
        reason => reason,
    };
    let reason = reason.to_owned();
    OpeningError::Rejected(Rejection { role, status, reason, headers, line }.into())
}

/// The first line of the body, unless the body is HTML.
async fn body_line(
    response: &Response,
    mut body: Vec<u8>,
    stream: &mut (impl AsyncRead + Unpin),
) -> String {
    if response.text(header::CONTENT_TYPE).starts_with("text/html") {
        return String::new();
    }
    let chunked = response.text(header::TRANSFER_ENCODING).contains("chunked");
    let length = response.text(header::CONTENT_LENGTH).parse().unwrap_or(MAX_BODY);
    let missing = length.min(MAX_BODY).saturating_sub(body.len());
    timeout(BODY_TIMEOUT, stream.take(missing as u64).read_to_end(&mut body)).await.ok();
    body.truncate(MAX_BODY);
    let body = String::from_utf8_lossy(&body);
    // The first line of a chunk is its size.
    let body = if chunked { body.split_once('\n').map_or("", |(_, rest)| rest) } else { &body };
    first_line(body, MAX_SHOWN)
}
