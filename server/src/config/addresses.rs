//! A check that no two sockets have the same address.

use std::{
    fmt::{self, Display},
    net::IpAddr,
};

use echogate_proto::endpoint::HostPort;

use super::{Bind, ForwardSpec, ListenAddr, ListenerSpec, SocketPath, sources::Setting};

/// A socket to be bound.
struct Socket<'a> {
    address: Address<'a>,
    /// The setting that gives the socket; None for a default.
    setting: Option<Setting<'a>>,
    /// The socket in error messages.
    description: String,
}

/// The address of a socket before it is bound: a host name is not resolved.
enum Address<'a> {
    Tcp(&'a HostPort),
    Udp(&'a HostPort),
    Path(&'a SocketPath),
}

impl<'a> From<&'a ListenAddr> for Address<'a> {
    fn from(at: &'a ListenAddr) -> Address<'a> {
        match at {
            ListenAddr::Tcp(at) | ListenAddr::Tls(at) => Address::Tcp(at),
            ListenAddr::Udp(at) => Address::Udp(at),
            ListenAddr::Unix(at) | ListenAddr::UnixGram(at) => Address::Path(at),
        }
    }
}

impl Address<'_> {
    /// Whether both sockets cannot be bound at once. Conflicts that only the resolution of a host
    /// name reveals are reported by bind(2).
    fn clashes_with(&self, other: &Address<'_>) -> bool {
        match (self, other) {
            (Address::Tcp(at), Address::Tcp(other)) | (Address::Udp(at), Address::Udp(other)) => {
                // Port 0 is a different free port each time.
                at.port != 0 && at.port == other.port && is_same_host(&at.host, &other.host)
            }
            (Address::Path(at), Address::Path(other)) => at.path == other.path,
            _ => false,
        }
    }
}

fn is_same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

impl Display for Socket<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.setting {
            Some(setting) => write!(f, "{} ({setting})", self.description),
            None => write!(f, "{} (default)", self.description),
        }
    }
}

/// Checks that no two sockets have the same address. Each list comes with its setting, unless it is
/// the default.
///
/// # Errors
///
/// One line that names both sockets and their settings.
pub(super) fn check_addresses(
    (listeners, listen): (&[Bind<ListenerSpec>], Option<Setting<'_>>),
    (forwards, forward): (&[ForwardSpec], Option<Setting<'_>>),
    (http, http_setting): (&[Bind<ListenAddr>], Option<Setting<'_>>),
) -> Result<(), String> {
    let listeners = listeners.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        address: (&spec.at).into(),
        setting: listen.map(|setting| setting.element(i)),
        description: spec.to_string(),
    });
    let forwards = forwards.iter().enumerate().map(|(i, spec)| Socket {
        address: (&spec.at).into(),
        setting: forward.map(|setting| setting.element(i)),
        description: spec.at.to_string(),
    });
    let http = http.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        address: spec.into(),
        setting: http_setting.map(|setting| setting.element(i)),
        description: spec.http_url(),
    });
    let all: Vec<Socket<'_>> = listeners.chain(forwards).chain(http).collect();
    for (i, socket) in all.iter().enumerate() {
        if let Some(before) = all[..i].iter().find(|one| one.address.clashes_with(&socket.address))
        {
            return Err(format!("{socket} and {before} have the same address"));
        }
    }
    Ok(())
}
