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
//! what follows `?` there is a query, which goes to the server with the path.)
//!
//! URLs are taken as people have them: schemes in any case; an IPv6 address in brackets (RFC 3986
//! section 3.2.2), with or without a zone (`[fe80::1%25eth0]` as in RFC 6874, or `%eth0`); names
//! beyond ASCII, which become `xn--` names with the feature `idn`; `USER:PASSWORD@` in front of a
//! WebSocket server's host. The path of a Unix socket and options stand for themselves, `%XX`
//! for any byte. What browsers encode in a WebSocket's path and query is encoded.

use std::{
    fmt::{self, Write},
    net::Ipv6Addr,
    str::FromStr,
};

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
    /// What stood before `@` in a WebSocket URL.
    pub credentials: Option<Credentials>,
}

/// A user's name and password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The name.
    pub user: String,
    /// The password, empty where none is given.
    pub password: String,
}

/// The path of a socket in the file system, absolute: any bytes but 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixPath(Vec<u8>);

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
    Unix(UnixPath),
    /// `unixgram:///PATH`: a datagram socket in the file system
    UnixGram(UnixPath),
    /// `ws://HOST:PORT/PATH?QUERY`; the port is 80 if none is given
    Ws(HostPort, String),
    /// `wss://HOST:PORT/PATH?QUERY`: WebSocket over TLS; the port is 443 if none is given
    Wss(HostPort, String),
    /// `service:NAME`: a built-in service, reached in memory
    Service(String),
}

/// A host name or address (IPv6 without its brackets, its zone behind `%`) and a port.
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
    /// A `%` without two hexadecimal digits, or a byte that cannot stand there.
    #[error("bad percent-encoding in \"{0}\": expected % and two hexadecimal digits (%25 for %)")]
    BadEscape(String),
    /// A name beyond ASCII that is no domain name.
    #[error("bad host \"{0}\": no domain name")]
    BadName(String),
    /// `USER@` where no request could carry it.
    #[error("{0}://USER@HOST: a user name goes with ws:// and wss:// only")]
    StrayUser(&'static str),
    /// `#` in a WebSocket URL (RFC 6455 section 3).
    #[error("a WebSocket URL has no fragment: write # as %23")]
    Fragment,
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
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(EndpointError::BadCharacter);
        }
        let (scheme, rest) = text.split_once(':').ok_or(EndpointError::NoScheme)?;
        let websocket = ["ws", "wss"].iter().any(|ws| scheme.eq_ignore_ascii_case(ws));
        if websocket {
            let (url, credentials) = take_credentials(rest)?;
            let address = parse_address(scheme, &url)?;
            return Ok(Endpoint { address, options: Vec::new(), credentials });
        }
        let (rest, options) = match rest.split_once('?') {
            Some((rest, options)) => (rest, parse_options(options)?),
            None => (rest, Vec::new()),
        };
        Ok(Endpoint { address: parse_address(scheme, rest)?, options, credentials: None })
    }
}

/// `//USER:PASSWORD@HOST…` without the part up to `@`, and what that says.
fn take_credentials(rest: &str) -> Result<(String, Option<Credentials>), EndpointError> {
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    let Some((given, _)) = authority.rsplit_once('@') else { return Ok((rest.to_owned(), None)) };
    let (user, password) = given.split_once(':').unwrap_or((given, ""));
    let (user, password) = (decode_text(user)?, decode_text(password)?);
    let behind = &rest["//".len() + given.len() + "@".len()..];
    Ok((format!("//{behind}"), Some(Credentials { user, password })))
}

/// The address of which `rest` follows the colon behind `scheme`.
fn parse_address(scheme: &str, rest: &str) -> Result<Address, EndpointError> {
    let behind_slashes = |scheme| rest.strip_prefix("//").ok_or(EndpointError::NoSlashes(scheme));
    match &*scheme.to_ascii_lowercase() {
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
        "service" if rest.contains(char::is_whitespace) => Err(EndpointError::BadCharacter),
        "service" => Ok(Address::Service(rest.to_owned())),
        // `127.0.0.1:7007` and `[::1]:7007` have a colon, but no scheme.
        _ if scheme.contains(['.', '[']) || rest.parse::<u16>().is_ok() => {
            Err(EndpointError::NoScheme)
        }
        _ if scheme.contains(char::is_whitespace) => Err(EndpointError::BadCharacter),
        _ => Err(EndpointError::UnknownScheme(scheme.to_owned())),
    }
}

impl HostPort {
    /// The host, an IPv6 address without its zone: that means something to one machine alone.
    pub fn without_zone(&self) -> &str {
        match self.host.split_once('%') {
            Some((address, _)) => address,
            None => &self.host,
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
fn absolute_path(path: &str) -> Result<UnixPath, EndpointError> {
    match path {
        path if path.starts_with('/') && path.len() > 1 => match decode(path)? {
            bytes if bytes.contains(&0) => Err(EndpointError::BadEscape(path.to_owned())),
            bytes if bytes.len() > MAX_UNIX_PATH => Err(EndpointError::LongPath(bytes.len())),
            bytes => Ok(UnixPath(bytes)),
        },
        _ => Err(EndpointError::NoPath),
    }
}

/// The end of `scheme://HOST:PORT`, where nothing but a lone `/` may follow.
fn authority_only(rest: &str, scheme: &'static str) -> Result<HostPort, EndpointError> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match path {
        _ if authority.contains('@') => Err(EndpointError::StrayUser(scheme)),
        "" | "/" => authority.parse(),
        stray => Err(EndpointError::StrayPath(stray.to_owned(), scheme)),
    }
}

/// The end of `scheme://HOST[:PORT][/PATH][?QUERY]`; the query stays with the path.
fn authority_and_path(rest: &str, default_port: u16) -> Result<(HostPort, String), EndpointError> {
    if rest.contains('#') {
        return Err(EndpointError::Fragment);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = split_authority(authority)?;
    Ok((HostPort { host, port: port.unwrap_or(default_port) }, request_target(path)))
}

/// `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
fn split_authority(text: &str) -> Result<(String, Option<u16>), EndpointError> {
    if text.contains(char::is_whitespace) {
        return Err(EndpointError::BadCharacter);
    }
    let bad_host = || EndpointError::BadHost(text.to_owned());
    let (host, port) = if let Some(rest) = text.strip_prefix('[') {
        let (host, rest) = rest.split_once(']').ok_or_else(bad_host)?;
        let host = parse_v6(host).ok_or_else(bad_host)?;
        match rest {
            "" => (host, None),
            _ => (host, Some(rest.strip_prefix(':').ok_or_else(bad_host)?)),
        }
    } else {
        match text.split_once(':') {
            Some((_, port)) if port.contains(':') => return Err(bad_host()),
            Some((host, port)) => (parse_name(host)?, Some(port)),
            None => (parse_name(text)?, None),
        }
    };
    let port = match port {
        Some(digits) if digits.bytes().all(|b| b.is_ascii_digit()) => {
            Some(digits.parse().map_err(|_| EndpointError::BadPort(digits.to_owned()))?)
        }
        Some(other) => return Err(EndpointError::BadPort(other.to_owned())),
        None => None,
    };
    Ok((host, port))
}

/// What stands in brackets: an address, and perhaps its zone.
fn parse_v6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone)),
        None => (text, None),
    };
    address.parse::<Ipv6Addr>().ok()?;
    let Some(zone) = zone else { return Some(address.to_owned()) };
    // RFC 6874 encodes the % before the zone.
    let zone = zone.strip_prefix("25").filter(|zone| !zone.is_empty()).unwrap_or(zone);
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~".contains(c);
    (!zone.is_empty() && zone.chars().all(plain)).then(|| format!("{address}%{zone}"))
}

/// A host's name, or an IPv4 address.
fn parse_name(text: &str) -> Result<String, EndpointError> {
    let name = decode_text(text)?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#@[]:%".contains(c);
    match &*name {
        "" => Err(EndpointError::NoHost),
        name if !name.chars().all(plain) => Err(EndpointError::BadName(name.to_owned())),
        name if name.is_ascii() => Ok(name.to_owned()),
        // A character beyond ASCII may stand for one that a name cannot have, as U+02DD for a space.
        name => to_ascii(name)
            .filter(|ascii| ascii.chars().all(plain))
            .ok_or_else(|| EndpointError::BadName(name.to_owned())),
    }
}

/// A name as the domain name system has it.
#[cfg(feature = "idn")]
fn to_ascii(name: &str) -> Option<String> {
    idna::domain_to_ascii(name).ok().filter(|name| !name.is_empty())
}

#[cfg(not(feature = "idn"))]
fn to_ascii(_: &str) -> Option<String> {
    None
}

/// Path and query as they stand in a request: with what browsers encode there encoded (the path
/// and the special-query percent-encode sets of the URL standard).
fn request_target(text: &str) -> String {
    let (path, query) = match text.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (text, None),
    };
    let mut target = String::new();
    if !path.starts_with('/') {
        target.push('/');
    }
    encode(&mut target, path.as_bytes(), " \"<>^`{}", false);
    if let Some(query) = query {
        target.push('?');
        encode(&mut target, query.as_bytes(), " \"<>'", false);
    }
    target
}

/// Appends `bytes` to `out`, those encoded that are in `set`, control characters, white space or
/// no text, and all beyond ASCII unless that is to be read by people.
fn encode(out: &mut String, bytes: &[u8], set: &str, for_people: bool) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let is_plain = !c.is_control() && !c.is_whitespace() && !set.contains(c);
            if is_plain && (c.is_ascii() || for_people) {
                out.push(c);
            } else {
                push_encoded(out, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        push_encoded(out, chunk.invalid());
    }
}

fn push_encoded(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(out, "%{byte:02X}").expect("a String takes everything");
    }
}

/// The bytes that `text` stands for.
fn decode(text: &str) -> Result<Vec<u8>, EndpointError> {
    let bad = || EndpointError::BadEscape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return Err(bad()) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(*high).ok_or_else(bad)?, digit(*low).ok_or_else(bad)?);
        bytes.push((high << 4 | low) as u8);
        rest = behind;
    }
    Ok(bytes)
}

/// The text that `text` stands for.
fn decode_text(text: &str) -> Result<String, EndpointError> {
    String::from_utf8(decode(text)?).map_err(|_| EndpointError::BadEscape(text.to_owned()))
}

fn parse_options(text: &str) -> Result<Vec<(String, String)>, EndpointError> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some(("", _)) => Err(EndpointError::BadOption(pair.to_owned())),
            Some((key, value)) => Ok((decode_text(key)?, decode_text(value)?)),
            None => Ok((decode_text(pair)?, String::new())),
        })
        .collect()
}

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host.replace('%', "%25"), self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl AsRef<[u8]> for UnixPath {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(unix)]
impl AsRef<std::path::Path> for UnixPath {
    fn as_ref(&self) -> &std::path::Path {
        use std::os::unix::ffi::OsStrExt;

        std::ffi::OsStr::from_bytes(&self.0).as_ref()
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        encode(&mut text, &self.0, "%?#,", true);
        f.write_str(&text)
    }
}

/// A password is for the server alone.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

impl fmt::Display for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        encode(&mut text, self.user.as_bytes(), IN_CREDENTIALS, false);
        if !self.password.is_empty() {
            text.push(':');
            encode(&mut text, self.password.as_bytes(), IN_CREDENTIALS, false);
        }
        f.write_str(&text)
    }
}

/// What is encoded in a name or a password.
const IN_CREDENTIALS: &str = "%:/?#@[]\"<>^`{}|\\";

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
        match (&self.credentials, &self.address) {
            (Some(credentials), Address::Ws(at, path) | Address::Wss(at, path)) => {
                write!(f, "{}://{credentials}@{at}{path}", self.address.scheme())?;
            }
            (_, address) => write!(f, "{address}")?,
        }
        let mut text = String::new();
        for (key, value) in &self.options {
            text.push(if text.is_empty() { '?' } else { '&' });
            encode(&mut text, key.as_bytes(), "%&=#,", true);
            if !value.is_empty() {
                text.push('=');
                encode(&mut text, value.as_bytes(), "%&#,", true);
            }
        }
        f.write_str(&text)
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
            "unix:///a%20dir/b%25%3F%2C%FF/世界",
            "tls://h:1?ca=/My%20Dir/a%26b.pem",
            "tcp://[fe80::1%25eth0]:1",
            "ws://user:p%40ss@h:80/",
            "wss://token@h:443/a?b",
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
    fn urls_are_taken_as_people_have_them() {
        for (text, expected) in [
            ("WS://h/", "ws://h:80/"),
            ("Tcp://h:1", "tcp://h:1"),
            ("WSS://h?A=b", "wss://h:443/?A=b"),
            ("UNIX:///S", "unix:///S"),
            ("ws://h/chât/世 界", "ws://h:80/ch%C3%A2t/%E4%B8%96%20%E7%95%8C"),
            ("ws://h?filter={\"a\":1}&q=<b>'", "ws://h:80/?filter={%22a%22:1}&q=%3Cb%3E%27"),
            ("ws://h/{a}^`%20%zz", "ws://h:80/%7Ba%7D%5E%60%20%zz"),
            ("tcp://[fe80::1%eth0]:1", "tcp://[fe80::1%25eth0]:1"),
            ("tcp://[fe80::1%2]:1", "tcp://[fe80::1%252]:1"),
            ("ws://a:b:c@d@h/", "ws://a:b%3Ac%40d@h:80/"),
            ("ws://:secret@h/", "ws://:secret@h:80/"),
            ("unix:///a dir/s", "unix:///a%20dir/s"),
            ("unix:///a%2c%62", "unix:///a%2Cb"),
            ("tls://h:1?ca=/a b", "tls://h:1?ca=/a%20b"),
        ] {
            let endpoint: Endpoint = text.parse().unwrap();
            assert_eq!(endpoint.to_string(), expected);
            assert_eq!(expected.parse(), Ok(endpoint));
        }
    }

    #[cfg(feature = "idn")]
    #[test]
    fn names_beyond_ascii_are_domain_names() {
        for host in ["münchen.test", "MÜNCHEN.test", "m%C3%BCnchen.test"] {
            let endpoint: Endpoint = format!("ws://{host}/").parse().unwrap();
            assert_eq!(endpoint.to_string(), "ws://xn--mnchen-3ya.test:80/");
        }
        assert_eq!(error("tcp://\u{2060}:1"), EndpointError::BadName("\u{2060}".to_owned()));
    }

    #[test]
    fn credentials_and_paths_stand_for_any_text_and_any_byte() {
        let endpoint: Endpoint = "ws://us%65r:p%3A%40@h".parse().unwrap();
        let credentials = Credentials { user: "user".to_owned(), password: "p:@".to_owned() };
        assert_eq!(endpoint.credentials, Some(credentials));
        assert!(!format!("{endpoint:?}").contains("p:@"));
        let Address::Unix(path) = "unix:///%ff%00"[..11].parse::<Endpoint>().unwrap().address
        else {
            panic!()
        };
        assert_eq!(AsRef::<[u8]>::as_ref(&path), b"/\xff");
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
        assert_eq!(error("ws://h /a"), BadCharacter);
        assert_eq!(error("ws://h/a\tb"), BadCharacter);
        assert_eq!(error("unix:///a\0"), BadCharacter);
        assert_eq!(error(" tcp://h:1"), BadCharacter);
        assert_eq!(error("unix:///a%zz"), BadEscape("/a%zz".into()));
        assert_eq!(error("unix:///a%00"), BadEscape("/a%00".into()));
        assert_eq!(error("tcp://user:pass@h:1"), StrayUser("tcp"));
        assert_eq!(error("ws://h/a#b"), Fragment);
        assert_eq!(error("tcp://[h]:1"), BadHost("[h]:1".into()));
        assert_eq!(error("tcp://[fe80::1%]:1"), BadHost("[fe80::1%]:1".into()));
        assert_eq!(error("tcp://a%20b:1"), BadName("a b".into()));
        assert_eq!(error("ws://a\u{2dd}/"), BadName("a\u{2dd}".into()), "it stands for a space");
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic_and_what_it_accepts_it_writes_back(
            text in "((tcp|ws|unix|tls)://)?[/\\[]?\\PC{0,40}",
        ) {
            if let Ok(endpoint) = text.parse::<Endpoint>() {
                prop_assert_eq!(endpoint.to_string().parse::<Endpoint>().unwrap(), endpoint);
            }
        }
    }
}
