//! The settings of the server: flags override the environment, which overrides the file, which
//! overrides the defaults.
//!
//! - `layer`: the settings of one source; `environment` and `file` read theirs
//! - `sources`: all layers, and the name under which each setting was given
//! - `endpoints`: HTTP addresses, listeners, routes and forwards; `addresses`: no address twice;
//!   `loops`: no route or forward leads to itself
//! - `listener`, `route`, `forward`: their specifications; `upstream`: the URL of the last two, with
//!   `framing` and `headers` as its options, and `side` the kinds of its clients
//! - `http_address`, `base_path`, `origin`, `values`: the other values; `secrets`, `tls`: token,
//!   certificate, key
//! - `handover`: the socket of the handover; `record`: recordings; `proxies`: the proxies through
//!   which upstreams are connected to; `cluster`: the broker of the replicas
//! - `log_format`: the format of the log, in force for the whole process
//! - `activated`: sockets passed by a service manager

mod activated;
mod addresses;
mod base_path;
mod cluster;
mod endpoints;
mod environment;
mod file;
mod forward;
mod framing;
mod handover;
mod headers;
mod http_address;
mod layer;
mod listener;
mod log_format;
mod loops;
mod origin;
mod proxies;
mod record;
mod route;
mod secrets;
mod side;
mod sources;
mod tls;
mod upstream;
mod values;

use std::{
    path::{Path, PathBuf},
    sync::Arc,
    time::Duration,
};

use echogate_proto::close::CloseCode;
use jiff::tz::TimeZone;

pub(crate) use self::{
    activated::ActivatedNames,
    base_path::BasePath,
    cluster::{ClusterSettings, ClusterUrl, Login},
    environment::with_variables,
    forward::ForwardSpec,
    handover::HandoverPath,
    http_address::HttpAddress,
    layer::ConfigLayer,
    listener::{ListenAddr, ListenerSpec, SocketPath},
    log_format::LogFormat,
    origin::{AllowedOrigin, Origin, default_port},
    route::{ANY_PATH, PAGE_PATHS, RouteSpec, is_reserved},
    side::SideKind,
    sources::Sources,
    upstream::{TargetSpec, UpstreamSpec, WebSocketSpec},
    values::parse_duration,
};
use self::{
    addresses::sockets, endpoints::Endpoints, secrets::operator_token, sources::list, tls::load_tls,
};
use crate::{
    net::{
        authority::AllowedHost,
        networks::{Network, TrustedProxy},
        proxy::selection::Proxies,
        tls::server::ServerTls,
    },
    recorder::RecorderSettings,
    service::{Service, chat::Token},
};

/// The settings of the server, merged from all sources and validated.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// Addresses that HTTP is served on: over TCP or a Unix socket, and as HTTPS over TLS.
    pub(crate) http: Vec<Bind<ListenAddr>>,
    /// The path below which a proxy publishes the server; empty for none.
    pub(crate) base_path: BasePath,
    /// Services on endpoints of their own.
    pub(crate) listeners: Vec<Bind<ListenerSpec>>,
    /// The WebSocket paths.
    pub(crate) routes: Vec<RouteSpec>,
    /// The sockets whose connections are passed to an upstream.
    pub(crate) forwards: Vec<ForwardSpec>,
    /// The listen backlog.
    pub(crate) backlog: u32,
    /// The time zone of the service `time`.
    pub(crate) timezone: TimeZone,
    /// The format of the log.
    pub(crate) log_format: LogFormat,
    /// The token of chat's operators; None generates one.
    pub(crate) operator_token: Option<Token>,
    /// The certificate and key of HTTPS and of the TLS listeners.
    pub(crate) tls: Option<Arc<ServerTls>>,
    /// The directory of the page; None serves the built-in page.
    pub(crate) web_root: Option<PathBuf>,
    /// Origins whose pages may connect, besides the server's own.
    pub(crate) allow_origin: Vec<AllowedOrigin>,
    /// Accepted `Host` names, besides IP addresses and localhost.
    pub(crate) allow_host: Vec<AllowedHost>,
    /// Networks whose connections begin with a PROXY header.
    pub(crate) proxy_protocol_from: Vec<Network>,
    /// Proxies whose `X-Forwarded-*` and `Forwarded` headers are trusted.
    pub(crate) forwarded_from: Vec<TrustedProxy>,
    /// The proxies through which upstreams are connected to.
    pub(crate) proxies: Proxies,
    /// The recorder; None records nothing.
    pub(crate) record: Option<RecorderSettings>,
    /// The time limit of a shutdown, from the signal.
    pub(crate) drain: Duration,
    /// The time at the beginning of a shutdown for which connections are still accepted.
    pub(crate) drain_delay: Duration,
    /// The close code of a shutdown.
    pub(crate) drain_code: CloseCode,
    /// The socket of the handover; None hands over nothing.
    pub(crate) handover: Option<HandoverPath>,
    /// The broker of the replicas; None joins no others.
    pub(crate) cluster: Option<ClusterSettings>,
    /// The largest accepted WebSocket message, in bytes.
    pub(crate) max_message: u64,
    /// The most simultaneous connections.
    pub(crate) max_connections: u32,
    /// The most connections of one IPv4 address or IPv6 /64 network; None is the default, which
    /// exempts loopback.
    pub(crate) max_per_address: Option<u32>,
    /// Whether `/api/*` is answered.
    pub(crate) api: bool,
    /// Whether connections may be tapped.
    pub(crate) tap: bool,
    /// Whether the API ends connections and the server.
    pub(crate) control: bool,
    /// The time limit of a request head, a TLS handshake or a PROXY header.
    pub(crate) header_timeout: Duration,
    /// The time for which an HTTP client may accept no byte of a response.
    pub(crate) write_timeout: Duration,
    /// The time for which an HTTP connection may be idle between requests.
    pub(crate) keep_alive_timeout: Duration,
    /// The time limit of connecting to an upstream.
    pub(crate) dial_timeout: Duration,
    /// The time for which a connection may be idle; None disables the limit.
    pub(crate) idle_timeout: Option<Duration>,
    /// The time for which a WebSocket client may be silent before a Ping.
    pub(crate) ping_interval: Duration,
    /// The time for which a WebSocket client may be silent after a Ping.
    pub(crate) ping_timeout: Duration,
}

/// A socket to bind.
#[derive(Clone, Debug)]
pub(crate) struct Bind<T> {
    /// The purpose and the address.
    pub(crate) spec: T,
    /// False for a default that is left out if the machine has no IPv6.
    pub(crate) required: bool,
}

impl<T> Bind<T> {
    fn map<U>(self, with: impl FnOnce(T) -> U) -> Bind<U> {
        Bind { spec: with(self.spec), required: self.required }
    }
}

impl Settings {
    /// Merges the sources and the defaults, and reads the files that they name. Sockets passed by a
    /// service manager (`activated`) replace default addresses.
    ///
    /// # Errors
    ///
    /// One line that names the setting and says what is wrong with it.
    pub(crate) fn load(sources: &Sources, activated: &ActivatedNames) -> Result<Settings, String> {
        let mut endpoints = Endpoints::new(sources, activated)?;
        let record = record::load(sources, &mut endpoints)?;
        let Endpoints { http, base_path, listeners, routes, forwards } = endpoints;
        let check_served = |service| {
            Endpoints::check_served(&listeners, targets(&routes, &forwards), service, activated)
        };
        check_forwarded_from(sources, &http, activated)?;
        let timezone = load_timezone(sources, check_served)?;
        let operator_token = load_operator_token(sources, check_served)?;
        let tls = load_tls(sources, &sockets(sources, &listeners, &forwards, &http), &http)?;
        let web_root = load_web_root(sources)?;
        let cluster = cluster::load(sources)?;
        let proxies = proxies::load(sources, targets(&routes, &forwards))?;
        let seconds = Duration::from_secs;
        let time = |get: fn(&ConfigLayer) -> Option<Duration>| sources.value(get);
        let drain = time(|layer| layer.drain).unwrap_or(seconds(10));
        let drain_delay = load_drain_delay(sources, drain)?;
        Ok(Settings {
            http,
            base_path,
            listeners,
            routes,
            forwards,
            backlog: sources.value(|layer| layer.backlog).unwrap_or(4096),
            timezone,
            log_format: sources.log_format(),
            operator_token,
            tls,
            web_root,
            allow_origin: sources.list(|layer| &layer.allow_origin),
            allow_host: sources.list(|layer| &layer.allow_host),
            proxy_protocol_from: sources.list(|layer| &layer.proxy_protocol_from),
            forwarded_from: sources.list(|layer| &layer.forwarded_from),
            drain,
            drain_delay,
            drain_code: sources.value(|layer| layer.drain_code).unwrap_or(CloseCode::GOING_AWAY),
            handover: sources.value(|layer| layer.handover.clone()),
            proxies,
            record,
            cluster,
            max_message: sources.value(|layer| layer.max_message).unwrap_or(16 << 20),
            max_connections: sources.value(|layer| layer.max_connections).unwrap_or(20_000),
            max_per_address: sources.value(|layer| layer.max_per_address),
            api: sources.value(|layer| layer.no_api.then_some(())).is_none(),
            tap: sources.value(|layer| layer.no_tap.then_some(())).is_none(),
            control: sources.value(|layer| layer.no_control.then_some(())).is_none(),
            header_timeout: time(|layer| layer.header_timeout).unwrap_or(seconds(10)),
            write_timeout: time(|layer| layer.write_timeout).unwrap_or(seconds(30)),
            keep_alive_timeout: time(|layer| layer.keep_alive_timeout).unwrap_or(seconds(60)),
            dial_timeout: time(|layer| layer.dial_timeout).unwrap_or(seconds(10)),
            idle_timeout: time(|layer| layer.idle_timeout).filter(|time| !time.is_zero()),
            ping_interval: time(|layer| layer.ping_interval).unwrap_or(seconds(20)),
            ping_timeout: time(|layer| layer.ping_timeout).unwrap_or(seconds(20)),
        })
    }

    /// One line for each upstream that is connected to through a proxy, for the recorder, and for
    /// the broker.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = proxies::lines(&self.proxies, targets(&self.routes, &self.forwards));
        lines.extend(self.record.iter().map(|record| format!("record     {record}")));
        lines.extend(
            self.cluster.iter().map(|ClusterSettings { url, .. }| {
                format!("cluster    {} through {url}", url.name)
            }),
        );
        lines
    }

    /// Checks that a listener, a route or a passed socket uses `service`, which a flag is for.
    ///
    /// # Errors
    ///
    /// Half a sentence, to be preceded by the flag: why it has no effect.
    pub(crate) fn check_served(
        &self,
        service: Service,
        activated: &ActivatedNames,
    ) -> Result<(), String> {
        let targets = targets(&self.routes, &self.forwards);
        Endpoints::check_served(&self.listeners, targets, service, activated)
    }
}

/// The targets of all routes and forwards.
fn targets<'a>(
    routes: &'a [RouteSpec],
    forwards: &'a [ForwardSpec],
) -> impl Iterator<Item = &'a TargetSpec> {
    let routes = routes.iter().map(|route| &route.target);
    routes.chain(forwards.iter().map(|forward| &forward.target))
}

/// Checks that the value `unix` of `--forwarded-from` has an effect.
fn check_forwarded_from(
    sources: &Sources,
    http: &[Bind<ListenAddr>],
    activated: &ActivatedNames,
) -> Result<(), String> {
    let found = sources.find("forwarded-from", |layer| list(&layer.forwarded_from));
    let Some((proxies, setting)) = found else { return Ok(()) };
    let has_socket = http.iter().any(|bind| matches!(bind.spec, ListenAddr::Unix(_)));
    // A passed socket may be a Unix socket.
    if has_socket || activated.http {
        return Ok(());
    }
    match proxies.iter().position(|proxy| *proxy == TrustedProxy::UnixSocket) {
        Some(i) => Err(format!(
            "{}: unix has no effect: HTTP is served on no Unix socket (--http unix:///PATH)",
            setting.element(i)
        )),
        None => Ok(()),
    }
}

fn load_timezone(
    sources: &Sources,
    check_served: impl Fn(Service) -> Result<(), String>,
) -> Result<TimeZone, String> {
    let Some((zone, setting)) = sources.find("timezone", |layer| layer.timezone.clone()) else {
        return Ok(TimeZone::system());
    };
    check_served(Service::Time).map_err(|why| format!("{setting} {why}"))?;
    Ok(zone)
}

fn load_operator_token(
    sources: &Sources,
    check_served: impl Fn(Service) -> Result<(), String>,
) -> Result<Option<Token>, String> {
    let file = sources.find("operator-token-file", |layer| layer.operator_token_file.clone());
    let Some((file, setting)) = file else { return Ok(None) };
    check_served(Service::Operator).map_err(|why| format!("{setting} {why}"))?;
    operator_token(&file).map(Some).map_err(|why| format!("{setting}: {why}"))
}

fn load_drain_delay(sources: &Sources, drain: Duration) -> Result<Duration, String> {
    match sources.find("drain-delay", |layer| layer.drain_delay) {
        Some((delay, setting)) if !delay.is_zero() && delay >= drain => {
            Err(format!("{setting}: expected less than --drain ({drain:?}), which includes it"))
        }
        found => Ok(found.map_or(Duration::ZERO, |(delay, _)| delay)),
    }
}

fn load_web_root(sources: &Sources) -> Result<Option<PathBuf>, String> {
    match sources.find("web-root", |layer| layer.web_root.clone()) {
        Some((folder, setting)) if !folder.is_dir() => {
            Err(format!("{setting}: {}: not a directory", folder.display()))
        }
        found => Ok(found.map(|(folder, _)| folder)),
    }
}

/// Checks the settings of a file that need neither the environment nor other files.
///
/// # Errors
///
/// One line that names the line of the file and what is wrong there.
pub(crate) fn check_file(path: &Path, text: &str) -> Result<(), String> {
    Endpoints::new(&Sources::of_file(path, text)?, &ActivatedNames::default()).map(drop)
}
