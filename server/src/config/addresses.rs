//! The sockets to be bound, and the checks of their addresses.

use std::{
    fmt::{self, Display},
    net::IpAddr,
};

use super::{
    Bind, ForwardSpec,
    ListenAddr::{self, Tcp, Tls, Udp, Unix, UnixGram},
    ListenerSpec, Sources,
    sources::{EndpointList, Setting},
};

/// A socket to be bound.
pub(super) struct Socket<'a> {
    at: &'a ListenAddr,
    /// The setting that gives the socket; None for a default.
    setting: Option<Setting<'a>>,
    /// The socket in error messages.
    description: String,
}

impl Socket<'_> {
    /// Whether both sockets cannot be bound at once. Conflicts that only name resolution or the
    /// system's setting bindv6only reveals are reported by bind(2).
    fn clashes_with(&self, other: &Socket<'_>) -> bool {
        match (self.at, other.at) {
            // Port 0 is a different free port each time.
            (Tcp(at) | Tls(at), Tcp(other) | Tls(other)) | (Udp(at), Udp(other)) => {
                at.port != 0
                    && at.port == other.port
                    && (is_same_host(&at.host, &other.host)
                        || includes(&at.host, &other.host)
                        || includes(&other.host, &at.host))
            }
            (Unix(at) | UnixGram(at), Unix(other) | UnixGram(other)) => at.path == other.path,
            _ => false,
        }
    }

    /// The description of how the address of this socket, all addresses of a family, includes that of
    /// `other`; none if it does not.
    fn includes(&self, other: &Socket<'_>) -> Option<String> {
        match (self.at, other.at) {
            (Tcp(all) | Tls(all) | Udp(all), Tcp(one) | Tls(one) | Udp(one)) => {
                includes(&all.host, &one.host).then(|| format!("{all} includes {one}"))
            }
            _ => None,
        }
    }
}

fn is_same_host(one: &str, other: &str) -> bool {
    match (one.parse::<IpAddr>(), other.parse::<IpAddr>()) {
        (Ok(one), Ok(other)) => one == other,
        _ => one.eq_ignore_ascii_case(other),
    }
}

/// Whether `all` is the unspecified address, and `one` another address of its family.
fn includes(all: &str, one: &str) -> bool {
    match (all.parse::<IpAddr>(), one.parse::<IpAddr>()) {
        (Ok(all), Ok(one)) => {
            all.is_ipv4() == one.is_ipv4() && all.is_unspecified() && !one.is_unspecified()
        }
        _ => false,
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

/// The sockets of listeners, forwards and HTTP.
pub(super) fn sockets<'a>(
    sources: &'a Sources,
    listeners: &'a [Bind<ListenerSpec>],
    forwards: &'a [ForwardSpec],
    http: &'a [Bind<ListenAddr>],
) -> Vec<Socket<'a>> {
    let listen = sources.list_setting(EndpointList::Listen);
    let listeners = listeners.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        at: &spec.at,
        setting: listen.map(|setting| setting.element(i)),
        description: spec.to_string(),
    });
    let forward = sources.list_setting(EndpointList::Forward);
    let forwards = forwards.iter().enumerate().map(|(i, spec)| Socket {
        at: &spec.at,
        setting: forward.map(|setting| setting.element(i)),
        description: spec.at.to_string(),
    });
    let http_setting = sources.list_setting(EndpointList::Http);
    let http = http.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        at: spec,
        setting: http_setting.map(|setting| setting.element(i)),
        description: spec.http_url(),
    });
    listeners.chain(forwards).chain(http).collect()
}

/// Checks that no two sockets have the same address, or an address and all addresses.
///
/// # Errors
///
/// One line that names both sockets and their settings.
pub(super) fn check_addresses(sockets: &[Socket<'_>]) -> Result<(), String> {
    for (i, socket) in sockets.iter().enumerate() {
        if let Some(before) = sockets[..i].iter().find(|one| one.clashes_with(socket)) {
            let overlap = socket.includes(before).or_else(|| before.includes(socket));
            return Err(match overlap {
                Some(how) => format!("{socket} and {before} overlap: {how}"),
                None => format!("{socket} and {before} have the same address"),
            });
        }
    }
    Ok(())
}

/// Checks that no socket that a setting gives needs a certificate.
pub(super) fn check_plain(sockets: &[Socket<'_>]) -> Result<(), String> {
    match sockets.iter().find(|socket| matches!(socket.at, Tls(_))) {
        Some(Socket { setting: Some(setting), description, .. }) => {
            Err(format!("{setting}: {description} needs tls-cert and tls-key"))
        }
        _ => Ok(()),
    }
}
