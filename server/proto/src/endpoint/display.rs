//! Endpoints as URLs, in the form that the parser reads back.

use std::fmt;

use super::{Address, Credentials, Endpoint, HostPort, UnixPath, percent::encode};

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.host.contains(':') {
            write!(f, "[{}]:{}", self.host.replace('%', "%25"), self.port)
        } else {
            write!(f, "{}:{}", self.host, self.port)
        }
    }
}

impl fmt::Display for UnixPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = String::new();
        encode(&mut text, &self.0, "%?#,", true);
        f.write_str(&text)
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

/// The characters that are encoded in a user name or a password.
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
        let is_websocket = matches!(self.address, Address::Ws(..) | Address::Wss(..));
        let begin = if is_websocket { '#' } else { '?' };
        let mut text = String::new();
        for (key, value) in &self.options {
            text.push(if text.is_empty() { begin } else { '&' });
            encode(&mut text, key.as_bytes(), "%&=#,", true);
            if !value.is_empty() {
                text.push('=');
                encode(&mut text, value.as_bytes(), "%&#,", true);
            }
        }
        f.write_str(&text)
    }
}
