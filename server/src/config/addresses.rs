//! The addresses of all sockets together: no two sockets can have the same.

use std::{
    fmt::{self, Display},
    net::IpAddr,
};

use echogate_proto::endpoint::HostPort;

use super::{Bind, ListenAddr, ListenerSpec, SocketPath, sources::Setting};

/// A socket that is to be bound.
struct Socket<'a> {
    address: Address<'a>,
    /// The setting that asks for it; a default has none.
    setting: Option<Setting<'a>>,
    /// How messages name it.
    what: String,
}

/// The address of a socket, as far as it is known before the socket is bound.
enum Address<'a> {
    Tcp(&'a HostPort),
    Udp(&'a HostPort),
    Path(&'a SocketPath),
}

impl Address<'_> {
    /// Whether one address cannot have both sockets. Which addresses a name has, the system
    /// alone knows: sockets that clash because of it are "in use" when they are bound.
    fn clashes_with(&self, other: &Address<'_>) -> bool {
        match (self, other) {
            (Address::Tcp(at), Address::Tcp(other)) | (Address::Udp(at), Address::Udp(other)) => {
                // Port 0 is a free port, another one each time.
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
            Some(setting) => write!(f, "{} ({setting})", self.what),
            None => write!(f, "{} (default)", self.what),
        }
    }
}

/// Checks that no two sockets have the same address. With each list comes the setting that
/// gave it, if it is not the default.
///
/// # Errors
///
/// One line that names both sockets and their settings.
pub(super) fn check_addresses(
    (listeners, listen): (&[Bind<ListenerSpec>], Option<Setting<'_>>),
    (http, http_setting): (&[Bind<HostPort>], Option<Setting<'_>>),
) -> Result<(), String> {
    let listeners = listeners.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        address: match &spec.at {
            ListenAddr::Tcp(at) | ListenAddr::Tls(at) => Address::Tcp(at),
            ListenAddr::Udp(at) => Address::Udp(at),
            ListenAddr::Unix(at) | ListenAddr::UnixGram(at) => Address::Path(at),
        },
        setting: listen.map(|setting| setting.element(i)),
        what: spec.to_string(),
    });
    let http = http.iter().enumerate().map(|(i, Bind { spec, .. })| Socket {
        address: Address::Tcp(spec),
        setting: http_setting.map(|setting| setting.element(i)),
        what: format!("HTTP on {spec}"),
    });
    let all: Vec<Socket<'_>> = listeners.chain(http).collect();
    for (i, socket) in all.iter().enumerate() {
        if let Some(before) = all[..i].iter().find(|one| one.address.clashes_with(&socket.address))
        {
            return Err(format!("{socket} and {before} have the same address"));
        }
    }
    Ok(())
}
