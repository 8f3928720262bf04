//! Addresses that HTTP is served on.

use std::str::FromStr;

use echogate_proto::endpoint::{Address, HostPort};

use super::{
    ListenAddr,
    listener::socket_path,
    values::{known_options, parse_bind, parse_endpoint, parse_host_port},
};

/// A value of `--http`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum HttpAddress {
    /// `[HOST:]PORT`: HTTPS if there is a certificate, otherwise HTTP.
    Port(HostPort),
    /// `http://HOST:PORT`, `https://HOST:PORT` or `unix:///PATH`; a Unix socket carries plain HTTP.
    Url(ListenAddr),
}

impl HttpAddress {
    /// The socket to bind: [`ListenAddr::Tls`] for HTTPS.
    pub(super) fn resolve(self, has_certificate: bool) -> ListenAddr {
        match self {
            HttpAddress::Port(at) if has_certificate => ListenAddr::Tls(at),
            HttpAddress::Port(at) => ListenAddr::Tcp(at),
            HttpAddress::Url(at) => at,
        }
    }
}

impl FromStr for HttpAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<HttpAddress, String> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return parse_bind(text).map(HttpAddress::Port);
        };
        Ok(HttpAddress::Url(match scheme.to_ascii_lowercase().as_str() {
            "http" => ListenAddr::Tcp(parse_host_port(without_path(rest)?)?),
            "https" => ListenAddr::Tls(parse_host_port(without_path(rest)?)?),
            "unix" => {
                let endpoint = parse_endpoint(text)?;
                known_options(&endpoint, &["mode"])?;
                let Address::Unix(path) = &endpoint.address else {
                    return Err(format!("{text}: expected unix:///PATH"));
                };
                ListenAddr::Unix(socket_path(&endpoint, path)?)
            }
            _ => {
                return Err(format!(
                    "{text}: expected [HOST:]PORT, http://HOST:PORT, https://HOST:PORT or \
                     unix:///PATH"
                ));
            }
        }))
    }
}

/// Checks that the part of a URL after `://` is an authority, and removes a trailing slash.
fn without_path(rest: &str) -> Result<&str, String> {
    match rest.split_once(['/', '?', '#']) {
        None | Some((_, "")) => Ok(rest.trim_end_matches('/')),
        Some(_) => {
            Err("only a host and a port may follow the scheme (--base-path sets a path)".to_owned())
        }
    }
}
