//! The URLs that name an endpoint: what a listener binds, a route dials and the
//! client connects to.
//!
//! ```text
//! tcp://HOST:PORT   tls://HOST:PORT   udp://HOST:PORT   unix:///PATH   unixgram:///PATH
//! ws://HOST[:PORT][/PATH]   wss://HOST[:PORT][/PATH]   service:NAME
//! ```
//!
//! Each may end in options, `?KEY=VALUE&KEY=VALUE`, a KEY alone having the empty value;
//! who takes which is the business of the place where the endpoint is given. (A WebSocket URL has none:
//! what follows `?` there is a query, which goes to the server with the path.) An IPv6 address stands in
//! brackets, as in every URL (RFC 3986 section 3.2.2).

use std::{fmt, str::FromStr};

use thiserror::Error;

/// The longest path of a Unix socket that the system takes, in bytes (`sun_path` without its
/// end).
const MAX_UNIX_PATH: usize =
    if cfg!(any(target_os = "linux", target_arch = "wasm32")) { 107 } else { 103 };

/// An endpoint and the options given with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// What the URL names.
    pub address: Address,
    /// What stood behind `?`, in order; empty where there was none.
    pub options: Vec<(String, String)>,
}

/// What an endpoint's URL names, its options aside.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Address {
    /// `tcp://HOST:PORT`
    Tcp(HostPort),
    /// `tls://HOST:PORT`: TLS over TCP
    Tls(HostPort),
    /// `udp://HOST:PORT`
    Udp(HostPort),
    /// `unix:///PATH`: a stream socket in the file system
    Unix(String),
    /// `unixgram:///PATH`: a datagram socket in the file system
    UnixGram(String),
    /// `ws://HOST:PORT/PATH?QUERY`; the port is 80 if none is given
    Ws(HostPort, String),
    /// `wss://HOST:PORT/PATH?QUERY`: WebSocket over TLS; the port is 443 if none is given
    Wss(HostPort, String),
    /// `service:NAME`: a built-in service, reached in memory
    Service(String),
}

/// A host name or address (IPv6 without its brackets) and a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an IPv4 or IPv6 address.
    pub host: String,
    /// 0 asks the system for a free one where a listener is bound.
    pub port: u16,
}

/// Why a text is not an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum EndpointError {
    /// No `SCHEME:` in front.
    #[error("no scheme: expected a URL such as tcp://127.0.0.1:7007")]
    NoScheme,
    /// A scheme that is none of ours.
    #[error("unknown scheme \"{0}\": expected tcp, tls, udp, unix, unixgram, ws, wss or service")]
    UnknownScheme(String),
    /// The `//` behind the scheme is missing.
    #[error("expected \"//\" after \"{0}:\"")]
    NoSlashes(&'static str),
    /// Nothing between `//` and the port.
    #[error("no host")]
    NoHost,
    /// A port is needed and there is none.
    #[error("no port: expected HOST:PORT")]
    NoPort,
    /// The port is not a number from 0 to 65535.
    #[error("bad port \"{0}\": expected a number from 0 to 65535")]
    BadPort(String),
    /// An opening bracket without its end, or colons without brackets.
    #[error("bad host \"{0}\": an IPv6 address stands in brackets, as in [::1]")]
    BadHost(String),
    /// Something follows the port where the scheme has no path.
    #[error("\"{0}\" after the port: a {1} endpoint has no path")]
    StrayPath(String, &'static str),
    /// `unix:` and `unixgram:` want an absolute path.
    #[error("expected an absolute path, as in unix:///run/echogate.sock")]
    NoPath,
    /// `service:` without a name.
    #[error("no service name, as in service:upper")]
    NoService,
    /// An option without a name.
    #[error("bad option \"{0}\": expected KEY=VALUE or KEY")]
    BadOption(String),
    /// A path that no Unix socket can have.
    #[error("the path of a Unix socket has at most {MAX_UNIX_PATH} bytes, this one {0}")]
    LongPath(usize),
    /// White space or control characters.
    #[error("white space or a control character in the URL")]
    BadCharacter,
}

impl Endpoint {
    /// The value of option `key`, the last one if it is given more than once.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

impl Address {
    /// The scheme in front of this address.
    pub fn scheme(&self) -> &'static str {
        match self {
            Address::Tcp(_) => "tcp",
            Address::Tls(_) => "tls",
            Address::Udp(_) => "udp",
            Address::Unix(_) => "unix",
            Address::UnixGram(_) => "unixgram",
            Address::Ws(..) => "ws",
            Address::Wss(..) => "wss",
            Address::Service(_) => "service",
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(EndpointError::BadCharacter);
        }
        let websocket = text.starts_with("ws:") || text.starts_with("wss:");
        let (url, options) = match text.split_once('?') {
            Some((url, options)) if !websocket => (url, parse_options(options)?),
            _ => (text, Vec::new()),
        };
        Ok(Endpoint { address: url.parse()?, options })
    }
}

impl FromStr for Address {
    type Err = EndpointError;

    fn from_str(url: &str) -> Result<Self, EndpointError> {
        let (scheme, rest) = url.split_once(':').ok_or(EndpointError::NoScheme)?;
        let behind_slashes =
            |scheme| rest.strip_prefix("//").ok_or(EndpointError::NoSlashes(scheme));
        match scheme {
            "tcp" => authority_only(behind_slashes("tcp")?, "tcp").map(Address::Tcp),
            "tls" => authority_only(behind_slashes("tls")?, "tls").map(Address::Tls),
            "udp" => authority_only(behind_slashes("udp")?, "udp").map(Address::Udp),
            "unix" => absolute_path(behind_slashes("unix")?).map(Address::Unix),
            "unixgram" => absolute_path(behind_slashes("unixgram")?).map(Address::UnixGram),
            "ws" => authority_and_path(behind_slashes("ws")?, 80)
                .map(|(host_port, path)| Address::Ws(host_port, path)),
            "wss" => authority_and_path(behind_slashes("wss")?, 443)
                .map(|(host_port, path)| Address::Wss(host_port, path)),
            "service" if rest.is_empty() || rest.contains('/') => Err(EndpointError::NoService),
            "service" => Ok(Address::Service(rest.to_owned())),
            // `127.0.0.1:7007` and `[::1]:7007` have a colon, but no scheme.
            other if other.contains(['.', '[']) || rest.parse::<u16>().is_ok() => {
                Err(EndpointError::NoScheme)
            }
            other => Err(EndpointError::UnknownScheme(other.to_owned())),
        }
    }
}

impl FromStr for HostPort {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = split_authority(text)?;
        let port = port.ok_or(EndpointError::NoPort)?;
        Ok(HostPort { host, port })
    }
}

/// The end of `unix:///PATH`.
fn absolute_path(path: &str) -> Result<String, EndpointError> {
    match path {
        path if path.len() > MAX_UNIX_PATH => Err(EndpointError::LongPath(path.len())),
        path if path.starts_with('/') && path.len() > 1 => Ok(path.to_owned()),
        _ => Err(EndpointError::NoPath),
    }
}

/// The end of `scheme://HOST:PORT`, where nothing but a lone `/` may follow.
fn authority_only(rest: &str, scheme: &'static str) -> Result<HostPort, EndpointError> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match path {
        "" | "/" => authority.parse(),
        stray => Err(EndpointError::StrayPath(stray.to_owned(), scheme)),
    }
}

/// The end of `scheme://HOST[:PORT][/PATH][?QUERY]`; the query stays with the path.
fn authority_and_path(rest: &str, default_port: u16) -> Result<(HostPort, String), EndpointError> {
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = split_authority(authority)?;
    let slash = if path.starts_with('/') { "" } else { "/" };
    Ok((HostPort { host, port: port.unwrap_or(default_port) }, format!("{slash}{path}")))
}

/// `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
fn split_authority(text: &str) -> Result<(String, Option<u16>), EndpointError> {
    let bad_host = || EndpointError::BadHost(text.to_owned());
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad_host)?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or_else(bad_host)?)),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(bad_host()),
            Some((host, port)) => (host, Some(port)),
            None => (text, None),
        }
    };
    if host.is_empty() {
        return Err(EndpointError::NoHost);
    }
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| EndpointError::BadPort(digits.to_owned()))?)
        }
        Some(other) => return Err(EndpointError::BadPort(other.to_owned())),
        None => None,
    };
    Ok((host.to_owned(), port))
}

fn parse_options(text: &str) -> Result<Vec<(String, String)>, EndpointError> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some(("", _)) => Err(EndpointError::BadOption(pair.to_owned())),
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Ok((pair.to_owned(), String::new())),
        })
        .collect()
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host, self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = self.scheme();
        match self {
            Address::Tcp(at) | Address::Tls(at) | Address::Udp(at) => write!(f, "{scheme}://{at}"),
            Address::Unix(path) | Address::UnixGram(path) => write!(f, "{scheme}://{path}"),
            Address::Ws(at, path) | Address::Wss(at, path) => write!(f, "{scheme}://{at}{path}"),
            Address::Service(name) => write!(f, "service:{name}"),
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.address)?;
        for (i, (key, value)) in self.options.iter().enumerate() {
            let (before, equals) =
                (if i == 0 { '?' } else { '&' }, if value.is_empty() { "" } else { "=" });
            write!(f, "{before}{key}{equals}{value}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn error(text: &str) -> EndpointError {
        text.parse::<Endpoint>().unwrap_err()
    }

    #[test]
    fn every_scheme_is_read_and_written_back_the_same() {
        for text in [
            "tcp://127.0.0.1:7007",
            "tcp://[::1]:0",
            "tls://example.net:8443?ca=/etc/ca.pem",
            "udp://0.0.0.0:7007",
            "unix:///run/echogate.sock?mode=600",
            "unixgram:///run/echogate.sock",
            "tcp://127.0.0.1:7007?once&a=b",
            "ws://localhost:8080/ws/time",
            "wss://[2001:db8::1]:443/",
            "service:upper?framing=line",
        ] {
            assert_eq!(text.parse::<Endpoint>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn a_websocket_url_has_a_port_and_a_path_even_where_none_is_given() {
        assert_eq!("ws://h".parse::<Endpoint>().unwrap().to_string(), "ws://h:80/");
        assert_eq!("wss://h/a".parse::<Endpoint>().unwrap().to_string(), "wss://h:443/a");
    }

    #[test]
    fn a_websocket_url_keeps_its_query_whatever_its_form() {
        for (text, path) in [("ws://h?token", "/?token"), ("ws://h:1/a?b=c&d", "/a?b=c&d")] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert!(matches!(endpoint.address, Address::Ws(_, got) if got == path), "{text}");
            assert_eq!(endpoint.options, []);
        }
    }

    #[test]
    fn the_last_of_equal_options_holds() {
        let endpoint: Endpoint = "tcp://h:1?framing=line&a=b&framing=text".parse().unwrap();
        assert_eq!(endpoint.option("framing"), Some("text"));
        assert_eq!(endpoint.option("none"), None);
    }

    #[test]
    fn the_path_of_a_unix_socket_is_as_long_as_the_system_takes_it() {
        let path = |len: usize| format!("/{}", "x".repeat(len - 1));
        for scheme in ["unix", "unixgram"] {
            assert!(format!("{scheme}://{}", path(MAX_UNIX_PATH)).parse::<Endpoint>().is_ok());
            let long = format!("{scheme}://{}?mode=600", path(MAX_UNIX_PATH + 1));
            assert_eq!(error(&long), EndpointError::LongPath(MAX_UNIX_PATH + 1));
        }
    }

    #[test]
    fn what_is_wrong_is_named() {
        use EndpointError::*;
        assert_eq!(error("7007"), NoScheme);
        assert_eq!(error("127.0.0.1:7007"), NoScheme);
        assert_eq!(error("[::1]:7007"), NoScheme);
        assert_eq!(error("localhost:7007"), NoScheme);
        assert_eq!(error("http://h:1"), UnknownScheme("http".into()));
        assert_eq!(error("tcp:h:1"), NoSlashes("tcp"));
        assert_eq!(error("tcp://:1"), NoHost);
        assert_eq!(error("tcp://h"), NoPort);
        assert_eq!(error("tcp://h:"), BadPort(String::new()));
        assert_eq!(error("tcp://h:65536"), BadPort("65536".into()));
        assert_eq!(error("tcp://h:+1"), BadPort("+1".into()));
        assert_eq!(error("tcp://::1:7007"), BadHost("::1:7007".into()));
        assert_eq!(error("tcp://[::1:7007"), BadHost("[::1:7007".into()));
        assert_eq!(error("tcp://h:1/path"), StrayPath("/path".into(), "tcp"));
        assert_eq!(error("unix://relative"), NoPath);
        assert_eq!(error("service:"), NoService);
        assert_eq!(error("tcp://h:1?=line"), BadOption("=line".into()));
        assert_eq!(error("tcp://h :1"), BadCharacter);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_accepts_it_writes_back(text in "\\PC{0,40}") {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
