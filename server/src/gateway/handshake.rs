//! The opening handshake: the check of a request (RFC 6455 section 4.2.1; over HTTP/2, RFC 8441)
//! and the response.

use axum::{
    http::{
        Extensions, HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header,
        request::Parts,
    },
    response::{IntoResponse, Response},
};
use echogate_proto::{framing::Framing, ws::HALF_CLOSE};
use hyper::ext::Protocol;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;

/// The reason why a request is not a valid opening handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum NotAHandshake {
    /// A request without any header of a handshake.
    NoUpgrade,
    /// `Sec-WebSocket-Key` without `Upgrade: websocket` and `Connection: Upgrade`: a proxy removed
    /// these hop-by-hop headers (RFC 9110 section 7.6.1).
    UpgradeLost,
    /// A method other than GET, or HTTP/1.0.
    BadRequestLine,
    /// A version of the protocol other than 13.
    BadVersion,
    /// Not exactly one `Sec-WebSocket-Key`, or one that is not 16 bytes in base64.
    BadKey,
    /// An offered subprotocol whose name is not a token (RFC 9110 section 5.6.2).
    BadProtocol,
}

#[derive(Debug)]
pub(crate) struct Handshake {
    /// The value of `Sec-WebSocket-Accept`; none over HTTP/2.
    accept: Option<String>,
    /// The subprotocol selected from those that the client offers.
    protocol: Option<HeaderValue>,
}

/// The rule by which one of the offered subprotocols is selected.
#[derive(Clone, Copy, Debug)]
pub(crate) enum ProtocolChoice<'a> {
    /// By the route's own subprotocol, and by its framing.
    Framing(Option<&'a str>, Framing),
    /// By the upstream, a WebSocket server ([`Handshake::select`]).
    Upstream,
}

impl ProtocolChoice<'_> {
    /// The choice on a route without options.
    pub(crate) const ANY: ProtocolChoice<'static> = ProtocolChoice::Framing(None, Framing::Bytes);
}

impl Handshake {
    /// Checks the head of a request.
    pub(crate) fn of(
        request: &Parts,
        choice: ProtocolChoice<'_>,
    ) -> Result<Handshake, NotAHandshake> {
        let headers = &request.headers;
        let is_http2 = is_http2_handshake(&request.method, &request.extensions);
        if !is_http2 {
            check_upgrade(request)?;
        }
        if single(headers, header::SEC_WEBSOCKET_VERSION).is_none_or(|version| version != "13") {
            return Err(NotAHandshake::BadVersion);
        }
        // RFC 8441 section 5: over HTTP/2 Sec-WebSocket-Key is not used.
        let accept = if is_http2 { None } else { Some(accept_key(headers)?) };
        Ok(Handshake { accept, protocol: choose_protocol(headers, choice)? })
    }

    /// Selects the subprotocol that the upstream has selected.
    pub(crate) fn select(&mut self, protocol: Option<&str>) {
        self.protocol = protocol.and_then(|protocol| HeaderValue::from_str(protocol).ok());
    }

    pub(crate) fn half_close(&self) -> bool {
        self.protocol.as_ref().is_some_and(|protocol| protocol == HALF_CLOSE)
    }

    /// The response that accepts the handshake: 101, or 200 over HTTP/2.
    pub(crate) fn response(self) -> Response {
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

/// Checks that a request of HTTP/1 asks for an upgrade to WebSocket.
fn check_upgrade(request: &Parts) -> Result<(), NotAHandshake> {
    match has_upgrade_tokens(&request.headers) {
        true if request.method == Method::GET && request.version >= Version::HTTP_11 => Ok(()),
        true => Err(NotAHandshake::BadRequestLine),
        false if request.headers.contains_key(header::SEC_WEBSOCKET_KEY) => {
            Err(NotAHandshake::UpgradeLost)
        }
        false => Err(NotAHandshake::NoUpgrade),
    }
}

/// The value of `Sec-WebSocket-Accept` for the key of a request.
fn accept_key(headers: &HeaderMap) -> Result<String, NotAHandshake> {
    let key = single(headers, header::SEC_WEBSOCKET_KEY).map(HeaderValue::as_bytes);
    let key = key.filter(|key| is_key(key)).ok_or(NotAHandshake::BadKey)?;
    Ok(derive_accept_key(key))
}

impl IntoResponse for NotAHandshake {
    fn into_response(self) -> Response {
        let (status, reason) = match self {
            NotAHandshake::NoUpgrade => (
                StatusCode::UPGRADE_REQUIRED,
                "this path speaks WebSocket: connect to it with ws:// or wss://\n",
            ),
            NotAHandshake::UpgradeLost => (
                StatusCode::UPGRADE_REQUIRED,
                "the request has Sec-WebSocket-Key, but not \"Upgrade: websocket\" and \"Connection: \
                 Upgrade\": a proxy has removed them. Configure the proxy to use HTTP/1.1 to this \
                 server and to pass both on (nginx: proxy_http_version 1.1; proxy_set_header \
                 Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";)\n",
            ),
            NotAHandshake::BadRequestLine => (
                StatusCode::BAD_REQUEST,
                "a WebSocket handshake must be a GET request of HTTP/1.1 (nginx: proxy_http_version \
                 1.1;)\n",
            ),
            NotAHandshake::BadVersion => (
                StatusCode::UPGRADE_REQUIRED,
                "exactly one Sec-WebSocket-Version header is required, with the value 13\n",
            ),
            NotAHandshake::BadKey => (
                StatusCode::BAD_REQUEST,
                "exactly one Sec-WebSocket-Key header of 16 bytes in base64 is required\n",
            ),
            NotAHandshake::BadProtocol => (
                StatusCode::BAD_REQUEST,
                "a name in Sec-WebSocket-Protocol is not a token (letters, digits and \
                 !#$%&'*+-.^_`|~)\n",
            ),
        };
        let mut response = (status, reason).into_response();
        if status == StatusCode::UPGRADE_REQUIRED {
            let required = [
                (header::UPGRADE, "websocket"),
                (header::CONNECTION, "Upgrade"),
                (header::SEC_WEBSOCKET_VERSION, "13"),
            ];
            let required = required.map(|(name, value)| (name, HeaderValue::from_static(value)));
            response.headers_mut().extend(required);
        }
        response
    }
}

/// Whether a request is meant as a handshake, even if a proxy removed its `Upgrade` header.
pub(crate) fn wants_upgrade<B>(request: &Request<B>) -> bool {
    is_http2_handshake(request.method(), request.extensions())
        || has_upgrade_tokens(request.headers())
        || request.headers().contains_key(header::SEC_WEBSOCKET_KEY)
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

/// Whether one of the comma-separated values of a header is `token`, regardless of case.
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

/// The value of a header that must occur exactly once.
fn single(headers: &HeaderMap, name: header::HeaderName) -> Option<&HeaderValue> {
    let mut all = headers.get_all(name).into_iter();
    all.next().filter(|_| all.next().is_none())
}

/// Whether `key` is 16 bytes in base64: 22 digits, the last of which encodes only two bits, and two
/// padding characters.
fn is_key(key: &[u8]) -> bool {
    let digit = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'+' | b'/');
    matches!(key, [digits @ .., b'A' | b'Q' | b'g' | b'w', b'=', b'=']
        if digits.len() == 21 && digits.iter().all(digit))
}

/// Selects one of the offered subprotocols. The order of preference is `binary`, `half-close`, the
/// route's `own`, the first one that is offered: a browser fails the connection if none is
/// selected. Never selected are `base64`, which would change the payload, and those that do not fit
/// the `framing`. If the messages to the client are text, `binary` is selected only if no other is
/// offered.
///
/// # Errors
///
/// [`NotAHandshake::BadProtocol`].
fn choose_protocol(
    headers: &HeaderMap,
    choice: ProtocolChoice<'_>,
) -> Result<Option<HeaderValue>, NotAHandshake> {
    let lines = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL);
    if !lines.into_iter().all(|line| is_token_list(line.as_bytes())) {
        return Err(NotAHandshake::BadProtocol);
    }
    let ProtocolChoice::Framing(own, framing) = choice else { return Ok(None) };
    let offered: Vec<_> = values(headers, header::SEC_WEBSOCKET_PROTOCOL)
        .filter(|offered| *offered != "base64" && framing.fits(offered))
        .collect();
    let binary = Some("binary").filter(|_| !framing.is_text());
    let preferred = [binary, Some(HALF_CLOSE), own].into_iter().flatten();
    let first = offered.iter().find(|name| **name != "binary").or(offered.first());
    let chosen = preferred.chain(first.copied()).find(|name| offered.contains(name));
    Ok(chosen.and_then(|chosen| HeaderValue::from_str(chosen).ok()))
}

/// Whether a header value is a list of tokens; empty elements are allowed and ignored (RFC 9110
/// section 5.6.1).
fn is_token_list(value: &[u8]) -> bool {
    value.split(|&byte| byte == b',').map(<[u8]>::trim_ascii).all(|element| {
        element
            .iter()
            .all(|&byte| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(lines: &[(&str, &str)]) -> Result<Handshake, NotAHandshake> {
        check_on(Framing::Bytes, lines)
    }

    fn check_on(framing: Framing, lines: &[(&str, &str)]) -> Result<Handshake, NotAHandshake> {
        let mut request = Request::get("/ws");
        for (name, value) in lines {
            request = request.header(*name, *value);
        }
        let choice = ProtocolChoice::Framing(Some("own"), framing);
        Handshake::of(&request.body(()).unwrap().into_parts().0, choice)
    }

    const GOOD: [(&str, &str); 4] = [
        ("connection", "keep-alive, Upgrade"),
        ("upgrade", "websocket"),
        ("sec-websocket-version", "13"),
        ("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ=="),
    ];

    #[test]
    fn the_example_of_rfc_6455_section_1_3_gets_its_response() {
        let accept = check(&GOOD).unwrap().accept;
        assert_eq!(accept.as_deref(), Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="));
    }

    #[test]
    fn each_violation_has_its_own_error() {
        use NotAHandshake::*;
        for (i, value, expected) in [
            (0, "keep-alive", UpgradeLost),
            (1, "h2c", UpgradeLost),
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
        assert_eq!(check(&GOOD[..3][1..]).unwrap_err(), NoUpgrade, "neither key nor Connection");
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
        let fields = ["mqtt", "binary"].map(|offer| ("sec-websocket-protocol", offer));
        let protocol = check(&[&GOOD[..], &fields].concat()).unwrap().protocol;
        assert_eq!(protocol.unwrap(), "binary", "in two header fields");
        assert!(check(&GOOD).unwrap().protocol.is_none());
    }

    #[test]
    fn the_chosen_subprotocol_fits_the_framing() {
        use Framing::{Bytes, Length, Line, Message, Text};
        let both = "binary.ircv3.net, text.ircv3.net";
        for (framing, offer, chosen) in [
            (Line, both, Some("text.ircv3.net")),
            (Text, both, Some("text.ircv3.net")),
            (Bytes, both, Some("binary.ircv3.net")),
            (Bytes, "text.ircv3.net, binary.ircv3.net", Some("binary.ircv3.net")),
            (Message, both, Some("binary.ircv3.net")),
            (Line, "binary.ircv3.net", None),
            (Bytes, "text.ircv3.net", None),
            (Line, "binary, text.ircv3.net", Some("text.ircv3.net")),
            (Line, "binary, own", Some("own")),
            (Line, "binary", Some("binary")),
            (Bytes, "text.ircv3.net, binary", Some("binary")),
            (Length, "half-close", None),
            (Length, "half-close, own", Some("own")),
        ] {
            let lines = [&GOOD[..], &[("sec-websocket-protocol", offer)]].concat();
            let protocol = check_on(framing, &lines).unwrap().protocol;
            let protocol = protocol.as_ref().map(|p| p.to_str().unwrap());
            assert_eq!(protocol, chosen, "{offer} on a route of framing {framing}");
        }
    }

    #[test]
    fn a_subprotocol_that_is_no_token_is_refused_beside_others_too() {
        for offer in ["a b", "mqtt, a b", "a/b", "a;q=1", "\"mqtt\"", "mqtt, (x)", "{}", "ä"] {
            let lines = [&GOOD[..], &[("sec-websocket-protocol", offer)]].concat();
            assert_eq!(check(&lines).unwrap_err(), NotAHandshake::BadProtocol, "{offer}");
        }
        for (offer, chosen) in
            [("v1.x+y, mqtt", Some("v1.x+y")), ("", None), (",mqtt,", Some("mqtt"))]
        {
            let lines = [&GOOD[..], &[("sec-websocket-protocol", offer)]].concat();
            let protocol = check(&lines).unwrap().protocol;
            assert_eq!(protocol.as_ref().map(|p| p.to_str().unwrap()), chosen, "{offer}");
        }
    }
}
