//! Listeners: built-in services on endpoints of their own.

use std::{
    fmt::{self, Display},
    str::FromStr,
};

use echogate_proto::{
    api::Kind,
    endpoint::{Address, Endpoint, HostPort, UnixPath},
};

use super::{
    Bind,
    values::{SpecError, check_host, known_options, parse_endpoint, parse_record},
};
use crate::{connections::tap::Sides, service::Service};

/// `SERVICE=URL`: a service on an endpoint.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct ListenerSpec {
    pub(crate) service: Service,
    pub(crate) at: ListenAddr,
    /// Whether each connection ends after the answer to one message.
    pub(crate) once: bool,
    /// The sides that are recorded: a listener has only the client's side.
    pub(crate) record: Option<Sides>,
}

/// The endpoint of a listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum ListenAddr {
    /// `tcp://HOST:PORT`
    Tcp(HostPort),
    /// `tls://HOST:PORT`
    Tls(HostPort),
    /// `udp://HOST:PORT`
    Udp(HostPort),
    /// `unix:///PATH`
    Unix(SocketPath),
    /// `unixgram:///PATH`
    UnixGram(SocketPath),
}

/// A socket in the file system.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SocketPath {
    pub(crate) path: UnixPath,
    /// The permissions of the file; None leaves them to the umask.
    pub(crate) mode: Option<u32>,
}

impl ListenAddr {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            ListenAddr::Tcp(_) => Kind::Tcp,
            ListenAddr::Tls(_) => Kind::Tls,
            ListenAddr::Udp(_) => Kind::Udp,
            ListenAddr::Unix(_) => Kind::Unix,
            ListenAddr::UnixGram(_) => Kind::UnixGram,
        }
    }

    /// The URL of the address where HTTP is served on it.
    pub(crate) fn http_url(&self) -> String {
        match self {
            ListenAddr::Tcp(at) => format!("http://{at}"),
            ListenAddr::Tls(at) => format!("https://{at}"),
            other => other.to_string(),
        }
    }
}

impl Display for ListenAddr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://", self.kind())?;
        match self {
            ListenAddr::Tcp(at) | ListenAddr::Tls(at) | ListenAddr::Udp(at) => write!(f, "{at}"),
            ListenAddr::Unix(at) | ListenAddr::UnixGram(at) => write!(f, "{}", at.path),
        }
    }
}

impl Display for ListenerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.service, self.at)
    }
}

/// The default listeners: `upper`, `time` and `chat`.
pub(super) fn default_listeners() -> Vec<Bind<ListenerSpec>> {
    let ports = [(Service::Upper, 7007), (Service::Time, 7013), (Service::Chat, 7017)];
    let listeners = ports.into_iter().flat_map(|(service, port)| {
        loopback(port).map(|Bind { spec: at, required }| {
            let spec = ListenerSpec { service, at: ListenAddr::Tcp(at), once: false, record: None };
            Bind { spec, required }
        })
    });
    listeners.collect()
}

/// A port on both loopback addresses. The IPv6 address is optional, since a machine may lack IPv6.
pub(super) fn loopback(port: u16) -> [Bind<HostPort>; 2] {
    [("127.0.0.1", true), ("::1", false)]
        .map(|(host, required)| Bind { spec: HostPort { host: host.to_owned(), port }, required })
}

impl FromStr for ListenerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenerSpec, String> {
        let (service, url) = text
            .split_once('=')
            .ok_or("expected SERVICE=URL, such as upper=tcp://127.0.0.1:7007")?;
        Ok(ListenerSpec::new(service, url)?)
    }
}

/// The first listener of `service` to which a default route can lead: over plain TCP, without the
/// option `once`.
pub(super) fn first_plain(
    listeners: &[Bind<ListenerSpec>],
    service: Service,
) -> Option<&ListenerSpec> {
    let is_plain = |spec: &ListenerSpec| matches!(spec.at, ListenAddr::Tcp(_)) && !spec.once;
    let mut specs = listeners.iter().map(|bind| &bind.spec);
    specs.find(|spec| spec.service == service && is_plain(spec))
}

impl ListenerSpec {
    /// Parses the two parts of `SERVICE=URL`.
    pub(super) fn new(service: &str, url: &str) -> Result<ListenerSpec, SpecError> {
        let service = service.parse().map_err(SpecError::Name)?;
        ListenerSpec::at_url(service, url).map_err(SpecError::Url)
    }

    fn at_url(service: Service, url: &str) -> Result<ListenerSpec, String> {
        let endpoint = parse_endpoint(url)?;
        let known: &[_] = match endpoint.address {
            Address::Tcp(_) | Address::Tls(_) => &["once", "record"],
            Address::Unix(_) => &["mode", "once", "record"],
            Address::UnixGram(_) => &["mode", "record"],
            _ => &["record"],
        };
        known_options(&endpoint, known)?;
        let at = parse_address(&endpoint)?;
        if matches!(at, ListenAddr::Udp(_) | ListenAddr::UnixGram(_))
            && !service.answers_datagrams()
        {
            return Err(format!("{url}: {service} needs a stream socket (tcp, tls or unix)"));
        }
        let once = match endpoint.option("once") {
            None | Some("false") => false,
            Some("true" | "") => true,
            Some(other) => return Err(format!("once=\"{other}\": expected true or false")),
        };
        if once && service == Service::Operator {
            return Err(format!("{url}: once cannot be used with the service operator"));
        }
        let record = parse_record(&endpoint).map_err(|why| format!("{url}: {why}"))?;
        Ok(ListenerSpec { service, at, once, record })
    }
}

/// The socket file at `path`, with the permissions of the option `mode`.
pub(super) fn socket_path(endpoint: &Endpoint, path: &UnixPath) -> Result<SocketPath, String> {
    let mode = endpoint.option("mode").map(parse_mode).transpose()?;
    Ok(SocketPath { path: path.clone(), mode })
}

/// The address that `endpoint` names, with the option `mode` of a Unix socket.
///
/// # Errors
///
/// One line: the scheme, the host or the mode is wrong.
pub(super) fn parse_address(endpoint: &Endpoint) -> Result<ListenAddr, String> {
    let host_port = |at: &HostPort| {
        check_host(&at.host).map_err(|why| format!("{endpoint}: {why}"))?;
        Ok::<_, String>(at.clone())
    };
    Ok(match &endpoint.address {
        Address::Tcp(at) => ListenAddr::Tcp(host_port(at)?),
        Address::Tls(at) => ListenAddr::Tls(host_port(at)?),
        Address::Udp(at) => ListenAddr::Udp(host_port(at)?),
        Address::Unix(path) => ListenAddr::Unix(socket_path(endpoint, path)?),
        Address::UnixGram(path) => ListenAddr::UnixGram(socket_path(endpoint, path)?),
        other => {
            return Err(format!(
                "{other}: a socket to listen on is tcp://, tls://, udp://, unix:// or unixgram://"
            ));
        }
    })
}

/// Parses the mode of a Unix socket's file in octal digits, as chmod(1) does. Connecting requires
/// the permission to write.
fn parse_mode(text: &str) -> Result<u32, String> {
    let is_octal = matches!(text.len(), 1..=4) && text.bytes().all(|b| matches!(b, b'0'..=b'7'));
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) if is_octal && mode & 0o222 != 0 => Ok(mode),
        Ok(0..=0o777) if is_octal => Err(format!(
            "mode=\"{text}\": connecting requires write permission: expected 660 or similar"
        )),
        _ => Err(format!("mode=\"{text}\": expected a file mode in octal digits, such as 660")),
    }
}
