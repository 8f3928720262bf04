//! Which pages may connect. A browser lets any page open a WebSocket to any host and
//! says in `Origin` which page it was; the server has to look (RFC 6455 section 10.2).

use std::{net::IpAddr, sync::Arc};

use axum::{
    extract::{Request, State},
    http::{HeaderMap, StatusCode, header},
    middleware::Next,
    response::{IntoResponse, Response},
};

use super::handshake::wants_upgrade;
use crate::{config::Origin, shared::Shared};

/// The reason that a client is refused for, if it is.
///
/// Without `Origin` it is no page, and welcome. With it, it must be a page that this
/// server served, under a name that no stranger controls: an address, `localhost`, or
/// a host allowed by name. (Were any name good enough, a stranger's page could have
/// its name point here: DNS rebinding.)
pub(crate) fn refusal(headers: &HeaderMap, hosts: &[String], origins: &[Origin]) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or("(not ASCII)");
    if origins.iter().any(|allowed| allowed.allows(origin)) {
        return None;
    }
    let host = host(headers);
    let page_host = origin.split_once("://").map_or("", |(_, host)| host);
    if page_host.is_empty() || !page_host.eq_ignore_ascii_case(host) {
        return Some(format!("pages of {origin} may not connect (--allow-origin)"));
    }
    host_refusal(headers, hosts)
}

/// The reason that a request under this `Host` is refused for, if it is: a name that a
/// stranger may control.
pub(super) fn host_refusal(headers: &HeaderMap, hosts: &[String]) -> Option<String> {
    let name = without_port(host(headers));
    let trusted = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    (!trusted).then(|| format!("this server is not known as \"{name}\" (--allow-host)"))
}

/// Answers requests under a name that a stranger may control with 403: were they
/// answered, his page could read what this server says of itself (DNS rebinding).
pub(super) async fn guard_host(
    State(shared): State<Arc<Shared>>,
    request: Request,
    next: Next,
) -> Response {
    match host_refusal(request.headers(), &shared.settings.allow_host) {
        // A handshake has its own rule, and its own way to be told.
        Some(reason) if !wants_upgrade(&request) => {
            (StatusCode::FORBIDDEN, format!("{reason}\n")).into_response()
        }
        _ => next.run(request).await,
    }
}

fn host(headers: &HeaderMap) -> &str {
    headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("")
}

/// The host of `HOST[:PORT]`, an IPv6 address without its brackets.
fn without_port(host: &str) -> &str {
    match host.strip_prefix('[') {
        Some(rest) => rest.split_once(']').map_or(rest, |(host, _)| host),
        None => host.split_once(':').map_or(host, |(host, _)| host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(host: &str, origin: Option<&str>) -> bool {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, host.parse().unwrap());
        if let Some(origin) = origin {
            headers.insert(header::ORIGIN, origin.parse().unwrap());
        }
        let hosts = ["gate.example".to_owned()];
        let origins = ["https://friend.example".parse().unwrap()];
        refusal(&headers, &hosts, &origins).is_some()
    }

    #[test]
    fn a_page_of_this_server_and_no_other_may_connect() {
        for (host, origin, expected) in [
            ("localhost:8080", None, false),
            ("anything.example", None, false),
            ("localhost:8080", Some("http://localhost:8080"), false),
            ("127.0.0.1:8080", Some("http://127.0.0.1:8080"), false),
            ("[::1]:8080", Some("http://[::1]:8080"), false),
            ("gate.example", Some("https://gate.example"), false),
            ("localhost:8080", Some("https://friend.example"), false),
            ("localhost:8080", Some("http://localhost:8081"), true),
            ("localhost:8080", Some("http://localhost"), true),
            ("localhost:8080", Some("http://evil.example"), true),
            ("evil.example:8080", Some("http://evil.example:8080"), true),
            ("localhost:8080", Some("null"), true),
            ("localhost:8080", Some(""), true),
        ] {
            assert_eq!(refused(host, origin), expected, "{host} {origin:?}");
        }
    }
}
