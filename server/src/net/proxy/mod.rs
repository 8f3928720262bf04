//! TCP connections through a proxy: HTTP CONNECT (RFC 9110 section 9.3.6) and SOCKS5 (RFC 1928).
//!
//! - [`Proxy`]: a proxy and its URL
//! - [`connect`]: a connection to a [`Destination`], directly or through its proxy
//! - [`selection`]: the proxy of a destination, by settings and environment
//! - [`no_proxy`]: the hosts that are connected to directly
//! - `http`, `socks5`: the requests to a proxy

mod http;
pub(crate) mod no_proxy;
pub(crate) mod selection;
mod socks5;
#[cfg(test)]
mod tests;

use std::{fmt, io, str::FromStr};

use echogate_proto::{
    endpoint::{Credentials, HostPort},
    reason,
};
use percent_encoding::percent_decode_str;
use thiserror::Error;
use tokio::{
    net::TcpStream,
    time::{Instant, timeout_at},
};

use super::{
    authority::Authority,
    happy_eyeballs::{self, ConnectError, ConnectOptions},
};
use crate::text::{escape::escape, io_error::describe};

#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Proxy {
    protocol: Protocol,
    at: HostPort,
    credentials: Option<Credentials>,
}

/// A host to connect to, and how it is reached.
#[derive(Clone, Debug)]
pub(crate) struct Destination {
    pub(crate) host: HostPort,
    pub(crate) proxy: Option<Proxy>,
    /// The choices for the connection to the host, or to the proxy.
    pub(crate) options: ConnectOptions,
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.host.fmt(f)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    /// HTTP CONNECT. The proxy resolves host names.
    Http,
    /// SOCKS5. This side resolves host names.
    Socks5,
    /// SOCKS5. The proxy resolves host names.
    Socks5h,
}

/// The error of a connection attempt to a destination.
#[derive(Debug)]
pub(crate) enum ConnectionError {
    Direct(ConnectError),
    Proxy(ProxyError),
}

/// The failure of a connection through a proxy, displayed as `proxy URL: REASON`.
#[derive(Debug, Error)]
#[error("proxy {proxy}: {failure}")]
pub(crate) struct ProxyError {
    /// The proxy's URL, without credentials.
    proxy: String,
    pub(crate) failure: ProxyFailure,
}

/// The reason for which a connection through a proxy failed.
#[derive(Debug, Error)]
pub(crate) enum ProxyFailure {
    /// The proxy, or the destination behind it, did not answer in time.
    #[error("no answer")]
    TimedOut,
    /// The proxy cannot be reached, or the connection to it failed.
    #[error("{}", describe(.0))]
    Unreachable(io::Error),
    /// The proxy refused the request, or its answer is invalid.
    #[error("{0}")]
    Refused(String),
}

impl From<io::Error> for ProxyFailure {
    fn from(error: io::Error) -> ProxyFailure {
        match error.kind() {
            io::ErrorKind::UnexpectedEof => ProxyFailure::Refused(reason::PROXY_SILENT.to_owned()),
            _ => ProxyFailure::Unreachable(error),
        }
    }
}

/// Connects to a host before `deadline`: directly by Happy Eyeballs, or through its proxy.
///
/// # Errors
///
/// See [`ConnectionError`].
pub(crate) async fn connect(
    to: &Destination,
    deadline: Instant,
) -> Result<TcpStream, ConnectionError> {
    let Some(proxy) = &to.proxy else {
        let connected = happy_eyeballs::connect(&to.host, to.options, deadline).await;
        return connected.map_err(ConnectionError::Direct);
    };
    tracing::debug!("connecting to {to} through the proxy {proxy}");
    // In a box, so that a direct connection's future has no room for it.
    let connecting = Box::pin(proxy.connect(to, deadline));
    let connected = timeout_at(deadline, connecting).await;
    if connected.is_ok() {
        tracing::debug!("the proxy has connected to {to}");
    }
    connected
        .unwrap_or(Err(ProxyFailure::TimedOut))
        .map_err(|failure| ConnectionError::Proxy(ProxyError { proxy: proxy.to_string(), failure }))
}

impl Proxy {
    async fn connect(
        &self,
        to: &Destination,
        deadline: Instant,
    ) -> Result<TcpStream, ProxyFailure> {
        let (at, credentials) = (&to.host, self.credentials.as_ref());
        let reach = || self.reach(to.options, deadline);
        let authenticated = async || socks5::authenticate(reach().await?, credentials).await;
        match self.protocol {
            Protocol::Http => http::connect(reach().await?, at, credentials).await,
            Protocol::Socks5 => {
                let addresses = socks5::resolve(at).await?;
                let mut last = ProxyFailure::Refused(reason::HOST_WITHOUT_ADDRESS.to_owned());
                for address in addresses {
                    // Without the proxy itself, no address can be reached.
                    let stream = authenticated().await?;
                    match socks5::connect(stream, &socks5::Address::Ip(address)).await {
                        Ok(stream) => return Ok(stream),
                        Err(failure) => last = failure,
                    }
                }
                Err(last)
            }
            Protocol::Socks5h => {
                let to = socks5::Address::of(at)?;
                socks5::connect(authenticated().await?, &to).await
            }
        }
    }

    /// Connects to the proxy itself.
    async fn reach(
        &self,
        options: ConnectOptions,
        deadline: Instant,
    ) -> Result<TcpStream, ProxyFailure> {
        happy_eyeballs::connect(&self.at, options, deadline).await.map_err(|error| match error {
            ConnectError::Unresolved(error) => {
                ProxyFailure::Unreachable(error.of_host(&self.at.host))
            }
            ConnectError::ResolverTimedOut | ConnectError::TimedOut => ProxyFailure::TimedOut,
            ConnectError::Failed { cause, .. } => ProxyFailure::Unreachable(cause),
        })
    }
}

impl FromStr for Proxy {
    type Err = String;

    /// Parses `[SCHEME://][USER:PASSWORD@]HOST[:PORT][/]`. The scheme is `http` by default; the
    /// port 80 for `http`, and 1080 for SOCKS.
    fn from_str(text: &str) -> Result<Proxy, String> {
        const EXPECTED: &str = "expected http://, socks5:// or socks5h://";

        let (scheme, rest) = text.split_once("://").unwrap_or(("http", text));
        let (protocol, default_port) = match &*scheme.to_ascii_lowercase() {
            "http" => (Protocol::Http, 80),
            "socks5" => (Protocol::Socks5, 1080),
            "socks5h" => (Protocol::Socks5h, 1080),
            "https" => return Err(format!("TLS to a proxy is not supported: {EXPECTED}")),
            other => {
                return Err(format!(
                    "{}:// is not supported for a proxy: {EXPECTED}",
                    escape(other)
                ));
            }
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (credentials, authority) = match rest.rsplit_once('@') {
            Some((credentials, authority)) => (Some(parse_credentials(credentials)?), authority),
            None => (None, rest),
        };
        let with_port = match Authority::split(authority) {
            (host, "") => format!("{host}:{default_port}"),
            _ => authority.to_owned(),
        };
        let at: HostPort = with_port
            .parse()
            .map_err(|e| format!("the address of the proxy, \"{}\": {e}", escape(authority)))?;
        if at.port == 0 {
            return Err("port 0 cannot be connected to".to_owned());
        }
        if let Some(credentials) = &credentials {
            check_credentials(credentials, protocol)?;
        }
        Ok(Proxy { protocol, at, credentials })
    }
}

/// Parses `USER[:PASSWORD]`, in which `%XX` stands for any byte.
fn parse_credentials(text: &str) -> Result<Credentials, String> {
    let (user, password) = text.split_once(':').unwrap_or((text, ""));
    let decoded = |text: &str| {
        let decoded = percent_decode_str(text).decode_utf8();
        decoded.map(Into::into).map_err(|_| "the user name or password is not UTF-8".to_owned())
    };
    Ok(Credentials { user: decoded(user)?, password: decoded(password)? })
}

/// Checks that the credentials can be sent over `protocol`.
fn check_credentials(
    Credentials { user, password }: &Credentials,
    protocol: Protocol,
) -> Result<(), String> {
    match protocol {
        Protocol::Http if user.contains(':') => {
            Err("the user name contains a colon, which HTTP cannot send".to_owned())
        }
        Protocol::Http => Ok(()),
        _ if (1..=255).contains(&user.len()) && (1..=255).contains(&password.len()) => Ok(()),
        _ => Err("SOCKS5 needs a user name and a password of 1 to 255 bytes each".to_owned()),
    }
}

/// The URL without credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            Protocol::Http => "http",
            Protocol::Socks5 => "socks5",
            Protocol::Socks5h => "socks5h",
        };
        write!(f, "{scheme}://{}", self.at)
    }
}

/// The URL without credentials, so that no log shows them.
impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Proxy({self})")
    }
}
