//! Routes: WebSocket paths and their upstreams.

use std::{
    fmt::{self, Display},
    net::{IpAddr, Ipv4Addr},
    path::Path,
    str::FromStr,
    sync::Arc,
};

use echogate_proto::{
    endpoint::{Address, Endpoint, HostPort, UnixPath},
    framing::{Framing, FramingOptions, MAX_CHUNK, MIN_CHUNK},
};

use super::values::{Count, SpecError, check_host, known_options, parse_endpoint};
use crate::{
    net::{
        proxy_protocol,
        tls::{AppProtocol, client::ClientTls},
    },
    service::Service,
    text::escape::escape,
};

/// Paths of the page's files. A route may use only `/` of these: there the server answers an
/// opening handshake by the route and any other request by the page.
pub(crate) const PAGE_PATHS: [&str; 6] =
    ["/", "/style.css", "/start.js", "/echogate.js", "/echogate_bg.wasm", "/favicon.svg"];

/// Further paths of the server itself, besides those below `/api/`, that no route may use.
const RESERVED_PATHS: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/version", "/api"];

/// `PATH=URL`: a WebSocket path and its upstream.
#[derive(Clone, Debug)]
pub(crate) struct RouteSpec {
    /// The path of the request, without the query.
    pub(crate) path: String,
    /// The upstream.
    pub(crate) upstream: UpstreamSpec,
    /// The mapping between WebSocket messages and the upstream's bytes.
    pub(crate) framing: Framing,
    /// The options of the framing.
    pub(crate) framing_options: FramingOptions,
    /// The subprotocol that is selected if the client offers it but not `binary`.
    pub(crate) protocol: Option<String>,
    /// The most simultaneous connections.
    pub(crate) max: Option<u32>,
    /// The version of the PROXY header that is sent to the upstream.
    pub(crate) proxy: Option<proxy_protocol::Version>,
}

/// The upstream of a route.
#[derive(Clone, Debug)]
pub(crate) enum UpstreamSpec {
    /// A TCP endpoint.
    Tcp(HostPort),
    /// A TLS endpoint, and how it is verified.
    Tls(HostPort, Arc<ClientTls>),
    /// A Unix stream socket.
    Unix(UnixPath),
    /// A built-in service, in memory.
    Service(Service),
    /// The first plain TCP listener of a service, wherever it is bound: the upstream of default
    /// routes.
    Listener(Service),
}

/// The default routes, one per service. The upstream is the service's plain TCP listener, or the
/// service in memory if it has none. `chat` is always in memory, so that its operators see the
/// client's address instead of the gateway's.
pub(super) fn default_routes(has_listener: impl Fn(Service) -> bool) -> Vec<RouteSpec> {
    let routes = [
        ("/ws", Service::Upper),
        ("/ws/echo", Service::Echo),
        ("/ws/time", Service::Time),
        ("/ws/chat", Service::Chat),
        ("/ws/operator", Service::Operator),
    ];
    let routes = routes.map(|(path, service)| RouteSpec {
        path: path.to_owned(),
        upstream: match has_listener(service) && service != Service::Chat {
            true => UpstreamSpec::Listener(service),
            false => UpstreamSpec::Service(service),
        },
        framing: service.framing(),
        framing_options: FramingOptions::default(),
        protocol: None,
        max: None,
        proxy: None,
    });
    routes.into()
}

impl Display for UpstreamSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            UpstreamSpec::Tcp(at) => write!(f, "tcp://{at}"),
            UpstreamSpec::Tls(at, _) => write!(f, "tls://{at}"),
            UpstreamSpec::Unix(path) => write!(f, "unix://{path}"),
            UpstreamSpec::Service(service) => write!(f, "service:{service}"),
            UpstreamSpec::Listener(service) => write!(f, "the first listener of {service}"),
        }
    }
}

impl FromStr for RouteSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<RouteSpec, String> {
        let (path, url) =
            text.split_once('=').ok_or("expected PATH=URL, as /ws=tcp://127.0.0.1:7007")?;
        Ok(RouteSpec::new(path, url)?)
    }
}

impl RouteSpec {
    /// Parses the two parts of a route.
    pub(super) fn new(path: &str, url: &str) -> Result<RouteSpec, SpecError> {
        check_path(path).map_err(SpecError::Name)?;
        RouteSpec::to_url(path, url).map_err(SpecError::Url)
    }

    fn to_url(path: &str, url: &str) -> Result<RouteSpec, String> {
        let endpoint = parse_endpoint(url)?;
        let known = [
            "framing",
            "chunk",
            "prefix",
            "invalid",
            "newline",
            "max",
            "protocol",
            "proxy",
            "ca",
            "server-name",
        ];
        let tls = matches!(endpoint.address, Address::Tls(_));
        known_options(&endpoint, if tls { &known } else { &known[..8] })?;
        if let Address::Tcp(at) | Address::Tls(at) = &endpoint.address {
            check_upstream(at).map_err(|why| format!("{url}: {why}"))?;
        }
        let (upstream, default_framing) = match &endpoint.address {
            Address::Tls(at) => {
                let name = endpoint.option("server-name").unwrap_or(&at.host);
                if let Some(empty) = ["ca", "server-name"]
                    .into_iter()
                    .find(|key| endpoint.option(key).is_some_and(str::is_empty))
                {
                    return Err(format!("{url}: {empty} has no value"));
                }
                let ca = endpoint.option("ca").map(Path::new);
                let tls = ClientTls::new(name, ca, AppProtocol::Bytes)?;
                (UpstreamSpec::Tls(at.clone(), tls.into()), Framing::Bytes)
            }
            Address::Tcp(at) => (UpstreamSpec::Tcp(at.clone()), Framing::Bytes),
            Address::Unix(path) => (UpstreamSpec::Unix(path.clone()), Framing::Bytes),
            Address::Service(name) => {
                let service: Service = name.parse()?;
                (UpstreamSpec::Service(service), service.framing())
            }
            other => {
                return Err(format!(
                    "{other}: a route takes only tcp://, tls://, unix:// and service:"
                ));
            }
        };
        let framing = endpoint.option("framing").map(str::parse).transpose()?;
        let max = endpoint.option("max").map(parse_max).transpose()?;
        let protocol = endpoint.option("protocol").map(parse_protocol).transpose()?;
        let proxy = endpoint.option("proxy").map(str::parse).transpose()?;
        if proxy.is_some() && matches!(upstream, UpstreamSpec::Service(_)) {
            return Err(format!("{url}: proxy cannot be used with a built-in service"));
        }
        let framing = framing.unwrap_or(default_framing);
        let framing_options =
            parse_framing_options(&endpoint, framing).map_err(|e| format!("{url}: {e}"))?;
        if let Some(protocol) = protocol.as_ref().filter(|protocol| !framing.fits(protocol)) {
            return Err(format!("{url}: protocol={protocol} does not fit framing={framing}"));
        }
        let path = path.to_owned();
        Ok(RouteSpec { path, upstream, framing, framing_options, protocol, max, proxy })
    }
}

/// Parses a route's `chunk`, `prefix`, `invalid` and `newline`, each of which applies to some
/// framings only.
fn parse_framing_options(endpoint: &Endpoint, framing: Framing) -> Result<FramingOptions, String> {
    let option = |key: &str, framings: [Framing; 2]| match endpoint.option(key) {
        Some(_) if !framings.contains(&framing) => {
            let [one, other] = framings;
            let needed = if one == other { one.to_string() } else { format!("{one} or {other}") };
            Err(format!("{key} needs framing={needed}, and the framing here is {framing}"))
        }
        value => Ok(value),
    };
    let mut options = FramingOptions::default();
    if let Some(chunk) = option("chunk", [Framing::Bytes, Framing::Text])? {
        options.chunk = parse_chunk(chunk)?;
    }
    if let Some(prefix) = option("prefix", [Framing::Length, Framing::Length])? {
        options.prefix = parse_prefix(prefix)?;
    }
    if let Some(invalid) = option("invalid", [Framing::Text, Framing::Line])? {
        options.invalid = invalid.parse()?;
    }
    if let Some(newline) = option("newline", [Framing::Line, Framing::Line])? {
        options.newline = newline.parse()?;
    }
    Ok(options)
}

/// Parses a route's `chunk`.
fn parse_chunk(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(chunk @ MIN_CHUNK..=MAX_CHUNK) => Ok(chunk),
        _ => {
            Err(format!("chunk=\"{text}\": expected a number of bytes, {MIN_CHUNK} to {MAX_CHUNK}"))
        }
    }
}

/// Parses a route's `prefix`.
fn parse_prefix(text: &str) -> Result<u8, String> {
    match text {
        "2" => Ok(2),
        "4" => Ok(4),
        _ => Err(format!("prefix=\"{text}\": expected the bytes of a length, 2 or 4")),
    }
}

/// Checks that a handshake can request `path` and that the server itself does not use it.
fn check_path(path: &str) -> Result<(), String> {
    let is_page = PAGE_PATHS.contains(&path) && path != "/";
    if is_page || RESERVED_PATHS.contains(&path) || path.starts_with("/api/") {
        return Err(format!("path {path} is reserved by the server"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(format!(
            "path \"{}\": expected / and then letters, digits, or any of / - . _ ~",
            escape(path)
        ));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!(
            "path \"{path}\": clients resolve . and .. before they send a request"
        ));
    }
    Ok(())
}

/// Checks that `at` can be connected to.
fn check_upstream(HostPort { host, port }: &HostPort) -> Result<(), String> {
    if *port == 0 {
        return Err("port 0 cannot be connected to".to_owned());
    }
    check_host(host)?;
    let Ok(ip) = host.parse::<IpAddr>() else { return Ok(()) };
    let loopback = if ip.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    match ip.to_canonical() {
        canonical if canonical.is_unspecified() => {
            Err(format!("{ip} can only be listened on: use {loopback} to connect to this machine"))
        }
        canonical if canonical.is_multicast() || canonical == Ipv4Addr::BROADCAST => {
            Err(format!("{ip} is a multicast or broadcast address: expected a unicast address"))
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            Err(format!("{ip} is a link-local address: add its interface, as [{ip}%eth0]"))
        }
        _ => Ok(()),
    }
}

/// Parses a route's `max`.
fn parse_max(text: &str) -> Result<u32, String> {
    text.parse().map(|Count(max)| max).map_err(|why| format!("max=\"{text}\": {why}"))
}

/// Parses a subprotocol: a token (RFC 6455 section 4.1).
fn parse_protocol(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    match text {
        "base64" => {
            Err("protocol=base64 is not supported: the payload is passed on unchanged".to_owned())
        }
        text if !text.is_empty() && text.chars().all(token) => Ok(text.to_owned()),
        text => Err(format!("protocol=\"{text}\": expected a name, as mqtt")),
    }
}
