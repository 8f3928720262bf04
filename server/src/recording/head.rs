//! The recorded heads of an opening handshake.

/// The path and the query of a request: GET of HTTP/1.1, or the extended CONNECT of HTTP/2 (RFC
/// 8441).
pub(crate) fn target(head: &str) -> Option<&str> {
    let mut words = head.lines().next()?.split(' ');
    let is_opening = matches!(words.next()?, "GET" | "CONNECT");
    words.next().filter(|target| is_opening && target.starts_with('/'))
}

/// The value of a header field, regardless of the case of its name.
pub(super) fn field<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let fields = head.lines().skip(1).filter_map(|line| line.split_once(':'));
    let mut named = fields.filter(|(found, _)| found.eq_ignore_ascii_case(name));
    named.next().map(|(_, value)| value.trim())
}

/// Whether a request asks for a WebSocket.
pub(super) fn is_opening(request: &str) -> bool {
    let upgrade = field(request, "upgrade");
    request.starts_with("GET ")
        && upgrade.is_some_and(|value| value.eq_ignore_ascii_case("websocket"))
}

/// The reason why the frames after the response cannot be replayed, if there is one.
pub(super) fn refusal(response: &str) -> Option<String> {
    let extensions = field(response, "sec-websocket-extensions")?;
    extensions.contains("permessage-deflate").then(|| {
        "its messages are compressed (permessage-deflate): record again without compression"
            .to_owned()
    })
}

/// The length of the head at the start of `bytes`, with its empty line.
pub(super) fn length(bytes: &[u8]) -> Option<usize> {
    bytes.windows(4).position(|window| window == b"\r\n\r\n").map(|at| at + 4)
}
