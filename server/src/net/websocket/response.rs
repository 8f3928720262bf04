//! The response to an opening handshake.

use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

use super::{Opening, OpeningError, Rejection, request::capitals};
use crate::text::escape::{escape, first_line};

/// The largest response head, in bytes, interim responses included.
pub(super) const MAX_HEAD: usize = 64 * 1024;

/// The most header fields of a response.
const MAX_HEADERS: usize = 128;

/// The most bytes of a rejection's body that are read for its first line, and the time limit.
const MAX_BODY: usize = 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of the first line that are shown.
const MAX_SHOWN: usize = 200;

#[derive(Debug)]
pub(super) struct Response {
    pub(super) status: StatusCode,
    pub(super) reason: String,
    pub(super) headers: HeaderMap,
}

/// Reads the response head into `head`, and returns it with the bytes read after it. Interim
/// responses (1xx except 101, RFC 9110 section 15.2) are skipped.
pub(super) async fn read(
    stream: &mut (impl AsyncRead + Unpin),
    role: &'static str,
    head: &mut Vec<u8>,
) -> Result<(Response, Vec<u8>), OpeningError> {
    let mut read = 0;
    loop {
        while let Some((response, len)) = parse(head)? {
            let rest = head.split_off(len);
            let status = response.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, rest));
            }
            *head = rest;
        }
        if read > MAX_HEAD {
            return Err(OpeningError::NotHttp(
                "the head of the response to the WebSocket handshake exceeds 64 KiB",
            ));
        }
        head.reserve(4096);
        match stream.read_buf(head).await? {
            0 => return Err(OpeningError::Closed(role)),
            more => read += more,
        }
    }
}

/// Parses the response head at the start of `bytes`: the head and its length, or none if it is
/// incomplete.
fn parse(bytes: &[u8]) -> Result<Option<(Response, usize)>, OpeningError> {
    let not_http = || match bytes {
        // A TLS record of the type alert.
        [0x15, 3, ..] => {
            OpeningError::NotHttp("the response is TLS, not HTTP: use wss:// instead of ws://")
        }
        _ => OpeningError::NotHttp("the response is not HTTP"),
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(OpeningError::NotHttp(
                "the response to the WebSocket handshake has over 128 headers",
            ));
        }
        Err(_) => return Err(not_http()),
    };
    let status = response.code.and_then(|code| StatusCode::from_u16(code).ok());
    let status = status.ok_or_else(not_http)?;
    let reason = response.reason.unwrap_or_default().to_owned();
    let mut headers = HeaderMap::new();
    for httparse::Header { name, value } in response.headers {
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| not_http())?;
        headers.append(name, HeaderValue::from_bytes(value).map_err(|_| not_http())?);
    }
    Ok(Some((Response { status, reason, headers }, len)))
}

impl Response {
    /// The subprotocol that a 101 response selects.
    ///
    /// # Errors
    ///
    /// The response is no valid answer to the request.
    pub(super) fn selected_protocol(
        &self,
        opening: &Opening<'_>,
        key: &str,
    ) -> Result<Option<String>, OpeningError> {
        let role = opening.role;
        let invalid = |reason: String| Err(OpeningError::InvalidUpgrade(reason));
        for (name, token) in [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")] {
            if !self.tokens(&name).iter().any(|given| given.eq_ignore_ascii_case(token)) {
                let header = capitals(&name);
                return invalid(format!("the 101 response has no \"{header}: {token}\""));
            }
        }
        match &self.tokens(&header::SEC_WEBSOCKET_ACCEPT)[..] {
            [] => return invalid("the 101 response has no Sec-WebSocket-Accept".to_owned()),
            [accept] if *accept == derive_accept_key(key.as_bytes()) => {}
            _ => {
                let reason = "Sec-WebSocket-Accept does not match the key of the request";
                return invalid(reason.to_owned());
            }
        }
        let not_offered = |what: &str, name: &str| {
            invalid(format!(
                "the {role} selected the {what} \"{}\", which was not offered",
                escape(name)
            ))
        };
        if let Some(extension) = self.tokens(&header::SEC_WEBSOCKET_EXTENSIONS).first() {
            return not_offered("extension", extension);
        }
        let offered = tokens(opening.headers, &header::SEC_WEBSOCKET_PROTOCOL);
        match &self.tokens(&header::SEC_WEBSOCKET_PROTOCOL)[..] {
            [] => Ok(None),
            [one] if offered.contains(one) => Ok(Some(one.clone())),
            [one] => not_offered("subprotocol", one),
            _ => invalid(format!("the {role} selected more than one subprotocol")),
        }
    }

    /// The error for a response with another status than 101, of whose body `body` has been read.
    pub(super) async fn into_rejection(
        self,
        role: &'static str,
        body: Vec<u8>,
        stream: &mut (impl AsyncRead + Unpin),
    ) -> OpeningError {
        let line = self.body_line(body, stream).await;
        let Response { status, reason, headers } = self;
        let reason = match reason.trim() {
            "" => status.canonical_reason().unwrap_or_default(),
            reason => reason,
        };
        let reason = reason.to_owned();
        OpeningError::Rejected(Rejection { role, status, reason, headers, line }.into())
    }

    /// The first line of the body; empty if the body is HTML.
    async fn body_line(&self, mut body: Vec<u8>, stream: &mut (impl AsyncRead + Unpin)) -> String {
        if self.text(header::CONTENT_TYPE).starts_with("text/html") {
            return String::new();
        }
        let chunked = self.text(header::TRANSFER_ENCODING).contains("chunked");
        let length = self.text(header::CONTENT_LENGTH).parse().unwrap_or(MAX_BODY);
        let missing = length.min(MAX_BODY).saturating_sub(body.len());
        timeout(BODY_TIMEOUT, stream.take(missing as u64).read_to_end(&mut body)).await.ok();
        body.truncate(MAX_BODY);
        let body = String::from_utf8_lossy(&body);
        // The first line of a chunk is its size.
        let body = if chunked { body.split_once('\n').map_or("", |(_, rest)| rest) } else { &body };
        first_line(body, MAX_SHOWN)
    }

    fn tokens(&self, name: &HeaderName) -> Vec<String> {
        tokens(&self.headers, name)
    }

    /// The value of a header field; empty if it is missing or not ASCII.
    fn text(&self, name: HeaderName) -> &str {
        self.headers.get(name).map_or("", |value| value.to_str().unwrap_or(""))
    }
}

/// The elements of a list that may be split over several header fields (RFC 9110 section 5.6.1).
fn tokens(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers
        .get_all(name)
        .iter()
        .map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let elements = |value: String| {
        value.split(',').map(|element| element.trim().to_owned()).collect::<Vec<_>>()
    };
    values.flat_map(elements).filter(|element| !element.is_empty()).collect()
}
