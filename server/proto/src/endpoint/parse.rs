//! The parser of endpoint URLs.

use std::{net::Ipv6Addr, str::FromStr};

use super::{
    Address, Credentials, Endpoint, EndpointError, HostPort, MAX_UNIX_PATH, UnixPath,
    percent::{decode, decode_text, encode},
};

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        if text.chars().any(char::is_control) || text.trim() != text {
            return Err(EndpointError::BadCharacter);
        }
        let (scheme, rest) = text.split_once(':').ok_or(EndpointError::NoScheme)?;
        let websocket =
            ["ws", "wss", "http", "https"].iter().any(|ws| scheme.eq_ignore_ascii_case(ws));
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

impl Endpoint {
    /// Parses a URL with options. Those of a WebSocket URL follow `#`, since its query belongs to
    /// the request and a WebSocket URL has no fragment (RFC 6455 section 3).
    ///
    /// # Errors
    ///
    /// The URL or an option is invalid.
    pub fn with_options(text: &str) -> Result<Endpoint, EndpointError> {
        let (url, options) = text.split_once('#').unwrap_or((text, ""));
        let endpoint: Endpoint = url.parse()?;
        match endpoint.address {
            Address::Ws(..) | Address::Wss(..) => {
                Ok(Endpoint { options: parse_options(options)?, ..endpoint })
            }
            _ => text.parse(),
        }
    }
}

/// Removes `USER:PASSWORD@` from `//USER:PASSWORD@HOST…`. Returns the remaining text and the
/// credentials.
fn take_credentials(rest: &str) -> Result<(String, Option<Credentials>), EndpointError> {
    let authority = rest.strip_prefix("//").unwrap_or_default();
    let authority = &authority[..authority.find(['/', '?', '#']).unwrap_or(authority.len())];
    let Some((given, _)) = authority.rsplit_once('@') else {
        // A port that is no number may be the beginning of a password that is not encoded.
        let is_port = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        return match authority.rsplit_once(':') {
            Some((_, port)) if !is_port(port) && !port.ends_with(']') && rest.contains('@') => {
                Err(EndpointError::BadCredentials)
            }
            _ => Ok((rest.to_owned(), None)),
        };
    };
    let (user, password) = given.split_once(':').unwrap_or((given, ""));
    let decoded = |text| decode_text(text).map_err(|_| EndpointError::BadCredentials);
    let (user, password) = (decoded(user)?, decoded(password)?);
    let behind = &rest["//".len() + given.len() + "@".len()..];
    Ok((format!("//{behind}"), Some(Credentials { user, password })))
}

/// Parses an address. `rest` is the text after `scheme` and its colon.
fn parse_address(scheme: &str, rest: &str) -> Result<Address, EndpointError> {
    let behind_slashes = |scheme| rest.strip_prefix("//").ok_or(EndpointError::NoSlashes(scheme));
    match &*scheme.to_ascii_lowercase() {
        "tcp" => authority_only(behind_slashes("tcp")?, "tcp").map(Address::Tcp),
        "tls" => authority_only(behind_slashes("tls")?, "tls").map(Address::Tls),
        "udp" => authority_only(behind_slashes("udp")?, "udp").map(Address::Udp),
        "unix" => absolute_path(behind_slashes("unix")?).map(Address::Unix),
        "unixgram" => absolute_path(behind_slashes("unixgram")?).map(Address::UnixGram),
        "ws" | "http" => authority_and_path(behind_slashes("ws")?, 80)
            .map(|(host_port, path)| Address::Ws(host_port, path)),
        "wss" | "https" => authority_and_path(behind_slashes("wss")?, 443)
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

fn parse_options(text: &str) -> Result<Vec<(String, String)>, EndpointError> {
    text.split('&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| match pair.split_once('=') {
            Some(("", _)) => Err(EndpointError::BadOption(pair.to_owned())),
            Some((key, value)) => {
                let bad = |_| EndpointError::BadOptionValue(key.to_owned());
                Ok((decode_text(key)?, decode_text(value).map_err(bad)?))
            }
            None => Ok((decode_text(pair)?, String::new())),
        })
        .collect()
}

impl FromStr for HostPort {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, EndpointError> {
        let (host, port) = split_authority(text)?;
        let port = port.ok_or(EndpointError::NoPort)?;
        Ok(HostPort { host, port })
    }
}

/// Parses the `/PATH` of `unix:///PATH`.
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

/// Parses the `HOST:PORT` of `scheme://HOST:PORT`, which only a single `/` may follow.
fn authority_only(rest: &str, scheme: &'static str) -> Result<HostPort, EndpointError> {
    let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
    match path {
        _ if authority.contains('@') => Err(EndpointError::StrayUser(scheme)),
        "" | "/" => authority.parse(),
        stray => Err(EndpointError::StrayPath(stray.to_owned(), scheme)),
    }
}

/// Parses `HOST[:PORT][/PATH][?QUERY]`; the query stays with the path.
fn authority_and_path(rest: &str, default_port: u16) -> Result<(HostPort, String), EndpointError> {
    if rest.contains('#') {
        return Err(EndpointError::Fragment);
    }
    let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
    let (host, port) = split_authority(authority)?;
    Ok((HostPort { host, port: port.unwrap_or(default_port) }, request_target(path)))
}

/// Parses `HOST`, `HOST:PORT`, `[V6]` or `[V6]:PORT`.
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

/// Parses the text between brackets: an IPv6 address, and its zone if there is one.
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

/// Parses a host name or an IPv4 address.
fn parse_name(text: &str) -> Result<String, EndpointError> {
    let name = decode_text(text)?;
    let plain = |c: char| !c.is_whitespace() && !c.is_control() && !"/?#@[]:%".contains(c);
    match &*name {
        "" => Err(EndpointError::NoHost),
        name if !name.chars().all(plain) => Err(EndpointError::BadName(name.to_owned())),
        name if name.is_ascii() => Ok(name.to_owned()),
        // A character beyond ASCII may map to one that a name cannot have, as U+02DD to a space.
        name => to_ascii(name)
            .filter(|ascii| ascii.chars().all(plain))
            .ok_or_else(|| EndpointError::BadName(name.to_owned())),
    }
}

/// The ASCII form of an internationalized domain name.
#[cfg(feature = "idn")]
fn to_ascii(name: &str) -> Option<String> {
    idna::domain_to_ascii(name).ok().filter(|name| !name.is_empty())
}

#[cfg(not(feature = "idn"))]
fn to_ascii(_: &str) -> Option<String> {
    None
}

/// The request target of a path and query: the path and special-query percent-encode sets of the
/// URL standard are encoded.
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
