//! Forwards: sockets whose connections are passed to an upstream.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use echogate_proto::endpoint::Address;

use super::{
    ListenAddr,
    listener::parse_address,
    upstream::TargetSpec,
    values::{SpecError, UPSTREAM_HOST, known_options, parse_bind, parse_endpoint, tcp_url},
};
use crate::recording::model::Traffic;

/// `LISTEN=URL`: a socket and the upstream of its connections.
#[derive(Clone, Debug)]
pub(crate) struct ForwardSpec {
    pub(crate) at: ListenAddr,
    pub(crate) target: TargetSpec,
}

impl ForwardSpec {
    /// Parses the two parts of `LISTEN=URL`. `listen` is a URL, or `[HOST:]PORT` for TCP, where a
    /// port alone means localhost.
    pub(crate) fn new(listen: &str, url: &str) -> Result<ForwardSpec, SpecError> {
        let at = parse_listen(listen).map_err(SpecError::Name)?;
        let target = TargetSpec::parse(url, traffic(&at)).map_err(SpecError::Url)?;
        Ok(ForwardSpec { at, target })
    }
}

/// The kind of data that the clients of a socket send.
fn traffic(at: &ListenAddr) -> Traffic {
    match at {
        ListenAddr::Tcp(_) | ListenAddr::Tls(_) | ListenAddr::Unix(_) => Traffic::Bytes,
        ListenAddr::Udp(_) | ListenAddr::UnixGram(_) => Traffic::Datagrams,
    }
}

fn parse_listen(text: &str) -> Result<ListenAddr, String> {
    if !text.contains("//") {
        return parse_bind(text).map(ListenAddr::Tcp);
    }
    let endpoint = parse_endpoint(text)?;
    let known: &[_] = match endpoint.address {
        Address::Unix(_) | Address::UnixGram(_) => &["mode"],
        _ => &[],
    };
    known_options(&endpoint, known)?;
    parse_address(&endpoint)
}

impl FromStr for ForwardSpec {
    type Err = String;

    /// Splits the text at the first `=` that the URL of an upstream follows, since the options of
    /// the first part contain `=` as well.
    fn from_str(text: &str) -> Result<ForwardSpec, String> {
        let is_url = |url: &str| {
            let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
            !scheme.is_empty() && scheme.bytes().all(|b| b.is_ascii_alphabetic())
                || tcp_url(url, UPSTREAM_HOST).is_some()
        };
        let parts = text.match_indices('=').map(|(at, _)| (&text[..at], &text[at + 1..]));
        let (listen, url) = parts
            .into_iter()
            .find(|(_, url)| is_url(url))
            .ok_or("expected LISTEN=URL, such as 5433=wss://gateway.example/db")?;
        Ok(ForwardSpec::new(listen, url)?)
    }
}

impl Display for ForwardSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} -> {}", self.at, self.target.upstream)
    }
}
