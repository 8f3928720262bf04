//! The request of an opening handshake, as it is recorded.

/// The path and the query of a request: GET of HTTP/1.1, or the extended CONNECT of HTTP/2 (RFC 8441).
pub(crate) fn target(head: &str) -> Option<&str> {
    let mut words = head.lines().next()?.split(' ');
    let is_opening = matches!(words.next()?, "GET" | "CONNECT");
    words.next().filter(|target| is_opening && target.starts_with('/'))
}
