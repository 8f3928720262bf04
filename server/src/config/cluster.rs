//! `--cluster`: the broker of the replicas.

use std::{fmt, path::PathBuf, str::FromStr};

use echogate_proto::endpoint::{Credentials, HostPort};
use percent_encoding::percent_decode_str;

use crate::{
    net::{authority::Authority, tls::client::ClientTls},
    text::escape::escape,
};

/// The default port of NATS.
const PORT: u16 = 4222;

/// The name of a cluster without the option `name`.
const NAME: &str = "default";

/// The longest name of a cluster, in bytes.
const MAX_NAME: usize = 64;

/// The URL of a broker: `SCHEME://[USER:PASSWORD@|TOKEN@]HOST[:PORT][,HOST[:PORT]...][?OPTIONS]`.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct ClusterUrl {
    /// The servers of the broker, which are tried in turn.
    pub(crate) servers: Vec<HostPort>,
    /// Whether the scheme is `tls`.
    pub(crate) is_tls: bool,
    /// The user name and password, or the token.
    pub(crate) login: Option<Login>,
    /// The option `name`: replicas with the same name form a cluster.
    pub(crate) name: String,
    /// The option `ca`: the file of the CA certificates by which the broker is verified.
    pub(super) ca: Option<PathBuf>,
}

/// The credentials for the broker.
#[derive(Clone, PartialEq, Eq)]
pub(crate) enum Login {
    Password(Credentials),
    Token(String),
}

/// The broker of the replicas, with the CA certificates that the option `ca` names.
#[derive(Clone, Debug)]
pub(crate) struct ClusterSettings {
    pub(crate) url: ClusterUrl,
    /// The verification of a `tls://` broker.
    pub(crate) tls: Option<ClientTls>,
}

/// Settings with the same URL differ if the file of the option `ca` has changed.
impl PartialEq for ClusterSettings {
    fn eq(&self, other: &ClusterSettings) -> bool {
        let has_same_tls = match (&self.tls, &other.tls) {
            (Some(tls), Some(other)) => tls.has_authorities_of(other),
            (tls, other) => tls.is_none() == other.is_none(),
        };
        self.url == other.url && has_same_tls
    }
}

impl FromStr for ClusterUrl {
    type Err = String;

    fn from_str(text: &str) -> Result<ClusterUrl, String> {
        const EXPECTED: &str = "expected nats:// or tls://, and a host";

        let (scheme, rest) = text.split_once("://").ok_or(EXPECTED)?;
        let is_tls = match &*scheme.to_ascii_lowercase() {
            "nats" => false,
            "tls" => true,
            other => return Err(format!("{}:// is not supported: {EXPECTED}", escape(other))),
        };
        let (rest, query) = rest.split_once('?').unwrap_or((rest, ""));
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        let (login, hosts) = match rest.rsplit_once('@') {
            Some((login, hosts)) => (Some(login.parse()?), hosts),
            None => (None, rest),
        };
        let servers = hosts.split(',').map(parse_server).collect::<Result<_, _>>()?;
        let mut url = ClusterUrl { servers, is_tls, login, name: NAME.to_owned(), ca: None };
        for option in query.split('&').filter(|option| !option.is_empty()) {
            let (key, value) = option.split_once('=').unwrap_or((option, ""));
            let value = decode(value)?;
            match key {
                "name" => url.name = checked_name(value)?,
                "ca" if is_tls => url.ca = Some(value.into()),
                "ca" => return Err("the option ca needs a broker with TLS (tls://)".to_owned()),
                other => {
                    return Err(format!(
                        "unknown option \"{}\": expected name or ca",
                        escape(other)
                    ));
                }
            }
        }
        Ok(url)
    }
}

fn parse_server(text: &str) -> Result<HostPort, String> {
    let with_port = match Authority::split(text) {
        (host, "") => format!("{host}:{PORT}"),
        _ => text.to_owned(),
    };
    let at: HostPort = with_port.parse().map_err(|e| format!("\"{}\": {e}", escape(text)))?;
    match at.port {
        0 => Err("port 0 cannot be connected to".to_owned()),
        _ => Ok(at),
    }
}

/// Checks the name of a cluster, which becomes a part of NATS subjects.
fn checked_name(name: String) -> Result<String, String> {
    let is_valid = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    if (1..=MAX_NAME).contains(&name.len()) && name.chars().all(is_valid) {
        return Ok(name);
    }
    Err(format!("name=\"{}\": expected 1 to {MAX_NAME} letters, digits, - and _", escape(&name)))
}

fn decode(text: &str) -> Result<String, String> {
    let decoded = percent_decode_str(text).decode_utf8();
    decoded.map(Into::into).map_err(|_| "an option or a password is not UTF-8".to_owned())
}

impl FromStr for Login {
    type Err = String;

    /// Parses `USER:PASSWORD` or `TOKEN`, in which `%XX` stands for any byte.
    fn from_str(text: &str) -> Result<Login, String> {
        if text.contains([',', '@', '/']) || text.is_empty() {
            let expected = "credentials are given once, before the first host; write , as %2C, @ \
                            as %40 and / as %2F in them";
            return Err(expected.to_owned());
        }
        Ok(match text.split_once(':') {
            Some((user, password)) => {
                let (user, password) = (decode(user)?, decode(password)?);
                Login::Password(Credentials { user, password })
            }
            None => Login::Token(decode(text)?),
        })
    }
}

/// Writes the URL without credentials and options.
impl fmt::Display for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "tls://" } else { "nats://" })?;
        for (index, server) in self.servers.iter().enumerate() {
            let comma = if index > 0 { "," } else { "" };
            write!(f, "{comma}{server}")?;
        }
        Ok(())
    }
}

/// Writes the URL without credentials, so that no log shows them.
impl fmt::Debug for ClusterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ClusterUrl({self} name={})", self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> ClusterUrl {
        text.parse().unwrap()
    }

    #[test]
    fn a_url_has_servers_credentials_and_a_name() {
        let url = parse("nats://a,[::1]:5?name=blue");
        assert_eq!(url.to_string(), "nats://a:4222,[::1]:5");
        assert_eq!((&*url.name, url.is_tls, url.login.is_none()), ("blue", false, true));
        assert_eq!(parse("tls://h").name, "default");
        let Some(Login::Password(login)) = parse("nats://u:p%40:%2C@h").login else { panic!() };
        assert_eq!((&*login.user, &*login.password), ("u", "p@:,"));
        assert!(
            matches!(parse("nats://secret@h").login, Some(Login::Token(token)) if token == "secret")
        );
    }

    #[test]
    fn credentials_are_not_shown() {
        let url = parse("nats://user:secret@h?name=blue");
        assert_eq!(format!("{url} {url:?}"), "nats://h:4222 ClusterUrl(nats://h:4222 name=blue)");
    }
}
