//! Addresses that HTTP is served on.

use std::str::FromStr;

use echogate_proto::endpoint::{Address, EndpointError, HostPort};

use super::{
    ListenAddr,
    listener::socket_path,
    values::{check_host, known_options, parse_endpoint},
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
            return match text.parse() {
                Ok(port) if text.bytes().all(|b| b.is_ascii_digit()) => {
                    Ok(HttpAddress::Port(HostPort { host: "localhost".to_owned(), port }))
                }
                _ => host_port(text).map(HttpAddress::Port),
            };
        };
        Ok(HttpAddress::Url(match scheme.to_ascii_lowercase().as_str() {
            "http" => ListenAddr::Tcp(host_port(without_path(rest)?)?),
            "https" => ListenAddr::Tls(host_port(without_path(rest)?)?),
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

/// The authority of a URL, which may end in a slash.
fn without_path(rest: &str) -> Result<&str, String> {
    match rest.split_once(['/', '?', '#']) {
        None | Some((_, "")) => Ok(rest.trim_end_matches('/')),
        Some(_) => {
            Err("only a host and a port may follow the scheme (--base-path sets a path)".to_owned())
        }
    }
}

fn host_port(text: &str) -> Result<HostPort, String> {
    let at: HostPort = text.parse().map_err(|e: EndpointError| e.to_string())?;
    check_host(&at.host)?;
    Ok(at)
}
