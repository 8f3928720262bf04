//! The opening handshake in front of frames, by which dissectors recognize them.

use std::net::SocketAddr;

use echogate_proto::recording::{Opened, Side};

use crate::recording::head;

/// The heads of request and response. Where there are none of HTTP/1.1, they are synthetic, with the
/// key and the answer to it of RFC 6455 section 1.3.
pub(super) fn heads(opened: &Opened, side: Side, server: SocketAddr) -> [String; 2] {
    if side == Side::Client
        && let (Some(request), Some(response)) = (&opened.request, &opened.response)
        && request.starts_with("GET ")
        && response.starts_with("HTTP/1.1 101")
    {
        return [head(request.lines()), head(response.lines())];
    }
    let recorded = opened.request.as_deref().filter(|_| side == Side::Client);
    let path = recorded.and_then(head::target).unwrap_or_else(|| match side {
        Side::Client if opened.target.starts_with('/') => opened.target.trim_end_matches('*'),
        Side::Client => "/",
        Side::Upstream => opened.upstream.as_deref().and_then(path).unwrap_or("/"),
    });
    let protocol = opened.protocol.as_ref().map(|name| format!("Sec-WebSocket-Protocol: {name}"));
    let upgrade = ["Connection: Upgrade", "Upgrade: websocket"];
    let request = [&format!("GET {path} HTTP/1.1"), &format!("Host: {server}")];
    let key = ["Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="];
    let request = request.into_iter().map(String::as_str).chain(upgrade).chain(key);
    let response = ["HTTP/1.1 101 Switching Protocols"].into_iter().chain(upgrade);
    let response = response.chain(["Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo="]);
    [head(request.chain(protocol.as_deref())), head(response.chain(protocol.as_deref()))]
}

/// The lines of a head with their ends, and an empty one.
fn head<'a>(lines: impl Iterator<Item = &'a str>) -> String {
    lines.filter(|line| !line.is_empty()).chain([""]).map(|line| format!("{line}\r\n")).collect()
}

/// The path and the query of a URL.
fn path(url: &str) -> Option<&str> {
    let rest = url.split_once("://")?.1;
    rest.find('/').map(|at| &rest[at..])
}
