//! The opening handshake of a WebSocket (RFC 6455 section 4): the request, the validation of the
//! response, and the errors of a rejected handshake.

use std::{io, time::Duration};

use echogate_proto::endpoint::HostPort;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    time::timeout,
};
use tokio_tungstenite::tungstenite::handshake::{client::generate_key, derive_accept_key};

use crate::{
    client::target::Upgrade,
    text::escape::{escape, first_line},
};

/// The time limit of the handshake. A gateway may have to dial its upstream first.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(30);

/// The largest response head, in bytes, interim responses included.
const MAX_HEAD: usize = 64 * 1024;

/// The most header fields of a response.
const MAX_HEADERS: usize = 128;

/// The most bytes of a rejection's body that are read for its first line, and the time limit.
const MAX_BODY: usize = 1024;
const BODY_TIMEOUT: Duration = Duration::from_secs(1);

/// The most characters of the first line that are shown.
const MAX_SHOWN: usize = 200;

/// The result of a handshake.
#[derive(Debug)]
pub(in crate::client) struct Agreed {
    /// The negotiated subprotocol.
    pub(super) protocol: Option<String>,
    /// The bytes read after the response head: the first frames, or part of them.
    pub(in crate::client) early: Vec<u8>,
}

/// Performs the handshake on `stream`.
///
/// # Errors
///
/// When the stream fails, the response is invalid, or the server rejects the handshake.
pub(in crate::client) async fn open<S>(stream: &mut S, upgrade: &Upgrade) -> io::Result<Agreed>
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let key = generate_key();
    let exchange = async {
        stream.write_all(&request(upgrade, &key)).await?;
        stream.flush().await?;
        read_response(stream).await
    };
    let (response, rest) = timeout(HANDSHAKE_TIMEOUT, exchange).await.unwrap_or_else(|_| {
        let error = "no response to the WebSocket handshake within 30 seconds";
        Err(io::Error::new(io::ErrorKind::TimedOut, error))
    })?;
    if response.status != StatusCode::SWITCHING_PROTOCOLS {
        return Err(rejection(&response, rest, stream).await);
    }
    match response.negotiated_protocol(upgrade, &key) {
        Ok(protocol) => Ok(Agreed { protocol, early: rest }),
        Err(reason) => Err(io::Error::new(io::ErrorKind::InvalidData, reason)),
    }
}

/// The bytes of the request.
fn request(upgrade: &Upgrade, key: &str) -> Vec<u8> {
    let Upgrade { at, path, headers, trust, .. } = upgrade;
    let mut request = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    let mut add = |name: &str, value: &[u8]| {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    };
    if !headers.contains_key(header::HOST) {
        add("Host", host(at, trust.is_some()).as_bytes());
    }
    add("Connection", b"Upgrade");
    add("Upgrade", b"websocket");
    add("Sec-WebSocket-Version", b"13");
    add("Sec-WebSocket-Key", key.as_bytes());
    for (name, value) in headers {
        add(&capitals(name), value.as_bytes());
    }
    request.extend(b"\r\n");
    request
}

/// The value of `Host`: without the default port of the scheme, as browsers send it, and without
/// an IPv6 zone, which has a meaning on this machine only (RFC 6874 section 4).
fn host(at: &HostPort, tls: bool) -> String {
    let host = at.without_zone();
    let default_port = if tls { ":443" } else { ":80" };
    let all = HostPort { host: host.to_owned(), port: at.port }.to_string();
    all.strip_suffix(default_port).map_or(all.clone(), str::to_owned)
}

/// The name of a header field in the usual capitals: some servers compare it with case.
fn capitals(name: &HeaderName) -> String {
    let word = |word: &str| match word {
        "websocket" => "WebSocket".to_owned(),
        word => word[..1].to_uppercase() + &word[1..],
    };
    let words = name.as_str().split('-').map(|part| match part {
        "" => String::new(),
        part => word(part),
    });
    words.collect::<Vec<_>>().join("-")
}

/// The head of a response.
#[derive(Debug)]
struct Response {
    status: StatusCode,
    reason: String,
    headers: HeaderMap,
}

/// Reads the response head, and returns it with the bytes read after it. Interim responses (1xx
/// except 101, RFC 9110 section 15.2) are skipped.
async fn read_response(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<(Response, Vec<u8>)> {
    let mut bytes = Vec::new();
    let mut read = 0;
    loop {
        while let Some((response, len)) = parse(&bytes)? {
            bytes.drain(..len);
            let status = response.status;
            if !status.is_informational() || status == StatusCode::SWITCHING_PROTOCOLS {
                return Ok((response, bytes));
            }
        }
        if read > MAX_HEAD {
            let error = "the head of the response to the WebSocket handshake exceeds 64 KiB";
            return Err(io::Error::new(io::ErrorKind::InvalidData, error));
        }
        bytes.reserve(4096);
        match stream.read_buf(&mut bytes).await? {
            0 => {
                let error = "the server closed the connection during the WebSocket handshake";
                return Err(io::Error::new(io::ErrorKind::ConnectionAborted, error));
            }
            more => read += more,
        }
    }
}

/// Parses the response head at the start of `bytes`: the head and its length, or none if it is
/// incomplete.
fn parse(bytes: &[u8]) -> io::Result<Option<(Response, usize)>> {
    let invalid = |text| io::Error::new(io::ErrorKind::InvalidData, text);
    let not_http = || match bytes {
        // A TLS record of the type alert.
        [0x15, 3, ..] => invalid("the response is TLS, not HTTP: use wss:// instead of ws://"),
        _ => invalid("the response is not HTTP"),
    };
    let mut headers = [httparse::EMPTY_HEADER; MAX_HEADERS];
    let mut response = httparse::Response::new(&mut headers);
    let len = match response.parse(bytes) {
        Ok(httparse::Status::Complete(len)) => len,
        Ok(httparse::Status::Partial) => return Ok(None),
        Err(httparse::Error::TooManyHeaders) => {
            return Err(invalid("the response to the WebSocket handshake has over 128 headers"));
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
    /// The subprotocol that a 101 response selects, or the reason why the response is invalid.
    fn negotiated_protocol(&self, upgrade: &Upgrade, key: &str) -> Result<Option<String>, String> {
        for (name, token) in [(header::UPGRADE, "websocket"), (header::CONNECTION, "upgrade")] {
            if !self.tokens(&name).iter().any(|given| given.eq_ignore_ascii_case(token)) {
                let header = capitals(&name);
                return Err(format!("the 101 response has no \"{header}: {token}\""));
            }
        }
        let accept = self.tokens(&header::SEC_WEBSOCKET_ACCEPT);
        match &accept[..] {
            [] => return Err("the 101 response has no Sec-WebSocket-Accept".to_owned()),
            [accept] if *accept == derive_accept_key(key.as_bytes()) => {}
            _ => {
                return Err("Sec-WebSocket-Accept does not match the key of the request".to_owned());
            }
        }
        if let Some(extension) = self.tokens(&header::SEC_WEBSOCKET_EXTENSIONS).first() {
            let extension = escape(extension);
            return Err(format!(
                "the server selected the extension \"{extension}\", which was not offered"
            ));
        }
        let offered = tokens(&upgrade.headers, &header::SEC_WEBSOCKET_PROTOCOL);
        let chosen = self.tokens(&header::SEC_WEBSOCKET_PROTOCOL);
        match &chosen[..] {
            [] if offered.is_empty() => Ok(None),
            [] => Err("the server supports none of the offered subprotocols".to_owned()),
            [one] if offered.contains(one) => Ok(Some(one.clone())),
            [one] => Err(format!(
                "the server selected the subprotocol \"{}\", which was not offered",
                escape(one)
            )),
            _ => Err("the server selected more than one subprotocol".to_owned()),
        }
    }

    fn tokens(&self, name: &HeaderName) -> Vec<String> {
        tokens(&self.headers, name)
    }

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

/// The error of a rejected handshake: the status and the first line of the body, of which `body`
/// has been read.
async fn rejection(
    response: &Response,
    body: Vec<u8>,
    stream: &mut (impl AsyncRead + Unpin),
) -> io::Error {
    let Response { status, reason, .. } = response;
    let reason = match &**reason {
        "" => status.canonical_reason().unwrap_or_default(),
        reason => reason,
    };
    let mut text = format!("the server responded {} {}", status.as_u16(), escape(reason));
    text.truncate(text.trim_end().len());
    if status.is_redirection() && response.headers.contains_key(header::LOCATION) {
        let location = response.headers[header::LOCATION].as_bytes();
        text += &format!(" to {}", escape(&String::from_utf8_lossy(location)));
    }
    let line = body_line(response, body, stream).await;
    if !line.is_empty() {
        text += &format!(": {line}");
    }
    io::Error::other(text)
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

#[cfg(test)]
mod tests {
    use tokio::io::duplex;

    use super::*;

    fn upgrade(url: &str, headers: HeaderMap) -> Upgrade {
        let (at, path) = url.split_once('/').unwrap();
        let (at, path) = (at.parse().unwrap(), format!("/{path}"));
        Upgrade { at, path, headers, trust: None, half_close: false, binary: false }
    }

    /// Performs the handshake with a server that sends `answer`, in which `KEY` stands for the
    /// right `Sec-WebSocket-Accept`.
    async fn opened_offering(protocols: &str, answer: &str) -> Result<Agreed, String> {
        let (mut ours, theirs) = duplex(1 << 17);
        let answer = answer.to_owned();
        let server = async move {
            let (reader, mut writer) = tokio::io::split(theirs);
            let mut request = Vec::new();
            let mut reader = reader;
            while !request.ends_with(b"\r\n\r\n") {
                request.push(reader.read_u8().await.unwrap());
            }
            let request = String::from_utf8(request).unwrap();
            let key = request.split("Sec-WebSocket-Key: ").nth(1).unwrap();
            let key = derive_accept_key(key.lines().next().unwrap().as_bytes());
            writer.write_all(answer.replace("KEY", &key).as_bytes()).await.unwrap();
            writer.shutdown().await.unwrap();
            reader.read_to_end(&mut Vec::new()).await.ok();
        };
        let mut headers = HeaderMap::new();
        if !protocols.is_empty() {
            headers.insert(header::SEC_WEBSOCKET_PROTOCOL, protocols.parse().unwrap());
        }
        let upgrade = upgrade("h:1/x", headers);
        tokio::select! {
            opened = open(&mut ours, &upgrade) => opened.map_err(|error| error.to_string()),
            () = server => panic!("the client has disconnected"),
        }
    }

    async fn opened(answer: &str) -> Result<Agreed, String> {
        opened_offering("", answer).await
    }

    const GOOD: &str = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\n\
                        Connection: Upgrade\r\nSec-WebSocket-Accept: KEY\r\n";

    #[test]
    fn the_host_header_has_no_default_port_and_no_zone() {
        let host = |at: &str, tls| host(&at.parse().unwrap(), tls);
        assert_eq!(host("localhost:8080", false), "localhost:8080");
        assert_eq!(host("localhost:80", false), "localhost");
        assert_eq!(host("localhost:443", true), "localhost");
        assert_eq!(host("[::1]:80", false), "[::1]");
        assert_eq!(host("[fe80::1%25eth0]:80", false), "[fe80::1]");
    }

    #[test]
    fn headers_of_the_user_are_added_and_replace_the_default_ones() {
        let mut headers = HeaderMap::new();
        headers.append("x-a", HeaderValue::from_static("1"));
        headers.append("x-a", HeaderValue::from_static("2"));
        headers.append("host", HeaderValue::from_static("other"));
        headers.append("sec-websocket-protocol", HeaderValue::from_static("a, b"));
        let request = request(&upgrade("h:1/x?y", headers), "K");
        assert_eq!(
            String::from_utf8(request).unwrap(),
            "GET /x?y HTTP/1.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: K\r\nX-A: 1\r\nX-A: 2\r\n\
             Host: other\r\nSec-WebSocket-Protocol: a, b\r\n\r\n"
        );
    }

    #[tokio::test]
    async fn a_101_is_accepted_in_every_form_that_the_rfcs_allow() {
        let forms = ["keep-alive, Upgrade", "upgrade, Keep-Alive", "Upgrade, close"];
        let mut answers: Vec<String> = forms
            .map(|form| GOOD.replace("Connection: Upgrade", &format!("Connection: {form}")))
            .into();
        let two = "Connection: keep-alive\r\nConnection: Upgrade";
        answers.push(GOOD.replace("Connection: Upgrade", two));
        answers.push(format!("{GOOD}Sec-WebSocket-Extensions: \r\n"));
        for interim in ["100 Continue", "102 Processing", "103 Early Hints\r\nLink: </a>"] {
            answers.push(format!("HTTP/1.1 {interim}\r\n\r\n").repeat(2) + GOOD);
        }
        for answer in answers {
            let agreed = opened(&format!("{answer}\r\nframes")).await.expect(&answer);
            assert_eq!((agreed.protocol, &*agreed.early), (None, &b"frames"[..]), "{answer}");
        }
        let chosen = format!("{GOOD}Sec-WebSocket-Protocol: b\r\n\r\n");
        let agreed = opened_offering("a, b", &chosen).await.unwrap();
        assert_eq!(agreed.protocol.as_deref(), Some("b"));
    }

    #[tokio::test]
    async fn an_invalid_101_response_is_refused_with_the_reason() {
        for (answer, complaint) in [
            (GOOD.replace("WebSocket", "h2c"), "the 101 response has no \"Upgrade: websocket\""),
            (
                GOOD.replace("n: Upgrade", "n: close"),
                "the 101 response has no \"Connection: upgrade\"",
            ),
            (
                GOOD.replace("KEY", "x"),
                "Sec-WebSocket-Accept does not match the key of the request",
            ),
            (GOOD.replace("Sec-", "X-"), "the 101 response has no Sec-WebSocket-Accept"),
            (
                format!("{GOOD}Sec-WebSocket-Extensions: permessage-deflate; x=1\r\n"),
                "the server selected the extension \"permessage-deflate; x=1\", which was not offered",
            ),
            (
                format!("{GOOD}Sec-WebSocket-Protocol: mqtt\r\n"),
                "the server selected the subprotocol \"mqtt\", which was not offered",
            ),
        ] {
            assert_eq!(opened(&format!("{answer}\r\n")).await.unwrap_err(), complaint);
        }
        let none = opened_offering("a, b", &format!("{GOOD}\r\n")).await.unwrap_err();
        assert_eq!(none, "the server supports none of the offered subprotocols");
    }

    #[tokio::test]
    async fn a_rejection_is_reported_with_its_status_and_its_first_line() {
        for (answer, words) in [
            (
                "HTTP/1.1 404 Not Found\r\nContent-Length: 16\r\n\r\nno route\x1b[2J\nmore",
                "the server responded 404 Not Found: no route\\x1b[2J",
            ),
            (
                "HTTP/1.1 502 Bad Gateway\r\nContent-Type: text/html\r\n\r\n<html>",
                "the server responded 502 Bad Gateway",
            ),
            (
                "HTTP/1.1 503\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nbusy\r\n0\r\n\r\n",
                "the server responded 503 Service Unavailable: busy",
            ),
            (
                "HTTP/1.1 301 Moved Permanently\r\nLocation: wss://h/\r\nContent-Length: 0\r\n\r\n",
                "the server responded 301 Moved Permanently to wss://h/",
            ),
        ] {
            assert_eq!(opened(answer).await.unwrap_err(), words);
        }
    }

    #[tokio::test]
    async fn a_response_that_is_no_handshake_is_reported() {
        let closed = "the server closed the connection during the WebSocket handshake";
        for (answer, words) in [
            ("GET /X HTTP/1.1\r\n", "the response is not HTTP"),
            (
                "\x15\x03\x03\0\x02\x02\x46",
                "the response is TLS, not HTTP: use wss:// instead of ws://",
            ),
            ("", closed),
            ("HTTP/1.1 103 Early Hints\r\n\r\n", closed),
        ] {
            assert_eq!(opened(answer).await.unwrap_err(), words);
        }
        let endless = format!("HTTP/1.1 200 OK\r\nA: {}", "x".repeat(2 * MAX_HEAD));
        let words = "the head of the response to the WebSocket handshake exceeds 64 KiB";
        assert_eq!(opened(&endless[..MAX_HEAD + 5000]).await.unwrap_err(), words);
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_does_not_respond_times_out() {
        let (mut ours, _theirs) = duplex(4096);
        let error = open(&mut ours, &upgrade("h:1/x", HeaderMap::new())).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    }
}
