//! What the server is told: flags first, then the environment, then the file, then
//! the defaults.
//!
//! - `listener`: services on endpoints
//! - `route`: WebSocket paths and where they lead
//! - `origin`: whose pages may connect
//! - `values`: settings of a single value
//! - `file`: all of them in a file

mod file;
mod listener;
mod origin;
mod route;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use clap::Args;
use echogate_proto::endpoint::HostPort;
use jiff::tz::TimeZone;
use serde::Deserialize;

use self::{
    listener::default_listeners,
    route::default_routes,
    values::{identity, operator_token, parsed_duration, parsed_list, parsed_option},
};
pub use self::{
    listener::{At, ListenerSpec, SocketPath},
    origin::{AllowedOrigin, Origin},
    route::{RouteSpec, Upstream},
    values::Zone,
};
pub(crate) use self::{origin::default_port, values::parse_duration};
use crate::{
    authority::AllowedHost, chat::Token, inherit::Names, proxy::Network, tls::identity::Identity,
};

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

    /// A service on an endpoint of its own, as upper=tcp://127.0.0.1:7007 (repeatable;
    /// tcp, tls, unix, udp, unixgram; ?once answers one message a connection, ?mode=660
    /// is for sockets in the file system)
    /// [default: upper on port 7007, time on 7013, chat on 7017, of 127.0.0.1 and [::1]]
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
    /// (repeatable). Options: framing=bytes, text, line or message, with chunk=N, the
    /// largest message in bytes (bytes, text), invalid=close, replace or binary for what is not
    /// UTF-8 (text, line), newline=lf or crlf towards the upstream (line); max=N connections;
    /// protocol=NAME, its subprotocol; proxy=v1 or v2, by which PROXY header it is told of the
    /// client; with tls://, ca=FILE and server-name=NAME say how it is verified
    /// [default: /ws to upper, /ws/echo, /ws/time, /ws/chat, /ws/operator]
    #[arg(
        long,
        value_name = "PATH=URL",
        env = "ECHOGATE_ROUTE",
        hide_env_values = true,
        value_delimiter = ','
    )]
    route: Vec<RouteSpec>,

    /// Connections that the kernel holds until they are accepted; beyond them it turns a
    /// burst of clients away. It takes no more than net.core.somaxconn [default: 4096]
    #[arg(long, value_name = "N", env = "ECHOGATE_BACKLOG", hide_env_values = true)]
    backlog: Option<u32>,

    /// The zone in which the service time answers, as Europe/Berlin [default: the system's]
    #[arg(long, value_name = "NAME", env = "ECHOGATE_TIMEZONE", hide_env_values = true)]
    #[serde(deserialize_with = "parsed_option")]
    timezone: Option<Zone>,

    /// What chat's operators have to know: the first line of this file, 16 characters at
    /// least [default: made at the start, and printed]
    #[arg(long, value_name = "FILE", env = "ECHOGATE_OPERATOR_TOKEN_FILE", hide_env_values = true)]
    operator_token_file: Option<PathBuf>,

    /// The server's certificate in PEM, those that lead to its root behind it: with it, all
    /// that is HTTP is HTTPS. Read again at SIGHUP
    #[arg(long, value_name = "FILE", env = "ECHOGATE_TLS_CERT", hide_env_values = true)]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE", env = "ECHOGATE_TLS_KEY", hide_env_values = true)]
    tls_key: Option<PathBuf>,

    /// Serve the page from this folder instead of the one built in; without its dot files.
    /// Symbolic links in it are followed, wherever they lead
    #[arg(long, value_name = "DIR", env = "ECHOGATE_WEB_ROOT", hide_env_values = true)]
    web_root: Option<PathBuf>,

    /// Pages of this origin may connect, too: https://app.example[:PORT], null (pages without an
    /// origin, as sandboxed frames and most browsers' local files; any site can make such), file://,
    /// or * for every page (repeatable) [default: only the server's own page]
    #[arg(
        long,
        value_name = "ORIGIN",
        env = "ECHOGATE_ALLOW_ORIGIN",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    allow_origin: Vec<AllowedOrigin>,

    /// A host name under which the page, the API, /metrics and the page's WebSockets are answered,
    /// beside IP addresses and localhost: a name alone, without scheme or port (repeatable)
    #[arg(
        long,
        value_name = "HOST",
        env = "ECHOGATE_ALLOW_HOST",
        hide_env_values = true,
        value_delimiter = ','
    )]
    #[serde(deserialize_with = "parsed_list")]
    allow_host: Vec<AllowedHost>,

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

    /// Believe HTTP proxies in this network: the client is whom X-Forwarded-For names, and an
    /// Origin is compared with X-Forwarded-Host and X-Forwarded-Proto where they are sent
    /// (repeatable)
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

    /// The most connections held at once, TCP and WebSocket together; a WebSocket whose upstream
    /// is a listener here is one [default: 20000]
    #[arg(long, value_name = "N", env = "ECHOGATE_MAX_CONNECTIONS", hide_env_values = true)]
    max_connections: Option<u32>,

    /// The most connections held from one IPv4 address or IPv6 /64 network, and the most HTTP
    /// connections besides [default: 1000, loopback any number]
    #[arg(long, value_name = "N", env = "ECHOGATE_MAX_PER_ADDRESS", hide_env_values = true)]
    max_per_address: Option<u32>,

    /// Do not answer /api/connections, /api/events and /api/endpoints, which show everyone who
    /// can reach the HTTP port the address, label and byte counts of every client, and where
    /// the routes lead
    #[arg(long, env = "ECHOGATE_NO_API", hide_env_values = true)]
    no_api: bool,

    /// How long a client may take for the head of an HTTP request, and for a TLS handshake
    /// [default: 10s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_HEADER_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    header_timeout: Option<Duration>,

    /// How long a client may take no byte of an HTTP response before its connection is reset
    /// [default: 30s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_WRITE_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    write_timeout: Option<Duration>,

    /// How long an HTTP connection is kept open for the next request [default: 60s]
    #[arg(long, value_name = "TIME", env = "ECHOGATE_KEEP_ALIVE_TIMEOUT", hide_env_values = true, value_parser = parse_duration)]
    #[serde(deserialize_with = "parsed_duration")]
    keep_alive_timeout: Option<Duration>,

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

/// What the server does, every setting decided.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Where HTTP is served.
    pub http: Vec<Bind<HostPort>>,
    /// The services on endpoints of their own.
    pub listeners: Vec<Bind<ListenerSpec>>,
    /// The WebSocket paths.
    pub routes: Vec<RouteSpec>,
    /// Connections that the kernel holds until they are accepted.
    pub backlog: u32,
    /// The zone in which `time` answers.
    pub timezone: TimeZone,
    /// What chat's operators have to know, if it was given.
    pub operator_token: Option<Token>,
    /// The certificate and key of TLS listeners; with them all HTTP is such.
    pub tls: Option<Arc<Identity>>,
    /// The page's folder, if not the one built in.
    pub web_root: Option<PathBuf>,
    /// Origins whose pages may connect, beside the server's own.
    pub allow_origin: Vec<AllowedOrigin>,
    /// Names of this server that its pages may use, beside addresses and localhost.
    pub allow_host: Vec<AllowedHost>,
    /// Where connections begin with a PROXY header.
    pub proxy_protocol_from: Vec<Network>,
    /// Networks of the HTTP proxies whose `X-Forwarded-*` headers are believed.
    pub forwarded_from: Vec<Network>,
    /// How long connections may take to end.
    pub drain: Duration,
    /// The largest WebSocket message taken, in bytes.
    pub max_message: u64,
    /// The most connections held at once.
    pub max_connections: u32,
    /// The most connections of one IPv4 address or IPv6 /64 network; if none was given,
    /// connections from loopback are not counted.
    pub max_per_address: Option<u32>,
    /// Whether `/api/*` is answered.
    pub api: bool,
    /// How long the head of a request may take, or a TLS handshake.
    pub header_timeout: Duration,
    /// How long an HTTP client may take no byte of a response.
    pub write_timeout: Duration,
    /// How long an HTTP connection may wait for the next request.
    pub keep_alive_timeout: Duration,
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
    /// file that may have been named, and the defaults. What sockets were `inherited`
    /// takes the place of defaults.
    ///
    /// # Errors
    ///
    /// One line that names what is wrong and where.
    pub fn load(flags: Given, file: Option<&Path>, inherited: &Names) -> Result<Settings, String> {
        let file = file.map(file::read).transpose()?.unwrap_or_default();
        let listeners = first_given(flags.listen, file.listen);
        let routes = first_given(flags.route, file.route);
        // With routes alone it is a gateway and opens no service ports.
        let listeners = match listeners {
            Some(listeners) => required(listeners),
            None if routes.is_some() || !inherited.services.is_empty() => Vec::new(),
            None => default_listeners(),
        };
        let routes = routes.unwrap_or_else(|| {
            default_routes(|service| {
                let is_plain = |bind: &Bind<ListenerSpec>| {
                    bind.spec.service == service
                        && matches!(bind.spec.at, At::Tcp(_))
                        && !bind.spec.once
                };
                listeners.iter().any(is_plain)
            })
        });
        if let Some(double) = first_double(routes.iter().map(|route| &route.path)) {
            return Err(format!("route {double} is given twice"));
        }
        let tls = identity(flags.tls_cert.or(file.tls_cert), flags.tls_key.or(file.tls_key))?;
        if tls.is_none()
            && let Some(Bind { spec, .. }) =
                listeners.iter().find(|bind| matches!(bind.spec.at, At::Tls(_)))
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
        let write_timeout = time(flags.write_timeout, file.write_timeout, 30);
        let keep_alive_timeout = time(flags.keep_alive_timeout, file.keep_alive_timeout, 60);
        let dial_timeout = time(flags.dial_timeout, file.dial_timeout, 10);
        for (name, time) in [
            ("ping-interval", ping_interval),
            ("ping-timeout", ping_timeout),
            ("header-timeout", header_timeout),
            ("write-timeout", write_timeout),
            ("keep-alive-timeout", keep_alive_timeout),
            ("dial-timeout", dial_timeout),
        ] {
            if time.is_zero() {
                return Err(format!("{name} 0s leaves no time: expected more"));
            }
        }
        let http = match first_given(flags.http, file.http) {
            Some(http) => required(http),
            None if inherited.http => Vec::new(),
            None => loopback(8080).into(),
        };
        let backlog = flags.backlog.or(file.backlog).unwrap_or(4096);
        if backlog == 0 {
            return Err("backlog 0 would let nobody in: expected at least 1".to_owned());
        }
        let web_root = flags.web_root.or(file.web_root);
        if let Some(folder) = web_root.as_deref().filter(|folder| !folder.is_dir()) {
            return Err(format!("web-root {}: no such folder", folder.display()));
        }
        let token_file = flags.operator_token_file.or(file.operator_token_file);
        let timezone = flags.timezone.or(file.timezone);
        Ok(Settings {
            http,
            listeners,
            routes,
            backlog,
            timezone: timezone.map_or_else(TimeZone::system, |Zone(zone)| zone),
            operator_token: token_file.as_deref().map(operator_token).transpose()?,
            tls,
            web_root,
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
            api: !(flags.no_api || file.no_api),
            header_timeout,
            write_timeout,
            keep_alive_timeout,
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
