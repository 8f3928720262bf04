//! The errors of an opening handshake.

use std::{fmt, io};

use echogate_proto::reason::{self, fill};
use http::{HeaderMap, StatusCode, header};
use thiserror::Error;

use crate::text::escape::{bytes, escape};

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
    pub(super) role: &'static str,
    pub(crate) status: StatusCode,
    /// The reason phrase; that of the status if the response has none.
    pub(super) reason: String,
    /// The header fields, among them `Retry-After` and `WWW-Authenticate`.
    pub(crate) headers: HeaderMap,
    /// The first line of the body, escaped; empty if there is none or the body is HTML.
    pub(super) line: String,
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
