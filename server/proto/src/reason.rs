//! The server's texts about the end of a connection and about a refusal: reasons of Close frames,
//! ends in the API, refusals of the API.
//!
//! The server and the page share these texts, so that the page can show them in its language. They
//! are templates for [`fill`] with placeholders in ascending order:
//!
//! - `{0}`: any text, which may itself be one of these
//! - `{0#}`: decimal digits
//! - `{0!}`: one of these texts without a placeholder
//! - `{0~}`: one of these texts

use std::fmt::{Display, Write as _};

/// A template with its placeholders filled: `{0}` by the first of `parts`, and so on. The mark in a
/// placeholder has no effect here.
pub fn fill<P: Display + ?Sized>(template: &str, parts: &[&P]) -> String {
    let mut text = String::with_capacity(template.len() + 16);
    let mut rest = template;
    while let Some(at) = rest.find('{') {
        let gap = rest[at + 1..].find('}').map(|length| &rest[at + 1..at + 1 + length]);
        let number =
            gap.and_then(|gap| gap.trim_end_matches(['#', '!', '~']).parse::<usize>().ok());
        let part = number.and_then(|number| parts.get(number));
        let (Some(gap), Some(part)) = (gap, part) else { break };
        text.push_str(&rest[..at]);
        write!(text, "{part}").ok();
        rest = &rest[at + gap.len() + 2..];
    }
    text + rest
}

macro_rules! templates {
    ($($name:ident: $text:literal;)*) => {
        $(#[doc = concat!("`", $text, "`")] pub const $name: &str = $text;)*

        /// All templates. Of two templates that match one text, the more specific one comes first.
        pub const ALL: &[&str] = &[$($text),*];
    };
}

templates! {
    // Compositions
    WITH_CODE: "{0} ({1#})";
    LOST_FOR: "{0}; bytes not delivered to {1!}: {2#}";
    LOST: "{0}; bytes not delivered: {1#}";
    CUT_OFF_AFTER: "{0}; cut off";
    AND: "{0}; {1~}";
    TRIED: "{0} ({1#} addresses tried)";

    // Peers
    CLIENT: "the client";
    UPSTREAM: "the upstream";

    // Ends by the server
    SHUTDOWN: "the server is shutting down";
    RESTART: "the server restarts: reconnect in a moment";
    SHUT_DOWN: "the server shut down";
    IDLE: "idle timeout (--idle-timeout)";
    BY_OPERATOR: "closed by an operator";
    CUT_OFF: "cut off";
    CUT_OFF_BY_SHUTDOWN: "cut off at the end of the shutdown (--drain)";

    // Ends of connections to services
    CLIENT_CLOSED: "the client closed the connection";
    SERVICE_CLOSED: "the service closed the connection";
    ANSWERED_ONCE: "the only message was answered (?once)";
    CONNECTION_FAILED: "connection failed: {0}";
    NO_DATAGRAM: "no datagram for {0}";
    SOCKET_CLOSED: "the socket was closed";
    SOCKET_REASSIGNED: "the socket belongs to another service since a reload";

    // Ends of the peers of a relay
    BOTH_ENDED: "both sides ended the stream";
    PEER_ENDED: "{0!} ended the stream";
    PEER_CLOSED: "{0!} closed";
    PEER_CLOSED_WITH: "{0!} closed: {1}";
    PEER_LEFT: "{0!} went away without a Close";
    PEER_ENDED_WITHOUT_CLOSE: "{0!} ended without a Close";
    PEER_SILENT: "{0!} did not answer a Ping";
    PEER_STOPPED_READING: "{0!} stopped reading";
    PEER_RESET: "{0!} reset the connection";
    PEER_TIMED_OUT: "{0!} timed out";
    PEER_WAS: "{0!} was {1}";
    PEER_FAILED: "{0!} failed: {1}";
    PEER_DISCONNECTED: "{0!}'s connection failed";
    PEER_DISCONNECTED_BY: "{0!}'s connection failed: {1}";
    PEER_VIOLATED: "{0!} violated the protocol: {1}";
    PEER_SENT_TOO_MUCH: "{0!} sent a message of more than {1#} bytes";
    PEER_SENT_INVALID_TEXT: "{0!} sent text that is not valid UTF-8";
    PEER_NOT_ASKED: "{0!} sent bytes that no message asked for (framing=message)";
    PEER_OWES_REPLIES: "{0!} ended before every message had its reply";
    PEER_CUT_RECORD: "{0!} ended within a record (framing=length)";
    NO_PROGRESS: "no progress for {0#} s in the delivery of last bytes";
    CLOSED_EARLY: "it was closed before it took everything";

    // Violations of RFC 6455
    RESERVED_BITS: "reserved bits are set in a frame header";
    RESERVED_OPCODE: "reserved opcode {0#}";
    UNMASKED: "a frame is not masked";
    MASKED: "a frame is masked";
    FRAGMENTED_CONTROL: "a control frame is fragmented";
    LONG_CONTROL: "a control frame is longer than 125 bytes";
    BAD_LENGTH: "a frame's length is badly encoded";
    NOTHING_TO_CONTINUE: "a continuation frame, but no message to continue";
    MESSAGE_IN_MESSAGE: "a new message before the end of the last one";
    INVALID_TEXT: "a text message is not valid UTF-8";
    SHORT_CLOSE: "the payload of a Close frame is a single byte";
    BAD_CLOSE_CODE: "close code {0#} may not be sent";
    INVALID_REASON: "a close reason is not valid UTF-8";
    TOO_BIG: "a message is larger than {0#} bytes";
    MESSAGE_AFTER_END: "a message after the end of input (half-close)";

    // Failures to connect to an upstream
    REFUSED: "the upstream refused the connection";
    BACKLOG_FULL: "the upstream's listen backlog is full";
    UNREACHABLE: "the upstream cannot be reached: {0}";
    DIAL_TIMEOUT: "the upstream did not answer within {0} (--dial-timeout)";
    UNRESOLVED: "the upstream's host name cannot be resolved: {0}";
    RESOLVER_TIMEOUT: "no answer within {0} (--dial-timeout)";
    NO_ADDRESS: "the name has no address";
    PROXY_FAILED: "the proxy cannot connect to the upstream: {0}";
    PROXY_SILENT: "the proxy closed the connection without an answer";
    UPSTREAM_RESPONDED: "{0!} responded {1}";
    CLOSED_IN_HANDSHAKE: "{0!} closed the connection during the WebSocket handshake";
    NO_HANDSHAKE_RESPONSE: "no response to the WebSocket handshake";

    // A proxy on the way to an upstream
    PROXY_NOT_HTTP: "the proxy's response is not HTTP";
    PROXY_LONG_HEAD: "the head of the proxy's response exceeds 16 KiB";
    PROXY_NOT_SOCKS: "the proxy's response is not SOCKS5 (http:// is for HTTP proxies)";
    PROXY_STATUS_WRONG_PASSWORD: "{0}: the user name or password is wrong";
    PROXY_STATUS_NO_PASSWORD:
        "{0}: its URL needs a user name and password (http://USER:PASSWORD@HOST:PORT)";
    PROXY_WRONG_PASSWORD: "the user name or password is wrong";
    PROXY_NO_PASSWORD:
        "authentication is required: its URL needs a user name and password (socks5h://USER:PASSWORD@HOST:PORT)";
    PROXY_TAKES_NO_PASSWORD: "authentication by user name and password is not accepted";
    HOST_WITHOUT_ADDRESS: "the host name has no address";
    SOCKS_REPLY: "{0!} (SOCKS reply {1#})";
    SOCKS_FAILURE: "general failure";
    SOCKS_RULES: "the connection is not allowed by its rules";
    SOCKS_NETWORK: "the network is unreachable";
    SOCKS_HOST: "the host is unreachable";
    SOCKS_REFUSED: "the destination refused the connection";
    SOCKS_TTL: "the time to live has expired";
    SOCKS_NO_CONNECT: "it does not support CONNECT";
    SOCKS_ADDRESS_TYPE: "it does not support this type of address";
    SOCKS_UNKNOWN: "unknown reply";

    // TLS with an upstream
    TLS_ENDED: "{0!} ended the connection during the TLS handshake";
    TLS_ECHOED: "{0!} does not speak TLS: it echoed the ClientHello";
    TLS_NOT_SPOKEN: "{0!} does not speak TLS";
    TLS_REFUSED: "{0!} refused the TLS handshake: {1}";
    TLS_OLD: "{0!} speaks neither TLS 1.2 nor TLS 1.3";
    TLS_NOTHING_SHARED:
        "{0!} shares no cipher suite, key exchange or signature scheme with this side";
    TLS_NO_PROTOCOL: "{0!} offers no application protocol (ALPN) that is supported here";
    TLS_FAILED: "the TLS handshake with {0!} failed: {1}";
    TLS_CUT_OFF: "cut off: TCP ended before TLS did (no close_notify)";

    // Alerts of TLS: their meanings for their senders, with their names (RFC 8446, section 6.2)
    TLS_ALERT: "{0!} ({1})";
    TLS_ENDED_BY_ALERT: "the peer ended TLS: {0}";
    ALERT_CERTIFICATE_REQUIRED: "it requires a client certificate";
    ALERT_NO_PROTOCOL: "it supports none of the application protocols offered (ALPN)";
    ALERT_VERSION: "it speaks neither TLS 1.2 nor TLS 1.3";
    ALERT_NOTHING_SHARED:
        "it shares no cipher suite with this side, or requires a client certificate";
    ALERT_HOST_NAME: "it has no certificate for the host name";
    ALERT_CERTIFICATE: "it does not accept the certificate";
    ALERT_ACCESS: "access is denied";
    ALERT_INTERNAL: "an internal error";
    ALERT_VIOLATION: "a protocol violation";

    // Certificates
    CERTIFICATE_EXPIRED: "{0!}'s certificate has expired";
    CERTIFICATE_EARLY: "{0!}'s certificate is not valid yet";
    CERTIFICATE_NAME: "{0!}'s certificate is not for {1}";
    CERTIFICATE_SIGNATURE: "{0!}'s certificate is not trusted: its issuer has not signed it";
    CERTIFICATE_ISSUER: "{0!}'s certificate is not trusted: its issuer is unknown";
    CERTIFICATE_SELF_SIGNED:
        "{0!}'s certificate is not trusted: it is self-signed, or of a CA (CA:TRUE)";
    CERTIFICATE_OTHER: "{0!}'s certificate is not trusted: {1}";

    // Limits
    SERVER_FULL: "the server is full (--max-connections {0#})";
    ADDRESS_FULL: "too many connections from {0} (--max-per-address {1#})";
    ROUTE_FULL: "the route or forward is full (max={0#})";
    NO_DESCRIPTORS: "all {0#} file descriptors of the server are in use (ulimit -n)";
    TOO_MANY_SUBSCRIBERS: "too many subscribers of /api/events (64, and 16 of one address)";
    TOO_MANY_OBSERVERS: "too many observers of connections (64, and 16 of one address)";
    OBSERVED_ENDED: "the connection has ended";
    OBSERVERS_FULL: "the connection has {0#} observers already";
    OBSERVERS_SLOW: "too many events wait for the observers of connections: one of them does not read";

    // Policy
    MANY_ORIGINS: "the request has more than one Origin header";
    ORIGIN_REFUSED: "origin {0} is not allowed (--allow-origin): {1}";
    ORIGIN_WITHOUT_HOST: "it names no host";
    ORIGIN_BEHIND_HTTPS: "X-Forwarded-Proto is https";
    ORIGIN_BEHIND_HTTP: "X-Forwarded-Proto is http";
    ORIGIN_AT_HTTPS: "this server is https";
    ORIGIN_AT_HTTP: "this server is http";
    ORIGIN_OF_OTHER_HOST: "{0} is {1}; a proxy must pass the original Host on";
    NO_HOST: "the request has no Host header";
    HOST_REFUSED: "host \"{0}\" is not allowed (add it with --allow-host)";
    ROUTE_LOOP: "this request has passed this route already: the route leads to itself";
    NO_ROUTE: "no such route: {0}";

    // Access to the API
    FOREIGN_PAGE: "pages of other origins may not use the API";
    NO_CONNECTION: "no open connection has the ID {0} (/api/connections lists them)";
    OF_REPLICA_AT: "connection {0} is connection {1} of replica \"{2}\": ask that replica at {3}";
    OF_REPLICA: "connection {0} is connection {1} of replica \"{2}\": ask that replica";
    NO_TAPS: "taps are disabled (--no-tap)";
    NO_CONTROL: "ends by the API are disabled (--no-control)";
    TAP: "a tap";
    CLOSING: "closing a connection";
    DRAIN: "a drain";
    DETAILS: "a detailed response";
    WRONG_TOKEN: "Authorization: expected Bearer and the operators' token";
    OPERATORS_TOKEN_NEEDED:
        "operators present their token on this connection: {0!} needs the token (Authorization: Bearer TOKEN)";
    REMOTE_TOKEN_NEEDED:
        "{0!} from another machine needs the operators' token (Authorization: Bearer TOKEN)";
    PROXIED_TOKEN_NEEDED:
        "{0!} through a proxy needs --forwarded-from for the proxy, or the operators' token (Authorization: Bearer TOKEN)";

    // Errors of the operating system and of its resolver, as the server words them
    IO_REFUSED: "connection refused";
    IO_RESET: "connection reset by peer";
    IO_RESET_KIND: "connection reset";
    IO_PIPE: "broken pipe";
    IO_TIMED_OUT: "connection timed out";
    IO_TIMED_OUT_KIND: "timed out";
    IO_NETWORK: "network is unreachable";
    IO_NETWORK_KIND: "network unreachable";
    IO_HOST: "no route to host";
    IO_HOST_KIND: "host unreachable";
    IO_NO_FILE: "no such file or directory";
    IO_DENIED: "permission denied";
    IO_NO_PROCESS: "port unreachable: no process listens on it";
    NO_NAME: "name or service not known";
    NO_NAME_NOW: "temporary failure in name resolution";
    NO_ADDRESS_OF_NAME: "no address associated with hostname";
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn placeholders_are_filled_in_any_order_and_other_braces_stay() {
        assert_eq!(fill("{1} of {0}", &["a", "b"]), "b of a");
        assert_eq!(fill("{0}{0}", &["{0}"]), "{0}{0}");
        assert_eq!(fill("{2} {", &["a"]), "{2} {");
        assert_eq!(fill(RESERVED_OPCODE, &[&3]), "reserved opcode 3");
        assert_eq!(fill(PEER_CLOSED_WITH, &[UPSTREAM, "bye"]), "the upstream closed: bye");
    }
}
