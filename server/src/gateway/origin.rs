//! The check of `Origin` and `Host`: the pages that may connect, and the host names under which
//! requests are answered.
//!
//! A browser lets any page open a WebSocket to any host, and names the page's origin in `Origin`:
//! the server has to decide (RFC 6455 section 10.2). A `Host` equal to the origin's host is no proof
//! that the page is the server's own: an attacker can have a name resolve to this server (DNS
//! rebinding). So the host name must be a local or a configured one as well.

use std::{fmt, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};
use echogate_proto::reason::{self, fill};

use crate::{
    config::{AllowedOrigin, Origin, default_port},
    context::ServerContext,
    net::{
        authority::{AllowedHost, Authority},
        forwarded::Forwarded,
    },
    text::escape,
};

/// A check of the origin of a page, by the settings and by how the client reached this server.
#[derive(Debug)]
pub(crate) struct OriginCheck<'a> {
    /// Whether the request came over TLS.
    pub(crate) is_tls: bool,
    /// The forwarding headers, if the request came through a trusted proxy.
    pub(crate) forwarded: Option<&'a Forwarded>,
    /// The hosts of `--allow-host`.
    pub(crate) hosts: &'a [AllowedHost],
    /// The origins of `--allow-origin`.
    pub(crate) origins: &'a [AllowedOrigin],
}

impl OriginCheck<'_> {
    /// The reason to refuse a handshake; `None` if the client may connect.
    ///
    /// A client without `Origin` is not a page and may connect. A page may connect if
    /// `--allow-origin` names its origin, or if it comes from this server: same scheme, host and
    /// port, and a host name that is local or allowed.
    pub(crate) fn refusal(&self, headers: &HeaderMap) -> Option<String> {
        let mut lines = headers.get_all(header::ORIGIN).into_iter();
        let line = lines.next()?;
        if lines.next().is_some() {
            return Some(reason::MANY_ORIGINS.to_owned());
        }
        let origin = line.to_str().ok().and_then(Origin::parse);
        if self.origins.iter().any(|allowed| allowed.allows(origin.as_ref())) {
            return None;
        }
        let origin_text = escape::bytes(line.as_bytes());
        let not_allowed = |why: String| Some(fill(reason::ORIGIN_REFUSED, &[&origin_text, &why]));
        let Some(Origin::Tuple { scheme, host, port }) = origin else {
            return not_allowed(reason::ORIGIN_WITHOUT_HOST.to_owned());
        };
        let forwarded_scheme = self.forwarded.and_then(|forwarded| forwarded.scheme);
        let (allowed_schemes, scheme_is_from) = match forwarded_scheme {
            Some("https") => (&["https"][..], reason::ORIGIN_BEHIND_HTTPS),
            Some(_) => (&["http"][..], reason::ORIGIN_BEHIND_HTTP),
            None if self.is_tls => (&["https"][..], reason::ORIGIN_AT_HTTPS),
            // A proxy that terminates TLS may send no X-Forwarded-Proto.
            None => (&["http", "https"][..], reason::ORIGIN_AT_HTTP),
        };
        if !allowed_schemes.contains(&&*scheme) {
            return not_allowed(scheme_is_from.to_owned());
        }
        let forwarded_host = self.forwarded.and_then(|forwarded| forwarded.host.clone());
        let host_header = if forwarded_host.is_some() { "X-Forwarded-Host" } else { "Host" };
        let Some(addressed) = forwarded_host.or_else(|| host_of(headers)) else {
            return not_allowed(reason::NO_HOST.to_owned());
        };
        let default_port = default_port(&scheme);
        if host != addressed.host || port.or(default_port) != addressed.port.or(default_port) {
            let parts = [&host_header as &dyn fmt::Display, &addressed];
            return not_allowed(fill(reason::ORIGIN_OF_OTHER_HOST, &parts));
        }
        host_refusal(&addressed, self.hosts)
    }
}

/// The reason to refuse a request under this host, whose name an attacker may control; `None` if
/// the host is local or allowed.
fn host_refusal(addressed: &Authority, hosts: &[AllowedHost]) -> Option<String> {
    let host = &addressed.host;
    let is_allowed = host.is_local() || hosts.iter().any(|AllowedHost(allowed)| allowed == host);
    (!is_allowed).then(|| fill(reason::HOST_REFUSED, &[host]))
}

/// Answers requests under a host name that an attacker may control with 403: a page under that
/// name could read the response (DNS rebinding). `X-Forwarded-Host` is ignored here: such a page
/// can send it, and its browser may have the address of a trusted proxy.
pub(crate) async fn guard_host(
    State(context): State<Arc<ServerContext>>,
    request: Request,
    next: Next,
) -> Response {
    match refused_host(request.headers(), &context.settings.allow_host) {
        Some(reason) => (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response(),
        None => next.run(request).await,
    }
}

/// The reason why `Host` is not a name of this server; `None` if it is one.
pub(crate) fn refused_host(headers: &HeaderMap, hosts: &[AllowedHost]) -> Option<String> {
    match host_of(headers) {
        Some(addressed) => host_refusal(&addressed, hosts),
        None => Some(reason::NO_HOST.to_owned()),
    }
}

/// The authority in the `Host` header, if there is a valid one.
fn host_of(headers: &HeaderMap) -> Option<Authority> {
    Authority::parse(headers.get(header::HOST)?.to_str().ok()?)
}

/// Checks that there is exactly one `Host`, and that it is well formed (RFC 9112 section 3.2). It
/// may be absent unless `is_required`: in HTTP/1.0 and HTTP/2.
///
/// # Errors
///
/// The violation, as a text for the client.
pub(crate) fn check_host(headers: &HeaderMap, is_required: bool) -> Result<(), String> {
    let mut lines = headers.get_all(header::HOST).into_iter();
    match (lines.next(), lines.next()) {
        (None, _) if is_required => {
            Err("exactly one Host header is required: the request has none".to_owned())
        }
        (None, _) => Ok(()),
        (Some(_), Some(_)) => {
            Err("exactly one Host header is required: the request has more".to_owned())
        }
        (Some(_), None) if host_of(headers).is_some() => Ok(()),
        (Some(line), None) => {
            let host = escape::bytes(line.as_bytes());
            Err(format!("the Host header \"{host}\" is not HOST or HOST:PORT"))
        }
    }
}

/// Whether a handshake was sent by a page in a browser.
///
/// A script in a page cannot read the status of a refused handshake, so a page gets the reason in a
/// Close frame after a 101 response, and other programs get the status. `Origin` alone does not
/// distinguish them: MQTT clients (paho), Python's websocket-client, libwebsockets and `wscat
/// --origin` send it as well. Browsers also send:
///
/// | browser | `User-Agent` | `Sec-Fetch-Site` |
/// | --- | --- | --- |
/// | Chromium, Edge, Android web views | `Mozilla/5.0 …` | no |
/// | Firefox | `Mozilla/5.0 …` | yes |
/// | Safari, iOS web views | `Mozilla/5.0 …` | since 16.4 |
///
/// Other programs send their own name in `User-Agent`, or none. `Sec-Fetch-Mode` is no evidence,
/// since the WebSocket of Node.js sends it.
pub(crate) fn is_page(headers: &HeaderMap) -> bool {
    let has_browser_agent = headers
        .get(header::USER_AGENT)
        .is_some_and(|agent| agent.as_bytes().starts_with(b"Mozilla/"));
    headers.contains_key(header::ORIGIN)
        && (has_browser_agent || headers.contains_key("sec-fetch-site"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::connections::registry::Peer;

    fn headers(lines: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in lines {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    fn forwarded(host: Option<&str>, scheme: Option<&'static str>) -> Forwarded {
        let host = host.map(|host| Authority::parse(host).unwrap());
        Forwarded { client: Peer::Unknown, host, scheme }
    }

    fn refusal(
        lines: &[(&'static str, &str)],
        is_tls: bool,
        forwarded: Option<&Forwarded>,
        origins: &[&str],
    ) -> Option<String> {
        let hosts = ["gate.example".parse().unwrap()];
        let origins: Vec<_> = origins.iter().map(|origin| origin.parse().unwrap()).collect();
        let check = OriginCheck { is_tls, forwarded, hosts: &hosts, origins: &origins };
        check.refusal(&headers(lines))
    }

    #[test]
    fn a_page_of_this_server_and_no_other_may_connect() {
        const PLAIN: bool = false;
        const TLS: bool = true;
        for (is_tls, host, origin, expected) in [
            (PLAIN, "localhost:8080", None, false),
            (PLAIN, "anything.example", None, false),
            (PLAIN, "localhost:8080", Some("http://localhost:8080"), false),
            (PLAIN, "LOCALHOST:8080", Some("http://localhost:8080"), false),
            (PLAIN, "127.0.0.1:8080", Some("http://127.0.0.1:8080"), false),
            (PLAIN, "[::1]:8080", Some("http://[::1]:8080"), false),
            (PLAIN, "[0::1]:8080", Some("http://[::1]:8080"), false),
            (PLAIN, "gate.example", Some("http://gate.example"), false),
            (PLAIN, "gate.example.", Some("http://gate.example"), false),
            (PLAIN, "gate.example", Some("http://gate.example."), false),
            (PLAIN, "localhost:8080", Some("https://friend.example"), false),
            // The default port, and a proxy that speaks TLS.
            (PLAIN, "gate.example:80", Some("http://gate.example"), false),
            (PLAIN, "gate.example", Some("https://gate.example"), false),
            (PLAIN, "gate.example:443", Some("https://gate.example"), false),
            (TLS, "gate.example:443", Some("https://gate.example"), false),
            (TLS, "gate.example", Some("https://gate.example"), false),
            (TLS, "localhost:8443", Some("https://localhost:8443"), false),
            (PLAIN, "gate.example:443", Some("http://gate.example"), true),
            (PLAIN, "gate.example:80", Some("https://gate.example"), true),
            (TLS, "localhost", Some("http://localhost"), true),
            (TLS, "localhost:8443", Some("http://localhost:8443"), true),
            (PLAIN, "localhost", Some("ftp://localhost"), true),
            (PLAIN, "localhost", Some("ws://localhost"), true),
            (PLAIN, "localhost:8080", Some("http://localhost:8081"), true),
            (PLAIN, "localhost:8080", Some("http://localhost"), true),
            (PLAIN, "localhost:8080", Some("http://evil.example"), true),
            (PLAIN, "evil.example:8080", Some("http://evil.example:8080"), true),
            (PLAIN, "localhost:8080", Some("null"), true),
            (PLAIN, "localhost:8080", Some("file://"), true),
            (PLAIN, "localhost:8080", Some(""), true),
            (PLAIN, "localhost", Some("http://localhost http://evil.example"), true),
        ] {
            let mut lines = vec![("host", host)];
            lines.extend(origin.map(|origin| ("origin", origin)));
            let refused = refusal(&lines, is_tls, None, &["https://friend.example"]);
            assert_eq!(refused.is_some(), expected, "{is_tls} {host} {origin:?}: {refused:?}");
        }
    }

    #[test]
    fn two_origins_are_refused_even_where_any_is_allowed() {
        let lines = [("host", "localhost"), ("origin", "http://localhost"), ("origin", "null")];
        assert!(refusal(&lines, false, None, &["*"]).unwrap().contains("Origin"));
        assert_eq!(refusal(&lines[..2], false, None, &["*"]), None);
    }

    #[test]
    fn an_origin_is_compared_with_the_headers_of_trusted_proxies() {
        let origin = |origin| [("host", "127.0.0.1:8080"), ("origin", origin)];
        for (is_tls, host, scheme, page, expected) in [
            (false, Some("gate.example"), Some("https"), "https://gate.example", false),
            (false, Some("gate.example"), None, "https://gate.example", false),
            (true, Some("gate.example"), Some("http"), "http://gate.example", false),
            (false, Some("gate.example"), Some("https"), "http://gate.example", true),
            (true, Some("gate.example"), Some("http"), "https://gate.example", true),
            (false, Some("gate.example"), None, "http://127.0.0.1:8080", true),
            (false, Some("evil.example"), None, "http://evil.example", true),
            (false, None, Some("http"), "http://127.0.0.1:8080", false),
            (false, None, Some("https"), "http://127.0.0.1:8080", true),
        ] {
            let forwarded = forwarded(host, scheme);
            let refused = refusal(&origin(page), is_tls, Some(&forwarded), &[]);
            assert_eq!(refused.is_some(), expected, "{host:?} {scheme:?} {page}: {refused:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_header_and_the_setting() {
        let reason_for = |host, origin, is_tls, forwarded: Option<&Forwarded>| {
            refusal(&[("host", host), ("origin", origin)], is_tls, forwarded, &[]).unwrap()
        };
        assert_eq!(
            reason_for("127.0.0.1", "https://vm", false, None),
            "origin https://vm is not allowed (--allow-origin): Host is 127.0.0.1; \
             a proxy must pass the original Host on"
        );
        let proxied = forwarded(Some("inner"), Some("https"));
        let reason = reason_for("127.0.0.1", "https://vm", false, Some(&proxied));
        assert!(reason.contains("X-Forwarded-Host is inner"), "{reason}");
        let reason = reason_for("127.0.0.1", "http://vm", false, Some(&proxied));
        assert!(reason.contains("X-Forwarded-Proto is https"), "{reason}");
        let reason = reason_for("localhost", "http://localhost", true, None);
        assert!(reason.contains("--allow-origin") && reason.contains("https"), "{reason}");
        let reason = reason_for("vm:8080", "http://vm:8080", false, None);
        assert_eq!(reason, "host \"vm\" is not allowed (add it with --allow-host)");
    }

    #[test]
    fn a_page_is_distinguished_from_programs_that_send_an_origin() {
        const ORIGIN: (&str, &str) = ("origin", "http://localhost:8080");
        const CHROMIUM: &str = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like \
            Gecko) Chrome/126.0.0.0 Safari/537.36";
        const FIREFOX: &str =
            "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0";
        const SAFARI: &str = "Mozilla/5.0 (iPhone; CPU iPhone OS 13_0 like Mac OS X) \
            AppleWebKit/605.1.15 (KHTML, like Gecko) Version/13.0 Mobile/15E148 Safari/604.1";
        let deflate = ("sec-websocket-extensions", "permessage-deflate");
        let no_cache = [("pragma", "no-cache"), ("cache-control", "no-cache")];
        for (client, lines, expected) in [
            (
                "Chromium",
                &[ORIGIN, ("user-agent", CHROMIUM), deflate, no_cache[0], no_cache[1]][..],
                true,
            ),
            (
                "Firefox",
                &[ORIGIN, ("user-agent", FIREFOX), ("sec-fetch-site", "same-origin")],
                true,
            ),
            ("Safari 12", &[ORIGIN, ("user-agent", SAFARI)], true),
            ("a browser with another agent", &[ORIGIN, ("sec-fetch-site", "cross-site")], true),
            ("paho", &[ORIGIN, ("sec-websocket-protocol", "mqtt")], false),
            ("websocket-client", &[ORIGIN], false),
            (
                "websockets",
                &[ORIGIN, ("user-agent", "Python/3.12 websockets/13.0"), deflate],
                false,
            ),
            ("libwebsockets", &[ORIGIN, no_cache[0], no_cache[1]], false),
            ("wscat --origin", &[ORIGIN, deflate], false),
            ("okhttp, React Native", &[ORIGIN, ("user-agent", "okhttp/4.9.2")], false),
            (
                "Node",
                &[ORIGIN, ("user-agent", "node"), ("sec-fetch-mode", "websocket"), deflate],
                false,
            ),
            (".NET, Java, Go", &[], false),
            ("a program that calls itself a browser", &[("user-agent", CHROMIUM)], false),
        ] {
            assert_eq!(is_page(&headers(lines)), expected, "{client}");
        }
    }
}
