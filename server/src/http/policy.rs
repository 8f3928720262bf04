//! Which pages may connect. A browser lets any page open a WebSocket to any host and
//! says in `Origin` which page it was; the server has to look (RFC 6455 section 10.2).

use std::net::IpAddr;

use axum::http::{HeaderMap, header};

/// The reason that a client is refused for, if it is.
///
/// Without `Origin` it is no page, and welcome. With it, it must be a page that this
/// server served, under a name that no stranger controls: an address, `localhost`, or
/// a host allowed by name. (Were any name good enough, a stranger's page could have
/// its name point here: DNS rebinding.)
pub(super) fn refusal(headers: &HeaderMap, hosts: &[String], origins: &[String]) -> Option<String> {
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or("(not ASCII)");
    if origins.iter().any(|allowed| allowed == "*" || allowed.eq_ignore_ascii_case(origin)) {
        return None;
    }
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("");
    let page_host = origin.split_once("://").map_or("", |(_, host)| host);
    if page_host.is_empty() || !page_host.eq_ignore_ascii_case(host) {
        return Some(format!("pages of {origin} may not connect (--allow-origin)"));
    }
    let name = without_port(host);
    let trusted = name.parse::<IpAddr>().is_ok()
        || name.eq_ignore_ascii_case("localhost")
        || name.to_ascii_lowercase().ends_with(".localhost")
        || hosts.iter().any(|allowed| allowed.eq_ignore_ascii_case(name));
    (!trusted).then(|| format!("this server is not known as {name} (--allow-host)"))
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
        let origins = ["https://friend.example".to_owned()];
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
