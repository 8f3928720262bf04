//! The request of an opening handshake.

use http::{HeaderName, header};

use super::Opening;
use crate::net::authority::host_header;

pub(super) fn encode(opening: &Opening<'_>, key: &str) -> Vec<u8> {
    let Opening { at, tls, path, headers, .. } = *opening;
    let mut request = format!("GET {path} HTTP/1.1\r\n").into_bytes();
    let mut add = |name: &str, value: &[u8]| {
        request.extend([name.as_bytes(), b": ", value, b"\r\n"].concat());
    };
    if !headers.contains_key(header::HOST) {
        add("Host", host_header(at, tls).as_bytes());
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

/// The name of a header field in the usual capitals: some servers compare it with case.
pub(super) fn capitals(name: &HeaderName) -> String {
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
