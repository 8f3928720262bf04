//! The settings of the server: the merged, validated values.

use std::{path::PathBuf, sync::Arc, time::Duration};

use echogate_proto::close::CloseCode;
use jiff::tz::TimeZone;

use super::{
    ActivatedNames, AllowedOrigin, BasePath, Bind, ClusterSettings, ForwardSpec, HandoverPath,
    ListenAddr, ListenerSpec, LogFormat, RouteSpec, TargetSpec, UpstreamSpec, endpoints::Endpoints,
    listener::first_plain, proxies,
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
    /// The sockets of built-in services.
    pub(crate) listeners: Vec<Bind<ListenerSpec>>,
    /// The WebSocket paths and their upstreams.
    pub(crate) routes: Vec<RouteSpec>,
    /// The sockets whose connections are passed to an upstream.
    pub(crate) forwards: Vec<ForwardSpec>,
    pub(crate) backlog: u32,
    /// The time zone of the service `time`.
    pub(crate) timezone: TimeZone,
    pub(crate) log_format: LogFormat,
    /// The operators' token; None generates one.
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
    /// The broker of the replicas; `None` joins no cluster.
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

impl Settings {
    /// Lines of the announcement: one for each upstream that is reached through a proxy, one for
    /// the recorder and one for the broker; and a note for each option of echogate in the query of
    /// a WebSocket URL.
    pub(crate) fn summary_lines(&self) -> Vec<String> {
        let mut lines = proxies::lines(&self.proxies, targets(&self.routes, &self.forwards));
        lines.extend(self.record.iter().map(|record| format!("record     {record}")));
        lines.extend(
            self.cluster.iter().map(|ClusterSettings { url, .. }| {
                format!("cluster    {} through {url}", url.name)
            }),
        );
        for target in targets(&self.routes, &self.forwards) {
            // Without the values, which may be secrets.
            let at = target.upstream.without_query();
            lines.extend(target.options_in_query.iter().map(|key| {
                format!(
                    "note       {key} in the query is sent to {at}: options of echogate follow # \
                     (…#{key}=…)"
                )
            }));
        }
        lines
    }

    /// The address of the listener to which a default route leads.
    pub(crate) fn listener_of(&self, upstream: &UpstreamSpec) -> Option<&ListenAddr> {
        let UpstreamSpec::Listener(service) = upstream else { return None };
        first_plain(&self.listeners, *service).map(|spec| &spec.at)
    }

    /// Checks that a listener, a route, a forward or a passed socket uses `service`, so that a flag
    /// for that service has an effect.
    ///
    /// # Errors
    ///
    /// A predicate for a sentence whose subject is the flag.
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
pub(super) fn targets<'a>(
    routes: &'a [RouteSpec],
    forwards: &'a [ForwardSpec],
) -> impl Iterator<Item = &'a TargetSpec> {
    let routes = routes.iter().map(|route| &route.target);
    routes.chain(forwards.iter().map(|forward| &forward.target))
}
