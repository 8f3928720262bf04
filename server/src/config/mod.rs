//! The settings of the server: flags first, then the environment, then the file, then
//! the defaults.
//!
//! - `addresses`: no two sockets on one
//! - `sources`: what was given, where, and under which name
//! - `environment`: all settings in variables
//! - `listener`: services on endpoints
//! - `route`: WebSocket paths and where they lead
//! - `origin`: whose pages may connect
//! - `values`: settings of a single value
//! - `file`: all of them in a file

mod activated;
mod addresses;
mod environment;
mod file;
mod listener;
mod origin;
mod route;
mod sources;
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

pub(crate) use self::{
    activated::ActivatedNames, environment::with_variables, origin::default_port,
    values::parse_duration,
};
use self::{
    addresses::check_addresses,
    listener::default_listeners,
    route::default_routes,
    sources::{Setting, list},
    values::{
        Count, Size, Time, Timeout, filled_list, identity, operator_token, parsed_list,
        parsed_option, path,
    },
};
pub(crate) use self::{
    listener::{ListenAddr, ListenerSpec, SocketPath},
    origin::{AllowedOrigin, Origin},
    route::{PAGE_PATHS, RouteSpec, Upstream},
    sources::Sources,
    values::{BindAddress, Zone},
};
use crate::{
    net::{authority::AllowedHost, proxy::Network, tls::identity::Identity},
    service::{Service, chat::Token},
};

/// The settings of one source: the command line, the environment or a file. What is `None`
/// or empty was not given. Its flags have their variables by name (`environment`).
#[derive(Args, Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields, rename_all = "kebab-case")]
pub(crate) struct Given {
    /// Where the page and the WebSocket routes are served (repeatable)
    /// [default: 127.0.0.1:8080 and [::1]:8080]
    #[arg(long, value_name = "HOST:PORT")]
    #[serde(deserialize_with = "parsed_list")]
    http: Vec<BindAddress>,

    /// A service on an endpoint of its own, as upper=tcp://127.0.0.1:7007 (repeatable;
    /// tcp, tls, unix, udp, unixgram; ?once answers one message a connection, ?mode=660
    /// is for sockets in the file system)
    /// [default: upper on port 7007, time on 7013, chat on 7017, of 127.0.0.1 and [::1]]
    #[arg(long, value_name = "SERVICE=URL")]
    #[serde(rename = "listener", deserialize_with = "filled_list")]
    listen: Vec<ListenerSpec>,

    /// A WebSocket path bridged to an endpoint, as /ws=tcp://127.0.0.1:7007?framing=message
    /// (repeatable). Options: framing=bytes, text, line or message, with chunk=N, the
    /// largest message in bytes (bytes, text), invalid=close, replace or binary for what is not
    /// UTF-8 (text, line), newline=lf or crlf towards the upstream (line); max=N connections;
    /// protocol=NAME, its subprotocol; proxy=v1 or v2, by which PROXY header it is told of the
    /// client; with tls://, ca=FILE and server-name=NAME say how it is verified
    /// [default: /ws to upper, /ws/echo, /ws/time, /ws/chat, /ws/operator]
    #[arg(long, value_name = "PATH=URL")]
    #[serde(deserialize_with = "filled_list")]
    route: Vec<RouteSpec>,

    /// Connections that the kernel holds until they are accepted; beyond them it turns a
    /// burst of clients away. It takes no more than net.core.somaxconn [default: 4096]
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "parsed_option")]
    backlog: Option<Count>,

    /// The zone in which the service time answers, as Europe/Berlin [default: the system's]
    #[arg(long, value_name = "NAME")]
    #[serde(deserialize_with = "parsed_option")]
    timezone: Option<Zone>,

    /// What chat's operators have to know: the first line of this file, 16 characters at
    /// least [default: made at the start, and printed]
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "path")]
    operator_token_file: Option<PathBuf>,

    /// The server's certificate in PEM, those that lead to its root behind it: with it, all
    /// that is HTTP is HTTPS. Read again at SIGHUP
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "path")]
    tls_cert: Option<PathBuf>,

    /// The certificate's private key in PEM
    #[arg(long, value_name = "FILE")]
    #[serde(deserialize_with = "path")]
    tls_key: Option<PathBuf>,

    /// Serve the page from this folder instead of the one built in: without that one's
    /// Content-Security-Policy, and without the folder's dot files. Symbolic links in it are
    /// followed, wherever they lead
    #[arg(long, value_name = "DIR")]
    #[serde(deserialize_with = "path")]
    web_root: Option<PathBuf>,

    /// Pages of this origin may connect, too: SCHEME://HOST[:PORT], null (pages without an origin,
    /// as sandboxed frames and most browsers' local files; any site can make such), file://, or *
    /// for every page (repeatable) [default: only the server's own page]
    #[arg(long, value_name = "ORIGIN")]
    #[serde(deserialize_with = "parsed_list")]
    allow_origin: Vec<AllowedOrigin>,

    /// A host name under which the page, the API, /metrics and the page's WebSockets are answered,
    /// beside IP addresses and localhost: a name alone, without scheme or port (repeatable)
    #[arg(long, value_name = "HOST")]
    #[serde(deserialize_with = "parsed_list")]
    allow_host: Vec<AllowedHost>,

    /// Connections from this network begin with a PROXY header, version 1 or 2, that says
    /// who the client is, as 10.0.0.0/8 (repeatable)
    #[arg(long, value_name = "NETWORK")]
    #[serde(deserialize_with = "parsed_list")]
    proxy_protocol_from: Vec<Network>,

    /// Believe HTTP proxies in this network: the client is whom X-Forwarded-For names, and an
    /// Origin is compared with X-Forwarded-Host and X-Forwarded-Proto where they are sent
    /// (repeatable)
    #[arg(long, value_name = "NETWORK")]
    #[serde(deserialize_with = "parsed_list")]
    forwarded_from: Vec<Network>,

    /// How long connections may take to end after SIGTERM or SIGINT, as 10s or 500ms
    /// [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    drain: Option<Time>,

    /// The largest WebSocket message taken, in bytes, or as 64K or 16M (powers of 1024)
    /// [default: 16M]
    #[arg(long, value_name = "SIZE")]
    #[serde(deserialize_with = "parsed_option")]
    max_message: Option<Size>,

    /// The most connections held at once, TCP and WebSocket together; a WebSocket whose upstream
    /// is a listener here is one [default: 20000]
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "parsed_option")]
    max_connections: Option<Count>,

    /// The most connections held from one IPv4 address or IPv6 /64 network, and the most HTTP
    /// connections besides [default: 1000, loopback any number]
    #[arg(long, value_name = "N")]
    #[serde(deserialize_with = "parsed_option")]
    max_per_address: Option<Count>,

    /// Do not answer /api/connections, /api/events and /api/endpoints, which show everyone who
    /// can reach the HTTP port the address, label and byte counts of every client, and where
    /// the routes lead
    #[arg(long)]
    no_api: bool,

    /// How long a client may take for the head of an HTTP request, and for a TLS handshake
    /// [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    header_timeout: Option<Timeout>,

    /// How long a client may take no byte of an HTTP response before its connection is reset
    /// [default: 30s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    write_timeout: Option<Timeout>,

    /// How long an HTTP connection is kept open for the next request [default: 60s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    keep_alive_timeout: Option<Timeout>,

    /// How long an upstream may take to accept a connection, TLS included [default: 10s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    dial_timeout: Option<Timeout>,

    /// How long a connection may carry nothing before it is ended; 0s is for ever
    /// [default: 0s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    idle_timeout: Option<Time>,

    /// How long a WebSocket client may say nothing before it is sent a Ping [default: 20s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    ping_interval: Option<Timeout>,

    /// How long a WebSocket client may say nothing after a Ping before it is dropped
    /// [default: 20s]
    #[arg(long, value_name = "TIME")]
    #[serde(deserialize_with = "parsed_option")]
    ping_timeout: Option<Timeout>,
}

/// What the server does, every setting decided.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Where HTTP is served.
    pub(crate) http: Vec<Bind<HostPort>>,
    /// The services on endpoints of their own.
    pub(crate) listeners: Vec<Bind<ListenerSpec>>,
    /// The WebSocket paths.
    pub(crate) routes: Vec<RouteSpec>,
    /// Connections that the kernel holds until they are accepted.
    pub(crate) backlog: u32,
    /// The zone in which `time` answers.
    pub(crate) timezone: TimeZone,
    /// What chat's operators have to know, if it was given.
    pub(crate) operator_token: Option<Token>,
    /// The certificate and key of TLS listeners; with them all HTTP is such.
    pub(crate) tls: Option<Arc<Identity>>,
    /// The page's folder, if not the one built in.
    pub(crate) web_root: Option<PathBuf>,
    /// Origins whose pages may connect, beside the server's own.
    pub(crate) allow_origin: Vec<AllowedOrigin>,
    /// Names of this server that its pages may use, beside addresses and localhost.
    pub(crate) allow_host: Vec<AllowedHost>,
    /// Where connections begin with a PROXY header.
    pub(crate) proxy_protocol_from: Vec<Network>,
    /// Networks of the HTTP proxies whose `X-Forwarded-*` headers are believed.
    pub(crate) forwarded_from: Vec<Network>,
    /// How long connections may take to end.
    pub(crate) drain: Duration,
    /// The largest WebSocket message taken, in bytes.
    pub(crate) max_message: u64,
    /// The most connections held at once.
    pub(crate) max_connections: u32,
    /// The most connections of one IPv4 address or IPv6 /64 network; if none was given,
    /// connections from loopback are not counted.
    pub(crate) max_per_address: Option<u32>,
    /// Whether `/api/*` is answered.
    pub(crate) api: bool,
    /// How long the head of a request may take, or a TLS handshake.
    pub(crate) header_timeout: Duration,
    /// How long an HTTP client may take no byte of a response.
    pub(crate) write_timeout: Duration,
    /// How long an HTTP connection may wait for the next request.
    pub(crate) keep_alive_timeout: Duration,
    /// How long an upstream may take to accept.
    pub(crate) dial_timeout: Duration,
    /// How long a connection may carry nothing, if not for ever.
    pub(crate) idle_timeout: Option<Duration>,
    /// The silence of a WebSocket client after which it is sent a Ping.
    pub(crate) ping_interval: Duration,
    /// How long it may be silent after that.
    pub(crate) ping_timeout: Duration,
}

/// Something to bind.
#[derive(Clone, Debug)]
pub(crate) struct Bind<T> {
    /// What, and where.
    pub(crate) spec: T,
    /// It was asked for; a default may be left out where the machine has no IPv6.
    pub(crate) required: bool,
}

impl Settings {
    /// The scheme of the HTTP listeners' URLs.
    pub(crate) fn http_scheme(&self) -> &'static str {
        if self.tls.is_some() { "https" } else { "http" }
    }

    /// Decides every setting by what was given and the defaults. Sockets that were `inherited`
    /// take the place of defaults.
    ///
    /// # Errors
    ///
    /// One line that names what is wrong and where.
    pub(crate) fn load(sources: &Sources, inherited: &ActivatedNames) -> Result<Settings, String> {
        let Endpoints { http, listeners, routes } = Endpoints::of(sources, inherited)?;
        let tls = identity(
            sources.find("tls-cert", |given| given.tls_cert.clone()),
            sources.find("tls-key", |given| given.tls_key.clone()),
        )?;
        let is_tls = |bind: &Bind<ListenerSpec>| matches!(bind.spec.at, ListenAddr::Tls(_));
        if tls.is_none()
            && let Some((given, setting)) = sources.find("listen", |given| list(&given.listen))
            && let Some(i) = listeners.iter().position(is_tls)
        {
            let (setting, spec) = (setting.element(i), &given[i]);
            return Err(format!("{setting}: {spec} needs tls-cert and tls-key"));
        }
        let has_effect = |setting: Setting<'_>, service: Service| match is_served(
            service, &listeners, &routes, inherited,
        ) {
            true => Ok(()),
            false => Err(format!("{setting} {}", without_effect(service))),
        };
        let timezone = match sources.find("timezone", |given| given.timezone.clone()) {
            Some((Zone(zone), setting)) => {
                has_effect(setting, Service::Time)?;
                zone
            }
            None => TimeZone::system(),
        };
        let token_file =
            sources.find("operator-token-file", |given| given.operator_token_file.clone());
        let operator_token = match token_file {
            Some((file, setting)) => {
                has_effect(setting, Service::Operator)?;
                Some(operator_token(&file).map_err(|why| format!("{setting}: {why}"))?)
            }
            None => None,
        };
        let web_root = match sources.find("web-root", |given| given.web_root.clone()) {
            Some((folder, setting)) if !folder.is_dir() => {
                return Err(format!("{setting}: {}: no such folder", folder.display()));
            }
            found => found.map(|(folder, _)| folder),
        };
        let timeout = |get: fn(&Given) -> Option<Timeout>, default| {
            sources.value(get).map_or(Duration::from_secs(default), |Timeout(time)| time)
        };
        let count =
            |get: fn(&Given) -> Option<Count>| sources.value(get).map(|Count(number)| number);
        let time = |get: fn(&Given) -> Option<Time>| sources.value(get).map(|Time(time)| time);
        Ok(Settings {
            http,
            listeners,
            routes,
            backlog: count(|given| given.backlog).unwrap_or(4096),
            timezone,
            operator_token,
            tls,
            web_root,
            allow_origin: sources.value(|given| list(&given.allow_origin)).unwrap_or_default(),
            allow_host: sources.value(|given| list(&given.allow_host)).unwrap_or_default(),
            proxy_protocol_from: sources
                .value(|given| list(&given.proxy_protocol_from))
                .unwrap_or_default(),
            forwarded_from: sources.value(|given| list(&given.forwarded_from)).unwrap_or_default(),
            drain: time(|given| given.drain).unwrap_or(Duration::from_secs(10)),
            max_message: sources
                .value(|given| given.max_message)
                .map_or(16 << 20, |Size(bytes)| bytes),
            max_connections: count(|given| given.max_connections).unwrap_or(20_000),
            max_per_address: count(|given| given.max_per_address),
            api: sources.value(|given| given.no_api.then_some(())).is_none(),
            header_timeout: timeout(|given| given.header_timeout, 10),
            write_timeout: timeout(|given| given.write_timeout, 30),
            keep_alive_timeout: timeout(|given| given.keep_alive_timeout, 60),
            dial_timeout: timeout(|given| given.dial_timeout, 10),
            idle_timeout: time(|given| given.idle_timeout).filter(|time| !time.is_zero()),
            ping_interval: timeout(|given| given.ping_interval, 20),
            ping_timeout: timeout(|given| given.ping_timeout, 20),
        })
    }

    /// Checks that a flag which is for `service` alone has something to act on.
    ///
    /// # Errors
    ///
    /// Half a sentence that says why it has no effect.
    pub(crate) fn check_served(
        &self,
        service: Service,
        inherited: &ActivatedNames,
    ) -> Result<(), String> {
        match is_served(service, &self.listeners, &self.routes, inherited) {
            true => Ok(()),
            false => Err(without_effect(service)),
        }
    }
}

/// Checks the settings of a file that need neither the environment nor other files.
///
/// # Errors
///
/// One line that names the line of the file and what is wrong there.
pub fn check_file(path: &Path, text: &str) -> Result<(), String> {
    Endpoints::of(&Sources::of_file(path, text)?, &ActivatedNames::default()).map(drop)
}

/// What is served, and where: of the settings, or by default.
struct Endpoints {
    http: Vec<Bind<HostPort>>,
    listeners: Vec<Bind<ListenerSpec>>,
    routes: Vec<RouteSpec>,
}

impl Endpoints {
    fn of(sources: &Sources, inherited: &ActivatedNames) -> Result<Endpoints, String> {
        let (routes, route) = sources.find("route", |given| list(&given.route)).unzip();
        let (listeners, listen) = sources.find("listen", |given| list(&given.listen)).unzip();
        let (http, http_setting) = sources.find("http", |given| list(&given.http)).unzip();

        // With routes alone it is a gateway and opens no service ports.
        let is_gateway = routes.is_some() || !inherited.services.is_empty();
        let listeners = match listeners {
            Some(listeners) => required(listeners),
            None if is_gateway => Vec::new(),
            None => default_listeners(),
        };
        let http = match http {
            Some(http) => required(http.into_iter().map(|BindAddress(at)| at)),
            None if inherited.http => Vec::new(),
            None => loopback(8080).into(),
        };
        check_addresses((&listeners, listen), (&http, http_setting))?;
        let is_plain = |bind: &Bind<ListenerSpec>| {
            matches!(bind.spec.at, ListenAddr::Tcp(_)) && !bind.spec.once
        };
        let has_plain = |service: Service| {
            listeners.iter().any(|bind| bind.spec.service == service && is_plain(bind))
        };
        let routes = routes.unwrap_or_else(|| default_routes(has_plain));
        for (i, RouteSpec { path, .. }) in routes.iter().enumerate() {
            if let Some(setting) = route
                && routes[..i].iter().any(|before| before.path == *path)
            {
                return Err(format!("{}: path {path} is given twice", setting.element(i)));
            }
        }
        Ok(Endpoints { http, listeners, routes })
    }
}

/// Whether a listener, a route or an inherited socket leads to `service`.
fn is_served(
    service: Service,
    listeners: &[Bind<ListenerSpec>],
    routes: &[RouteSpec],
    inherited: &ActivatedNames,
) -> bool {
    let leads_there = |route: &RouteSpec| match route.upstream {
        Upstream::Service(other) | Upstream::Listener(other) => other == service,
        _ => false,
    };
    listeners.iter().any(|bind| bind.spec.service == service)
        || inherited.services.contains(&service)
        || routes.iter().any(leads_there)
}

fn without_effect(service: Service) -> String {
    format!("has no effect: no listener and no route is of service {service}")
}

fn required<T>(specs: impl IntoIterator<Item = T>) -> Vec<Bind<T>> {
    specs.into_iter().map(|spec| Bind { spec, required: true }).collect()
}

/// `port` of both loopback addresses, of which IPv4's must be there.
fn loopback(port: u16) -> [Bind<HostPort>; 2] {
    [("127.0.0.1", true), ("::1", false)]
        .map(|(host, required)| Bind { spec: HostPort { host: host.to_owned(), port }, required })
}
