//! Origins of pages (RFC 6454) in the `Origin` header and in `--allow-origin`.

use std::{fmt, str::FromStr};

use crate::{
    net::authority::{Authority, Host},
    text::escape::escape,
};

/// An origin, normalized: default ports are left out, so that equal origins compare equal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// `null`: a page without an origin, such as a sandboxed frame or, in most browsers, a local
    /// file.
    Null,
    /// `file://`: a local file in some browsers and embedded web views.
    File,
    /// A scheme, a host and a port.
    Tuple {
        /// The scheme, in lower case.
        scheme: String,
        /// The host.
        host: Host,
        /// The port; None for the default port of the scheme and for schemes without ports.
        port: Option<u16>,
    },
}

/// The default port of `http` and `https`.
pub(crate) fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    }
}

impl Origin {
    /// Parses the value of an `Origin` header.
    pub(crate) fn parse(text: &str) -> Option<Origin> {
        match text {
            "null" => return Some(Origin::Null),
            "file://" => return Some(Origin::File),
            _ => {}
        }
        let (scheme, authority) = text.split_once("://")?;
        let scheme = parse_scheme(scheme)?;
        let Authority { host, port } = Authority::parse(authority)?;
        let port = port.filter(|port| default_port(&scheme) != Some(*port));
        Some(Origin::Tuple { scheme, host, port })
    }
}

/// Parses a scheme (RFC 3986 section 3.1) into lower case.
fn parse_scheme(text: &str) -> Option<String> {
    let is_scheme = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    is_scheme.then(|| text.to_ascii_lowercase())
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Origin::Null => f.write_str("null"),
            Origin::File => f.write_str("file://"),
            Origin::Tuple { scheme, host, port } => {
                write!(f, "{scheme}://{host}")?;
                port.map_or(Ok(()), |port| write!(f, ":{port}"))
            }
        }
    }
}

/// A value of `--allow-origin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum AllowedOrigin {
    /// `*`: any origin.
    Any,
    /// This origin.
    One(Origin),
}

impl AllowedOrigin {
    /// Whether pages of `origin` may connect; None is an origin that cannot be parsed.
    pub(crate) fn allows(&self, origin: Option<&Origin>) -> bool {
        match self {
            AllowedOrigin::Any => true,
            AllowedOrigin::One(one) => origin == Some(one),
        }
    }
}

impl FromStr for AllowedOrigin {
    type Err = String;

    fn from_str(text: &str) -> Result<AllowedOrigin, String> {
        if text == "*" {
            return Ok(AllowedOrigin::Any);
        }
        parse_setting(text).map(AllowedOrigin::One).map_err(|why| {
            let text = escape(text);
            format!("\"{text}\" cannot match any Origin header: {why}")
        })
    }
}

/// Parses an origin that a browser can send.
///
/// # Errors
///
/// Why no browser sends it.
fn parse_setting(text: &str) -> Result<Origin, &'static str> {
    const EXPECTED: &str = "expected SCHEME://HOST[:PORT], null, file:// or *";
    if text.is_empty() {
        return Err("it is empty");
    }
    match text.to_ascii_lowercase().as_str() {
        "null" => return Ok(Origin::Null),
        "file://" => return Ok(Origin::File),
        _ => {}
    }
    let (scheme, authority) = text.split_once("://").ok_or(EXPECTED)?;
    let scheme = parse_scheme(scheme).ok_or(EXPECTED)?;
    if scheme == "ws" || scheme == "wss" {
        return Err("the scheme of a page is http or https");
    }
    if scheme == "file" {
        return Err("local files send file:// or null, without a host or path");
    }
    if authority.is_empty() {
        return Err(EXPECTED);
    }
    if authority.contains(['/', '?', '#']) {
        return Err("an origin has no path, not even a / at its end");
    }
    if authority.contains('@') {
        return Err("an origin has no user name");
    }
    if !authority.contains('[') && authority.matches(':').count() > 1 {
        return Err("an IPv6 address needs brackets");
    }
    let (host, _) = Authority::split(authority);
    let host = Host::parse_setting(host)?;
    let port =
        match Authority::parse(authority).ok_or("its port is not a number from 1 to 65535")? {
            Authority { port: Some(0), .. } => return Err("no page has port 0"),
            Authority { port, .. } => port.filter(|port| default_port(&scheme) != Some(*port)),
        };
    Ok(Origin::Tuple { scheme, host, port })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn allows(allowed: &str, origin: &str) -> bool {
        allowed.parse::<AllowedOrigin>().unwrap().allows(Origin::parse(origin).as_ref())
    }

    #[test]
    fn origins_are_compared_by_scheme_host_and_port() {
        for (allowed, origin, expected) in [
            ("https://friend.example", "https://friend.example", true),
            ("HTTPS://Friend.Example:443", "https://friend.example", true),
            ("https://friend.example.", "https://friend.example", true),
            ("http://friend.example:80", "http://friend.example", true),
            ("http://friend.example:8080", "http://friend.example:8080", true),
            ("http://[0:0::1]:8080", "http://[::1]:8080", true),
            ("chrome-extension://abcdefgh", "chrome-extension://abcdefgh", true),
            ("null", "null", true),
            ("file://", "file://", true),
            ("*", "https://anyone.example", true),
            ("*", "null", true),
            ("*", "nonsense", true),
            ("https://friend.example", "http://friend.example", false),
            ("https://friend.example", "https://friend.example:8443", false),
            ("https://friend.example", "https://friend.example.evil", false),
            ("https://friend.example", "null", false),
            ("null", "file://", false),
            ("file://", "null", false),
            ("null", "", false),
            ("null", "nonsense", false),
        ] {
            assert_eq!(allows(allowed, origin), expected, "{allowed} {origin}");
        }
    }

    #[test]
    fn an_origin_header_is_one_origin() {
        for text in [
            "",
            "http://",
            "http://a http://b",
            "http://a, http://b",
            "http://a/",
            "http://user@a",
            "http://a:x",
            "file:///tmp",
            "//a",
            "a.example",
            "1http://a",
        ] {
            assert_eq!(Origin::parse(text), None, "{text}");
        }
    }

    #[test]
    fn an_allowed_origin_that_cannot_match_is_rejected_with_the_reason() {
        for (wrong, reason) in [
            ("", "empty"),
            ("friend.example", "SCHEME://HOST"),
            ("http://", "SCHEME://HOST"),
            ("https://friend.example/", "no path"),
            ("https://friend.example/path", "no path"),
            ("wss://friend.example", "http or https"),
            ("file:///home/me/page.html", "file://"),
            ("https://*.friend.example", "patterns"),
            ("https://friend.example:*", "port"),
            ("https://friend.example:x", "port"),
            ("https://friend.example:65536", "port"),
            ("http://friend.example:0", "port 0"),
            ("http://user@friend.example", "user"),
            (" https://friend.example", "SCHEME://HOST"),
            ("https://friend.example ", "white space"),
            ("https://münchen.example", "xn--"),
            ("https://::1", "brackets"),
        ] {
            let error = wrong.parse::<AllowedOrigin>().unwrap_err();
            assert!(error.contains(reason) && error.contains(wrong), "{wrong}: {error}");
        }
    }
}
