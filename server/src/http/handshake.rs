//! What makes a request an opening handshake (RFC 6455 section 4.2.1; over HTTP/2,
//! RFC 8441), and the answer to it.

use axum::{
    http::{
        Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header,
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// Why a request is no opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotAHandshake {
    /// It is a plain request.
    NoUpgrade,
    /// A method other than GET, or HTTP/1.0.
    BadRequestLine,
    /// Another version of the protocol than 13.
    BadVersion,
    /// Not exactly one key of 16 bytes in base64.
    BadKey,
}

/// A checked opening handshake.
#[derive(Debug)]
pub(super) struct Handshake {
    /// The proof that the key was read; none over HTTP/2.
    accept: Option<String>,
    /// The subprotocol chosen from those that the client offers.
    protocol: Option<HeaderValue>,
}

/// The subprotocol in which an empty binary message means the end of input.
const HALF_CLOSE: &str = "half-close";

impl Handshake {
    /// Checks the head of a request on a route whose own subprotocol is `own`.
    pub(super) fn of(request: &Parts, own: Option<&str>) -> Result<Handshake, NotAHandshake> {
        let headers = &request.headers;
        if is_http2_handshake(&request.method, &request.extensions) {
            // There the stream itself is the proof that the key is on HTTP/1.1.
            return match single(headers, header::SEC_WEBSOCKET_VERSION) {
                Some(version) if version == "13" => {
                    Ok(Handshake { accept: None, protocol: choose_protocol(headers, own) })
                }
                _ => Err(NotAHandshake::BadVersion),
            };
        }
        if !has_upgrade_tokens(headers) {
            return Err(NotAHandshake::NoUpgrade);
        }
        if request.method != Method::GET || request.version < Version::HTTP_11 {
            return Err(NotAHandshake::BadRequestLine);
        }
        match single(headers, header::SEC_WEBSOCKET_VERSION) {
            Some(version) if version == "13" => {}
            _ => return Err(NotAHandshake::BadVersion),
        }
        let key = single(headers, header::SEC_WEBSOCKET_KEY).ok_or(NotAHandshake::BadKey)?;
        if !is_key(key.as_bytes()) {
            return Err(NotAHandshake::BadKey);
        }
        Ok(Handshake {
            accept: Some(derive_accept_key(key.as_bytes())),
            protocol: choose_protocol(headers, own),
        })
    }

    /// Whether half-close was agreed on.
    pub(super) fn half_close(&self) -> bool {
        self.protocol.as_ref().is_some_and(|protocol| protocol == HALF_CLOSE)
    }

    /// The answer that switches protocols.
    pub(super) fn response(self) -> Response {
        let mut response = match self.accept {
            Some(accept) => (
                StatusCode::SWITCHING_PROTOCOLS,
                [(header::UPGRADE, "websocket"), (header::CONNECTION, "Upgrade")],
                [(header::SEC_WEBSOCKET_ACCEPT, accept)],
            )
                .into_response(),
            None => StatusCode::OK.into_response(),
        };
        if let Some(protocol) = self.protocol {
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, protocol);
        }
        response
    }
}

impl IntoResponse for NotAHandshake {
    fn into_response(self) -> Response {
        let upgrade = [
            (header::UPGRADE, "websocket"),
            (header::CONNECTION, "Upgrade"),
            (header::SEC_WEBSOCKET_VERSION, "13"),
        ];
        match self {
            NotAHandshake::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                upgrade,
                "this path speaks WebSocket: connect to it with ws://\n",
            )
                .into_response(),
            NotAHandshake::BadRequestLine => {
                (StatusCode::BAD_REQUEST, "a WebSocket handshake is a GET of HTTP/1.1\n")
                    .into_response()
            }
            NotAHandshake::BadVersion => {
                (StatusCode::UPGRADE_REQUIRED, upgrade, "only WebSocket version 13 is spoken\n")
                    .into_response()
            }
            NotAHandshake::BadKey => {
                (StatusCode::BAD_REQUEST, "expected one Sec-WebSocket-Key of 16 bytes in base64\n")
                    .into_response()
            }
        }
    }
}

/// Whether a request asks to become a WebSocket connection.
pub(super) fn wants_upgrade<B>(request: &Request<B>) -> bool {
    is_http2_handshake(request.method(), request.extensions())
        || has_upgrade_tokens(request.headers())
}

/// Whether a request is an extended CONNECT to WebSocket (RFC 8441 section 4).
fn is_http2_handshake(method: &Method, extensions: &Extensions) -> bool {
    method == Method::CONNECT
        && extensions.get::<Protocol>().is_some_and(|protocol| protocol.as_str() == "websocket")
}

fn has_upgrade_tokens(headers: &HeaderMap) -> bool {
    has_token(headers, header::UPGRADE, "websocket")
        && has_token(headers, header::CONNECTION, "upgrade")
}

/// Whether one of the comma-separated values of a header is `token`, in any case.
fn has_token(headers: &HeaderMap, name: header::HeaderName, token: &str) -> bool {
    values(headers, name).any(|value| value.eq_ignore_ascii_case(token))
}

fn values(headers: &HeaderMap, name: header::HeaderName) -> impl Iterator<Item = &str> {
    headers
        .get_all(name)
        .into_iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(',').map(str::trim).filter(|value| !value.is_empty()))
}

/// The value of a header that must be there once.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name).into_iter();
    all.next().filter(|_| all.next().is_none())
}

/// Whether `key` is 16 bytes in base64: 22 digits, of which the last holds only two
/// bits, and two padding characters.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'A' | b'Q' | b'g' | b'w', b'=', b'=']
        if digits.len() == 21 && digits.iter().all(digit))
}

/// `binary` if it is offered; otherwise `half-close`, the route's own, or the first that
/// is, because a browser fails a connection whose offer is ignored; never `base64`, which
/// would change the payload.
fn choose_protocol(headers: &HeaderMap, own: Option<&str>) -> Option<HeaderValue> {
    let offered: Vec<_> = values(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .filter(|offered| *offered != "base64")
        .collect();
    let preferred = [Some("binary"), Some(HALF_CLOSE), own].into_iter().flatten();
    let chosen = preferred.chain(offered.first().copied()).find(|name| offered.contains(name));
    chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(&str, &str)]) -> Result<Handshake, NotAHandshake> {
        let mut request = Request::get("/ws");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        Handshake::of(&request.body(()).unwrap().into_parts().0, Some("own"))
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_example_of_rfc_6455_section_1_3_is_answered_as_there() {
        let accept = check(&GOOD).unwrap().accept;
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn what_is_missing_or_wrong_is_told_apart() {
        use NotAHandshake::*;
        for (i, value, expected) in [
            (0, "keep-alive", NoUpgrade),
            (1, "h2c", NoUpgrade),
            (2, "8", BadVersion),
            (3, "short==", BadKey),
            (3, "dGhlIHNhbXBsZSBub25jZR==", BadKey),
            (3, "dGhlIHNhbXBsZSBub25jZ===", BadKey),
        ] {
            let mut lines = GOOD;
            lines[i].1 = value;
            assert_eq!(check(&lines).unwrap_err(), expected, "{value}");
            let mut without = GOOD.to_vec();
            without.remove(i);
            assert_eq!(check(&without).unwrap_err(), expected, "without {}", GOOD[i].0);
        }
        let twice = [&GOOD[..], &GOOD[3..]].concat();
        assert_eq!(check(&twice).unwrap_err(), BadKey, "two keys");
    }

    #[test]
    fn binary_is_preferred_and_base64_declined() {
        for (offer, chosen) in [
            ("mqtt", Some("mqtt")),
            ("base64", None),
            ("base64, binary", Some("binary")),
            ("mqtt, binary", Some("binary")),
            ("base64, mqtt, amqp", Some("mqtt")),
            ("mqtt, own", Some("own")),
            ("own, binary", Some("binary")),
            ("mqtt, own, half-close", Some("half-close")),
            ("half-close, binary", Some("binary")),
        ] {
            let lines = [&GOOD[..], &[("sec-websocket-protocol", offer)]].concat();
            let protocol = check(&lines).unwrap().protocol;
            assert_eq!(protocol.as_ref().map(|p| p.to_str().unwrap()), chosen, "{offer}");
        }
        assert!(check(&GOOD).unwrap().protocol.is_none());
    }
}
