//! Routes: WebSocket paths, and what each leads to.

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
use serde::Deserialize;

use super::values::{Count, check_host, known_options, parse_endpoint};
use crate::{
    net::{
        proxy,
        tls::{Inside, trust::Trust},
    },
    service::Service,
    text::escape::escape,
};

/// Paths of the page's files. A route may have only `/` of them: there an opening handshake is
/// told apart from a request for the page.
pub(crate) const PAGE_PATHS: [&str; 6] =
    ["/", "/style.css", "/start.js", "/echogate.js", "/echogate_bg.wasm", "/favicon.svg"];

/// Further paths that no route can have, beside those below `/api`: the server answers there
/// itself.
const RESERVED_PATHS: [&str; 5] = ["/healthz", "/readyz", "/metrics", "/version", "/api"];

/// `PATH=URL`: a WebSocket path bridged to an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawRoute")]
pub(crate) struct RouteSpec {
    /// The path of the request, without a query.
    pub(crate) path: String,
    /// What it leads to.
    pub(crate) upstream: Upstream,
    /// Where messages to the client end.
    pub(crate) framing: Framing,
    /// The options of the framing.
    pub(crate) framing_options: FramingOptions,
    /// The subprotocol chosen if it is offered and `binary` is not.
    pub(crate) protocol: Option<String>,
    /// The most connections held at once.
    pub(crate) max: Option<u32>,
    /// The version of the PROXY protocol that tells the upstream of the client.
    pub(crate) proxy: Option<proxy::Version>,
}

/// What a route leads to.
#[derive(Clone, Debug)]
pub(crate) enum Upstream {
    /// A TCP endpoint.
    Tcp(HostPort),
    /// A TCP endpoint that speaks TLS, and how it is verified.
    Tls(HostPort, Arc<Trust>),
    /// A stream socket in the file system.
    Unix(UnixPath),
    /// A built-in service, in memory.
    Service(Service),
    /// The first plain listener of a service, wherever it is bound: what the default
    /// routes lead to.
    Listener(Service),
}

/// Each service at a path of its own: by its listener where it has a plain one on TCP,
/// in memory where it has none. `chat` always is, so that its operators see where a
/// client comes from, and not the gateway.
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
            true => Upstream::Listener(service),
            false => Upstream::Service(service),
        },
        framing: service.framing(),
        framing_options: FramingOptions::default(),
        protocol: None,
        max: None,
        proxy: None,
    });
    routes.into()
}

impl Display for Upstream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Upstream::Tcp(at) => write!(f, "tcp://{at}"),
            Upstream::Tls(at, _) => write!(f, "tls://{at}"),
            Upstream::Unix(path) => write!(f, "unix://{path}"),
            Upstream::Service(service) => write!(f, "service:{service}"),
            Upstream::Listener(service) => write!(f, "the first listener of {service}"),
        }
    }
}

impl FromStr for RouteSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<RouteSpec, String> {
        let (path, url) =
            text.split_once('=').ok_or("expected PATH=URL, as /ws=tcp://127.0.0.1:7007")?;
        RawRoute { path: path.to_owned(), url: url.to_owned() }.try_into()
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    path: String,
    url: String,
}

impl TryFrom<RawRoute> for RouteSpec {
    type Error = String;

    fn try_from(raw: RawRoute) -> Result<RouteSpec, String> {
        let RawRoute { path, url } = raw;
        check_path(&path)?;
        let endpoint = parse_endpoint(&url)?;
        let known = [
            "framing",
            "chunk",
            "invalid",
            "newline",
            "max",
            "protocol",
            "proxy",
            "ca",
            "server-name",
        ];
        let tls = matches!(endpoint.address, Address::Tls(_));
        known_options(&endpoint, if tls { &known } else { &known[..7] })?;
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
                let trust = Trust::new(name, ca, Inside::Bytes)?;
                (Upstream::Tls(at.clone(), trust.into()), Framing::Bytes)
            }
            Address::Tcp(at) => (Upstream::Tcp(at.clone()), Framing::Bytes),
            Address::Unix(path) => (Upstream::Unix(path.clone()), Framing::Bytes),
            Address::Service(name) => {
                let service: Service = name.parse()?;
                (Upstream::Service(service), service.framing())
            }
            other => {
                return Err(format!(
                    "{other}: a route takes tcp://, tls://, unix:// and service: only"
                ));
            }
        };
        let framing = endpoint.option("framing").map(str::parse).transpose()?;
        let max = endpoint.option("max").map(parse_max).transpose()?;
        let protocol = endpoint.option("protocol").map(parse_protocol).transpose()?;
        let proxy = endpoint.option("proxy").map(str::parse).transpose()?;
        if proxy.is_some() && matches!(upstream, Upstream::Service(_)) {
            return Err(format!("{url}: proxy goes with upstreams beyond a socket only"));
        }
        let framing = framing.unwrap_or(default_framing);
        let framing_options =
            parse_framing_options(&endpoint, framing).map_err(|e| format!("{url}: {e}"))?;
        if let Some(protocol) = protocol.as_ref().filter(|protocol| !framing.fits(protocol)) {
            return Err(format!("{url}: protocol={protocol} does not fit framing={framing}"));
        }
        Ok(RouteSpec { path, upstream, framing, framing_options, protocol, max, proxy })
    }
}

/// A route's `chunk`, `invalid` and `newline`, each of which needs a framing that it has an effect
/// on.
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
    if let Some(invalid) = option("invalid", [Framing::Text, Framing::Line])? {
        options.invalid = invalid.parse()?;
    }
    if let Some(newline) = option("newline", [Framing::Line, Framing::Line])? {
        options.newline = newline.parse()?;
    }
    Ok(options)
}

/// A route's `chunk`.
fn parse_chunk(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(chunk @ MIN_CHUNK..=MAX_CHUNK) => Ok(chunk),
        _ => {
            Err(format!("chunk=\"{text}\": expected a number of bytes, {MIN_CHUNK} to {MAX_CHUNK}"))
        }
    }
}

/// Checks that a handshake can ask for `path`, and that none but a route answers there.
fn check_path(path: &str) -> Result<(), String> {
    let is_page = PAGE_PATHS.contains(&path) && path != "/";
    if is_page || RESERVED_PATHS.contains(&path) || path.starts_with("/api/") {
        return Err(format!("path {path} is the server's own"));
    }
    let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
    if !path.starts_with('/') || !path.chars().all(plain) {
        return Err(format!(
            "path \"{}\": expected / and then letters, digits, or any of / - . _ ~",
            escape(path)
        ));
    }
    if path.split('/').any(|segment| matches!(segment, "." | "..")) {
        return Err(format!("path \"{path}\": clients resolve . and .. before they ask"));
    }
    Ok(())
}

/// Checks that connections to `at` are possible.
fn check_upstream(HostPort { host, port }: &HostPort) -> Result<(), String> {
    if *port == 0 {
        return Err("port 0 leads nowhere".to_owned());
    }
    check_host(host)?;
    let Ok(ip) = host.parse::<IpAddr>() else { return Ok(()) };
    let loopback = if ip.is_ipv4() { "127.0.0.1" } else { "[::1]" };
    match ip.to_canonical() {
        canonical if canonical.is_unspecified() => Err(format!(
            "{ip} is an address to listen on, not one to connect to: this machine is {loopback}"
        )),
        canonical if canonical.is_multicast() || canonical == Ipv4Addr::BROADCAST => {
            Err(format!("{ip} is the address of many, and a connection has one other end"))
        }
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            Err(format!("{ip} is of one network alone: name its interface, as [{ip}%eth0]"))
        }
        _ => Ok(()),
    }
}

/// A route's `max`.
fn parse_max(text: &str) -> Result<u32, String> {
    text.parse().map(|Count(max)| max).map_err(|why| format!("max=\"{text}\": {why}"))
}

/// A subprotocol: a token (RFC 6455 section 4.1).
fn parse_protocol(text: &str) -> Result<String, String> {
    let token = |c: char| c.is_ascii_graphic() && !"()<>@,;:\\\"/[]?={}".contains(c);
    match text {
        "base64" => Err("protocol=base64 would change the payload, and is not spoken".to_owned()),
        text if !text.is_empty() && text.chars().all(token) => Ok(text.to_owned()),
        text => Err(format!("protocol=\"{text}\": expected a name, as mqtt")),
    }
}
