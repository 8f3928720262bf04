//! The endpoint of a command line: a URL or, as other socket clients take it, `HOST:PORT`, `HOST
//! PORT`, `:PORT` or `PORT`.

use std::{net::Ipv6Addr, str::FromStr};

use echogate_proto::endpoint::{Address, Endpoint, EndpointError, HostPort};

use crate::text::escape::escape;

/// The host that a port alone stands for.
const LOOPBACK: &str = "127.0.0.1";

/// The first argument of the target: an endpoint, or a host whose port is the next argument.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum TargetEndpoint {
    Complete(Endpoint),
    Host(String),
}

impl TargetEndpoint {
    /// The endpoint, with the second argument as the port of a host.
    pub(super) fn with_port(&self, port: Option<u16>) -> Result<Endpoint, String> {
        match (self, port) {
            (TargetEndpoint::Complete(endpoint), None) => Ok(endpoint.clone()),
            (TargetEndpoint::Complete(endpoint), Some(port)) => {
                Err(format!("unexpected argument {port}: {endpoint} has a port already"))
            }
            (TargetEndpoint::Host(host), Some(port)) => Ok(tcp(host.clone(), port)),
            (TargetEndpoint::Host(host), None) => {
                Err(format!("{}: no port: expected HOST PORT, HOST:PORT or a URL", escape(host)))
            }
        }
    }
}

impl FromStr for TargetEndpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<TargetEndpoint, EndpointError> {
        let error = match with_loopback(text).parse() {
            Ok(endpoint) => return Ok(TargetEndpoint::Complete(endpoint)),
            Err(error) => error,
        };
        // A name before a colon may be a host as well as a scheme.
        let may_be_host =
            matches!(error, EndpointError::NoScheme | EndpointError::UnknownScheme(_));
        if !may_be_host || text.contains('/') {
            return Err(error);
        }
        if let Ok(port) = text.parse() {
            return Ok(TargetEndpoint::Complete(tcp(LOOPBACK.to_owned(), port)));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(EndpointError::BadPort(text.to_owned()));
        }
        if text.parse::<Ipv6Addr>().is_ok() {
            return Ok(TargetEndpoint::Host(text.to_owned()));
        }
        match with_loopback(text).parse::<HostPort>() {
            Ok(HostPort { host, port }) => Ok(TargetEndpoint::Complete(tcp(host, port))),
            Err(EndpointError::NoPort) => {
                let HostPort { host, .. } = format!("{text}:0").parse()?;
                Ok(TargetEndpoint::Host(host))
            }
            Err(error) => Err(error),
        }
    }
}

/// Parses a port to connect to.
pub(super) fn parse_port(text: &str) -> Result<u16, String> {
    let port = text.parse().ok().filter(|port| *port > 0);
    port.ok_or_else(|| "expected a port from 1 to 65535".to_owned())
}

/// `text` with the loopback address in `:PORT` and `SCHEME://:PORT`.
fn with_loopback(text: &str) -> String {
    match text.strip_prefix(':') {
        Some(_) => format!("{LOOPBACK}{text}"),
        None => text.replacen("://:", &format!("://{LOOPBACK}:"), 1),
    }
}

fn tcp(host: String, port: u16) -> Endpoint {
    let address = Address::Tcp(HostPort { host, port });
    Endpoint { address, options: Vec::new(), credentials: None }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn endpoint(text: &str, port: Option<u16>) -> Result<String, String> {
        let target: TargetEndpoint = text.parse().map_err(|e: EndpointError| e.to_string())?;
        target.with_port(port).map(|endpoint| endpoint.to_string())
    }

    #[test]
    fn a_host_and_a_port_are_tcp_and_a_port_alone_is_on_loopback() {
        for (text, port, expected) in [
            ("tcp://h:1", None, "tcp://h:1"),
            ("h:1", None, "tcp://h:1"),
            ("h", Some(1), "tcp://h:1"),
            ("service", Some(1), "tcp://service:1"),
            ("192.0.2.1:7", None, "tcp://192.0.2.1:7"),
            ("192.0.2.1", Some(7), "tcp://192.0.2.1:7"),
            ("[::1]:7", None, "tcp://[::1]:7"),
            ("::1", Some(7), "tcp://[::1]:7"),
            ("[::1]", Some(7), "tcp://[::1]:7"),
            ("7", None, "tcp://127.0.0.1:7"),
            (":7", None, "tcp://127.0.0.1:7"),
            ("udp://:7", None, "udp://127.0.0.1:7"),
            ("http://:7/a", None, "ws://127.0.0.1:7/a"),
        ] {
            assert_eq!(endpoint(text, port).as_deref(), Ok(expected), "{text} {port:?}");
        }
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_the_reason() {
        for (text, port, complaint) in [
            ("h", None, "h: no port: expected HOST PORT"),
            ("tcp://h:1", Some(2), "unexpected argument 2: tcp://h:1 has a port already"),
            ("h:1", Some(2), "has a port already"),
            ("tcp://h", None, "no port"),
            ("htp://h:1", None, "unknown scheme \"htp\""),
            ("h:http", None, "bad port \"http\""),
            ("h:99999", None, "bad port \"99999\""),
            ("99999", None, "bad port \"99999\""),
            ("a b", Some(1), "white space"),
            ("", Some(1), "no host"),
            ("run/x.sock", None, "no scheme"),
        ] {
            let error = endpoint(text, port).unwrap_err();
            assert!(error.contains(complaint), "{text} {port:?}: {error}");
        }
    }
}
