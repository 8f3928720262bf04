//! Endpoint URLs: the address that a listener binds, a route dials or the client connects to.
//!
//! ```text
//! tcp://HOST:PORT   tls://HOST:PORT   udp://HOST:PORT   unix:///PATH   unixgram:///PATH
//! ws://HOST[:PORT][/PATH]   wss://HOST[:PORT][/PATH]   service:NAME
//! ```
//!
//! A URL may end in options, `?KEY=VALUE&KEY=VALUE`; a KEY alone has the empty value. The setting
//! that takes the endpoint decides which options are valid. The query of a WebSocket URL belongs to
//! the request target and is sent to the server: where such a URL has options, they follow `#`
//! ([`Endpoint::with_options`]).
//!
//! The parser accepts schemes in any case; `http` and `https` as `ws` and `wss`, as the WebSocket
//! constructor of browsers does; IPv6 addresses in brackets (RFC 3986 section 3.2.2),
//! with or without a zone (`[fe80::1%25eth0]` as in RFC 6874, or `%eth0`); names beyond ASCII,
//! which become `xn--` names with the feature `idn`; and `USER:PASSWORD@` in WebSocket URLs. In the
//! path of a Unix socket and in options `%XX` stands for any byte. In the path and query of a
//! WebSocket URL the characters that browsers encode are encoded.

mod display;
mod error;
mod parse;
mod percent;

use std::fmt;

pub use self::error::EndpointError;

/// The longest path of a Unix socket, in bytes (`sun_path` without its terminating zero).
const MAX_UNIX_PATH: usize =
    if cfg!(any(target_os = "linux", target_arch = "wasm32")) { 107 } else { 103 };

/// An endpoint: an address and the options given with it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    /// The address.
    pub address: Address,
    /// The options after `?`, or after `#` in a WebSocket URL, in order.
    pub options: Vec<(String, String)>,
    /// The user name and password before `@` in a WebSocket URL.
    pub credentials: Option<Credentials>,
}

/// A user name and a password.
#[derive(Clone, PartialEq, Eq)]
pub struct Credentials {
    /// The user name.
    pub user: String,
    /// The password, empty where none is given.
    pub password: String,
}

/// The absolute path of a socket in the file system: any bytes except 0.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct UnixPath(Vec<u8>);

/// The address of an endpoint: its URL without options and credentials.
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

/// A host and a port. An IPv6 host has no brackets; its zone, if any, follows `%`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPort {
    /// A name, or an IPv4 or IPv6 address.
    pub host: String,
    /// The port. A listener with port 0 gets a free port from the system.
    pub port: u16,
}

impl Endpoint {
    /// The value of the option `key`; the last one, if it is given more than once.
    pub fn option(&self, key: &str) -> Option<&str> {
        self.options.iter().rev().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }
}

impl Address {
    /// The scheme of this address.
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

impl HostPort {
    /// The host without the zone of an IPv6 address, which has a meaning on this machine only.
    pub fn without_zone(&self) -> &str {
        match self.host.split_once('%') {
            Some((address, _)) => address,
            None => &self.host,
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

/// Omits the password, so that no log shows it.
impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Credentials").field("user", &self.user).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
