//! What the server is told: flags first, then the environment, then the file, then
//! the defaults.

use std::{
    fmt::{self, Display},
    fs,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use echogate_proto::{
    endpoint::{Address, Endpoint, HostPort},
    framing::Framing,
};
use serde::{Deserialize, Deserializer, de};

use crate::{
    page,
    proxy::{self, Network},
    service::Service,
    tls::{Inside, identity::Identity, trust::Trust},
};

/// Paths that no route can have, beside the page's: the server answers there itself.
const RESERVED_PATHS: [&str; 6] =
    ["/healthz", "/readyz", "/version", "/api/endpoints", "/api/connections", "/api/events"];

/// Settings as given in one place: the command line with the environment, or a file.
/// What is `None` or empty was not given.
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub struct Given {
    /// Where the page and the WebSocket routes are served (repeatable)
    /// [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(
        long,
        value_name = "HOST:PORT",
        env = "ECHOGATE_HTTP",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    http: Vec<HostPort>,

    /// A service on an endpoint of its own, as upper=tcp://127.0.0.1:7007, or tls://
    /// (repeatable)
    /// [default: upper on 127.0.0.1:7007 and [::1]:7007]
    #[arg(
        long,
        value_name = "SERVICE=URL",
        env = "ECHOGATE_LISTEN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(rename = "listener")]
    listen: Vec<ListenerSpec>,

    /// A WebSocket path bridged to an endpoint, as /ws=tcp://127.0.0.1:7007?framing=message
    /// (repeatable; framing: bytes, text, line or message; with tls://, ca=FILE and
    /// server-name=NAME say how it is verified) [default: /ws to upper, /ws/echo]
    #[arg(
        long,
        value_name = "PATH=URL",
        env = "ECHOGATE_ROUTE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    route: Vec<RouteSpec>,

    /// The server's certificate in PEM, those that lead to its root behind it: with it, all
    /// that is HTTP is HTTPS. Read again at SIGHUP
    #[arg(long, value_name = "FILE", env = "ECHOGATE_TLS_CERT", hide_env_values = true)]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", env = "ECHOGATE_TLS_KEY", hide_env_values = true)]
    tls_key: Option<PathBuf>,

    /// Serve the page from this folder instead of the one built in
    #[arg(long, value_name = "DIR", env = "ECHOGATE_WEB_ROOT", hide_env_values = true)]
    web_root: Option<PathBuf>,

    /// Pages of this origin (scheme, host and port) may connect too; * is any (repeatable)
    /// [default: only the server's own page]
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "ECHOGATE_ALLOW_ORIGIN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    allow_origin: Vec<Origin>,

    /// A name that this server is known by to its pages, beside addresses and
    /// localhost (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "ECHOGATE_ALLOW_HOST",
        hide_env_values = true,
        value_delimiter = ','
    )]
    allow_host: Vec<String>,

    /// Connections from this network begin with a PROXY header, version 1 or 2, that says
    /// who the client is, as 10.0.0.0/8 (repeatable)
    #[arg(
        long,
        value_name = "NETWORK",
        env = "ECHOGATE_PROXY_PROTOCOL_FROM",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    proxy_protocol_from: Vec<Network>,

    /// What HTTP proxies in this network say in X-Forwarded-For is believed (repeatable)
    #[arg(
        long,
        value_name = "NETWORK",
        env = "ECHOGATE_FORWARDED_FROM",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    forwarded_from: Vec<Network>,

    /// How long connections may take to end after SIGTERM or SIGINT, as 10s or 500ms
    /// [default: 10s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_DRAIN", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    drain: Option<Duration>,

    /// The largest WebSocket message taken, in bytes [default: 16777216]
    #[arg(long, value_name = "BYTES", env = "ECHOGATE_MAX_MESSAGE", hide_env_values = true)]
    max_message: Option<u64>,

    /// The most connections held at once, TCP and WebSocket together [default: 20000]
    #[arg(long, value_name = "N", env = "ECHOGATE_MAX_CONNECTIONS", hide_env_values = true)]
    max_connections: Option<u32>,

    /// The most connections held from one address [default: 1000, loopback any number]
    #[arg(long, value_name = "N", env = "ECHOGATE_MAX_PER_ADDRESS", hide_env_values = true)]
    max_per_address: Option<u32>,

    /// How long a client may take for the head of an HTTP request, and for a TLS handshake
    /// [default: 10s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_HEADER_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    header_timeout: Option<Duration>,

    /// How long an upstream may take to accept a connection, TLS included [default: 10s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_DIAL_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    dial_timeout: Option<Duration>,

    /// How long a connection may carry nothing before it is ended; 0s is for ever
    /// [default: 0s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_IDLE_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    idle_timeout: Option<Duration>,

    /// How long a WebSocket client may say nothing before it is sent a Ping [default: 20s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_PING_INTERVAL", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    ping_interval: Option<Duration>,

    /// How long a WebSocket client may say nothing after a Ping before it is dropped
    /// [default: 20s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_PING_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    ping_timeout: Option<Duration>,
}

/// `SERVICE=URL`: a service on an endpoint.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RawListener")]
pub struct ListenerSpec {
    /// Which service.
    pub service: Service,
    /// Where.
    pub at: HostPort,
    /// By `tls://`, not by `tcp://`.
    pub tls: bool,
}

/// `PATH=URL`: a WebSocket path bridged to an endpoint.
#[derive(Clone, Debug, Deserialize)]
#[serde(try_from = "RawRoute")]
pub struct RouteSpec {
    /// The path of the request, without a query.
    pub path: String,
    /// What it leads to.
    pub upstream: Upstream,
    /// Where messages to the client end.
    pub framing: Framing,
    /// The subprotocol chosen if it is offered and `binary` is not.
    pub protocol: Option<String>,
    /// The most connections held at once.
    pub max: Option<u32>,
    /// The version of the PROXY protocol that tells the upstream of the client.
    pub proxy: Option<proxy::Version>,
}

/// What a route leads to.
#[derive(Clone, Debug)]
pub enum Upstream {
    /// A TCP endpoint.
    Tcp(HostPort),
    /// A TCP endpoint that speaks TLS, and how it is verified.
    Tls(HostPort, Arc<Trust>),
    /// A stream socket in the file system.
    Unix(String),
    /// A built-in service, in memory.
    Service(Service),
    /// The first plain listener of a service, wherever it is bound: what the default
    /// routes lead to.
    Listener(Service),
}

/// What the server does, every setting decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where HTTP is served.
    pub http: Vec<Bind<HostPort>>,
    /// The services on endpoints of their own.
    pub listeners: Vec<Bind<ListenerSpec>>,
    /// The WebSocket paths.
    pub routes: Vec<RouteSpec>,
    /// The certificate and key of TLS listeners; with them all HTTP is such.
    pub tls: Option<Arc<Identity>>,
    /// The page's folder, if not the one built in.
    pub web_root: Option<PathBuf>,
    /// Origins whose pages may connect, beside the server's own.
    pub allow_origin: Vec<Origin>,
    /// Names of this server that its pages may use, beside addresses and localhost.
    pub allow_host: Vec<String>,
    /// Where connections begin with a PROXY header.
    pub proxy_protocol_from: Vec<Network>,
    /// Whose `X-Forwarded-For` is believed.
    pub forwarded_from: Vec<Network>,
    /// How long connections may take to end.
    pub drain: Duration,
    /// The largest WebSocket message taken, in bytes.
    pub max_message: u64,
    /// The most connections held at once.
    pub max_connections: u32,
    /// The most of one address; if none was given, loopback's are not counted.
    pub max_per_address: Option<u32>,
    /// How long the head of a request may take, or a TLS handshake.
    pub header_timeout: Duration,
    /// How long an upstream may take to accept.
    pub dial_timeout: Duration,
    /// How long a connection may carry nothing, if not for ever.
    pub idle_timeout: Option<Duration>,
    /// The silence of a WebSocket client after which it is sent a Ping.
    pub ping_interval: Duration,
    /// How long it may be silent after that.
    pub ping_timeout: Duration,
}

/// Something to bind.
#[derive(Clone, Debug)]
pub struct Bind<T> {
    /// What, and where.
    pub spec: T,
    /// It was asked for; a default may be left out where the machine has no IPv6.
    pub required: bool,
}

impl Settings {
    /// The scheme of the HTTP listeners' URLs.
    pub fn http_scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Puts together what was given on the command line and in the environment, the
    /// file that may have been named, and the defaults.
    ///
    /// # Errors
    ///
    /// One line that names what is wrong and where.
    pub fn load(flags: Given, file: Option<&Path>) -> Result<Settings, String> {
        let file = file.map(Given::from_file).transpose()?.unwrap_or_default();
        let listeners = first_given(flags.listen, file.listen);
        let routes = first_given(flags.route, file.route);
        // With routes alone it is a gateway and opens no service ports.
        let listeners = match listeners {
            Some(listeners) => required(listeners),
            None if routes.is_some() => Vec::new(),
            None => default_listeners(),
        };
        let routes = routes.unwrap_or_else(|| default_routes(&listeners));
        if let Some(double) = first_double(routes.iter().map(|route| &route.path)) {
            return Err(format!("route {double} is given twice"));
        }
        let tls = identity(flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key))?;
        if tls.is_none()
            && let Some(Bind { spec, .. }) = listeners.iter().find(|bind| bind.spec.tls)
        {
            return Err(format!("listener {spec} needs tls-cert and tls-key"));
        }
        let max_connections = flags.max_connections.or(file.max_connections).unwrap_or(20_000);
        if max_connections == 0 {
            return Err("max-connections 0 would serve nobody: expected at least 1".to_owned());
        }
        let max_per_address = flags.max_per_address.or(file.max_per_address);
        if max_per_address == Some(0) {
            return Err("max-per-address 0 would serve nobody: expected at least 1".to_owned());
        }
        let time = |flag: Option<Duration>, file: Option<Duration>, default| {
            flag.or(file).unwrap_or(Duration::from_secs(default))
        };
        let ping_interval = time(flags.ping_interval, file.ping_interval, 20);
        let ping_timeout = time(flags.ping_timeout, file.ping_timeout, 20);
        let header_timeout = time(flags.header_timeout, file.header_timeout, 10);
        let dial_timeout = time(flags.dial_timeout, file.dial_timeout, 10);
        for (name, time) in [
            ("ping-interval", ping_interval),
            ("ping-timeout", ping_timeout),
            ("header-timeout", header_timeout),
            ("dial-timeout", dial_timeout),
        ] {
            if time.is_zero() {
                return Err(format!("{name} 0s leaves no time: expected more"));
            }
        }
        Ok(Settings {
            http: first_given(flags.http, file.http).map_or_else(default_http, required),
            listeners,
            routes,
            tls,
            web_root: flags.web_root.or(file.web_root),
            allow_origin: first_given(flags.allow_origin, file.allow_origin).unwrap_or_default(),
            allow_host: first_given(flags.allow_host, file.allow_host).unwrap_or_default(),
            proxy_protocol_from: first_given(flags.proxy_protocol_from, file.proxy_protocol_from)
                .unwrap_or_default(),
            forwarded_from: first_given(flags.forwarded_from, file.forwarded_from)
                .unwrap_or_default(),
            drain: time(flags.drain, file.drain, 10),
            max_message: flags.max_message.or(file.max_message).unwrap_or(16 << 20),
            max_connections,
            max_per_address,
            header_timeout,
            dial_timeout,
            idle_timeout: flags.idle_timeout.or(file.idle_timeout).filter(|time| !time.is_zero()),
            ping_interval,
            ping_timeout,
        })
    }
}

impl Given {
    /// What `echogate gateway` means: `route` at `/` and `/websockify`, on `bind`.
    ///
    /// # Errors
    ///
    /// What was given besides and cannot be meant as well.
    pub fn into_gateway(mut self, bind: HostPort, route: &RouteSpec) -> Result<Given, String> {
        for (flag, given) in [
            ("--http", !self.http.is_empty()),
            ("--listen", !self.listen.is_empty()),
            ("--route", !self.route.is_empty()),
        ] {
            if given {
                return Err(format!("{flag} does not go with gateway: it is what serve takes"));
            }
        }
        self.http = vec![bind];
        self.route = ["/", "/websockify"]
            .map(|path| RouteSpec { path: path.to_owned(), ..route.clone() })
            .into();
        Ok(self)
    }

    fn from_file(path: &Path) -> Result<Given, String> {
        let name = path.display();
        let text = fs::read_to_string(path).map_err(|e| format!("{name}: {e}"))?;
        toml::from_str(&text).map_err(|e| {
            let line = e.span().map_or(1, |span| 1 + text[..span.start].matches('\n').count());
            format!("{name}:{line}: {}", e.message().replace('\n', ", "))
        })
    }
}

/// The server's certificate and key, if they were given.
fn identity(cert: Option<PathBuf>, key: Option<PathBuf>) -> Result<Option<Arc<Identity>>, String> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => Identity::read(cert, key).map(|identity| Some(identity.into())),
        (Some(_), None) => Err("tls-cert needs tls-key, its private key".to_owned()),
        (None, Some(_)) => Err("tls-key needs tls-cert, its certificate".to_owned()),
    }
}

fn first_given<T>(flags: Vec<T>, file: Vec<T>) -> Option<Vec<T>> {
    [flags, file].into_iter().find(|given| !given.is_empty())
}

fn first_double<'a>(mut all: impl Iterator<Item = &'a String>) -> Option<&'a String> {
    let mut seen = std::collections::HashSet::new();
    all.find(|item| !seen.insert(*item))
}

fn required<T>(specs: Vec<T>) -> Vec<Bind<T>> {
    specs.into_iter().map(|spec| Bind { spec, required: true }).collect()
}

/// `port` of both loopback addresses, of which IPv4's must be there.
fn loopback(port: u16) -> [Bind<HostPort>; 2] {
    [("127.0.0.1", true), ("::1", false)]
        .map(|(host, required)| Bind { spec: HostPort { host: host.to_owned(), port }, required })
}

fn default_http() -> Vec<Bind<HostPort>> {
    loopback(8080).into()
}

fn default_listeners() -> Vec<Bind<ListenerSpec>> {
    loopback(7007)
        .map(|bind| Bind {
            spec: ListenerSpec { service: Service::Upper, at: bind.spec, tls: false },
            required: bind.required,
        })
        .into()
}

/// `/ws` to `upper` and `/ws/echo` to `echo`: over TCP where there is a plain listener of
/// the service, in memory where there is none.
fn default_routes(listeners: &[Bind<ListenerSpec>]) -> Vec<RouteSpec> {
    [("/ws", Service::Upper), ("/ws/echo", Service::Echo)]
        .map(|(path, service)| RouteSpec {
            path: path.to_owned(),
            upstream: if listeners.iter().any(|bind| bind.spec.service == service && !bind.spec.tls)
            {
                Upstream::Listener(service)
            } else {
                Upstream::Service(service)
            },
            framing: Framing::Message,
            protocol: None,
            max: None,
            proxy: None,
        })
        .into()
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

impl FromStr for ListenerSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<ListenerSpec, String> {
        let (service, url) =
            text.split_once('=').ok_or("expected SERVICE=URL, as upper=tcp://127.0.0.1:7007")?;
        RawListener { service: service.to_owned(), url: url.to_owned() }.try_into()
    }
}

impl ListenerSpec {
    /// The scheme of its URL.
    pub fn scheme(&self) -> &'static str {
        if self.tls { "tls" } else { "tcp" }
    }
}

impl Display for ListenerSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}://{}", self.service, self.scheme(), self.at)
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
struct RawListener {
    service: String,
    url: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoute {
    path: String,
    url: String,
}

impl TryFrom<RawListener> for ListenerSpec {
    type Error = String;

    fn try_from(raw: RawListener) -> Result<ListenerSpec, String> {
        let service = raw.service.parse()?;
        let endpoint = parse_endpoint(&raw.url)?;
        known_options(&endpoint, &[])?;
        match endpoint.address {
            Address::Tcp(at) => Ok(ListenerSpec { service, at, tls: false }),
            Address::Tls(at) => Ok(ListenerSpec { service, at, tls: true }),
            other => Err(format!("{other}: a listener takes tcp:// and tls:// only")),
        }
    }
}

impl TryFrom<RawRoute> for RouteSpec {
    type Error = String;

    fn try_from(raw: RawRoute) -> Result<RouteSpec, String> {
        let RawRoute { path, url } = raw;
        // At / a handshake is told from a request for the page.
        if RESERVED_PATHS.contains(&path.as_str()) || (page::has(&path) && path != "/") {
            return Err(format!("path {path} is the server's own"));
        }
        let plain = |c: char| c.is_ascii_alphanumeric() || "/-._~".contains(c);
        if !path.starts_with('/') || !path.chars().all(plain) {
            return Err(format!(
                "path \"{path}\": expected / and then letters, digits, or any of / - . _ ~"
            ));
        }
        let endpoint = parse_endpoint(&url)?;
        let known = ["framing", "max", "protocol", "proxy", "ca", "server-name"];
        let tls = matches!(endpoint.address, Address::Tls(_));
        known_options(&endpoint, if tls { &known } else { &known[..4] })?;
        let (upstream, default_framing) = match &endpoint.address {
            Address::Tcp(at) | Address::Tls(at) if at.port == 0 => {
                return Err(format!("{url}: port 0 leads nowhere"));
            }
            Address::Tls(at) => {
                let name = endpoint.option("server-name").unwrap_or(&at.host);
                let ca = endpoint.option("ca").map(Path::new);
                let trust = Trust::new(name, ca, Inside::Bytes)?;
                (Upstream::Tls(at.clone(), trust.into()), Framing::Bytes)
            }
            Address::Tcp(at) => (Upstream::Tcp(at.clone()), Framing::Bytes),
            Address::Unix(path) => (Upstream::Unix(path.clone()), Framing::Bytes),
            Address::Service(name) => (Upstream::Service(name.parse()?), Framing::Message),
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
        Ok(RouteSpec { path, upstream, framing, protocol, max, proxy })
    }
}

/// A route's `max`.
fn parse_max(text: &str) -> Result<u32, String> {
    match text.parse() {
        Ok(max @ 1..) => Ok(max),
        _ => Err(format!("max=\"{text}\": expected a number of connections, 1 at least")),
    }
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

/// Whose pages may connect: `*`, or `SCHEME://HOST[:PORT]` as a browser's `Origin` says it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// Anyone's.
    Any,
    /// This one's, in lower case.
    One(String),
}

impl Origin {
    /// Whether a page of `origin` is meant.
    pub fn allows(&self, origin: &str) -> bool {
        match self {
            Origin::Any => true,
            Origin::One(one) => one.eq_ignore_ascii_case(origin),
        }
    }
}

impl FromStr for Origin {
    type Err = String;

    fn from_str(text: &str) -> Result<Origin, String> {
        if text == "*" {
            return Ok(Origin::Any);
        }
        let wrong = || format!("\"{text}\" is no origin: expected SCHEME://HOST[:PORT] or *");
        let (scheme, authority) = text.split_once("://").ok_or_else(wrong)?;
        let scheme_ok = scheme.starts_with(|c: char| c.is_ascii_alphabetic())
            && scheme.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
        let host_ok = authority.chars().all(|c| c.is_ascii_graphic() && !"/?#@\\".contains(c));
        if authority.is_empty() || !scheme_ok || !host_ok {
            return Err(wrong());
        }
        // A browser leaves out the port that is the scheme's own.
        let default_port = match scheme.to_ascii_lowercase().as_str() {
            "http" => ":80",
            "https" => ":443",
            _ => "",
        };
        let text = text.strip_suffix(default_port).unwrap_or(text);
        Ok(Origin::One(text.to_ascii_lowercase()))
    }
}

fn parse_endpoint(url: &str) -> Result<Endpoint, String> {
    url.parse().map_err(|e| format!("{url}: {e}"))
}

fn known_options(endpoint: &Endpoint, known: &[&str]) -> Result<(), String> {
    match endpoint.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) if known.is_empty() => {
            Err(format!("{endpoint}: unknown option \"{key}\": a listener takes none"))
        }
        Some((key, _)) => {
            Err(format!("{endpoint}: unknown option \"{key}\": expected {}", known.join(", ")))
        }
    }
}

/// A whole number and its unit: `10s`, `500ms`, `2m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time: expected a number and ms, s, m or h, as 10s");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

fn parsed<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|e| E::custom(format!("\"{text}\": {e}")))
}

fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

fn parsed_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}
