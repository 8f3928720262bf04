//! A configuration snapshot: one configuration and everything derived from it. A reload replaces
//! the snapshot in force; connections keep the one that they were accepted under.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use echogate_proto::{
    api::{Endpoints, ForwardInfo, ListenerInfo, RouteInfo},
    endpoint::HostPort,
};
use tokio::sync::watch;

use super::sockets::{BoundSocket, BoundSockets, Purpose};
use crate::{
    config::{BasePath, ForwardSpec, RouteSpec, Settings, SideKind, TargetSpec, UpstreamSpec},
    connections::{
        limits::Limits,
        target::{ConnectionTarget, TargetLabel, TargetMetrics},
    },
    context::{ListenerService, ServerContext},
    gateway::{Forward, Route, Target, bridge, upstream::Upstream},
    http::Site,
    net::{own_sockets::OwnSockets, proxy::selection::Scheme},
    service::{Service, backend::ServiceInstance, chat::Hub},
};

/// The snapshot in force. A connection takes it when it is accepted, and keeps it.
pub(super) type CurrentSnapshot = watch::Sender<Arc<Snapshot>>;

/// The recipient of the connections of a socket.
#[derive(Clone, Debug)]
pub(crate) enum Served {
    /// HTTP, with the WebSocket routes.
    Http { is_https: bool },
    /// A built-in service.
    Service(Arc<ListenerService>),
    /// The upstream of a forward.
    Forward(Arc<Forward>),
}

/// One configuration and everything derived from it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) context: Arc<ServerContext>,
    /// The answers to HTTP requests.
    pub(crate) site: Arc<Site>,
    /// The recipients of the connections, by the identifiers of their sockets.
    served: HashMap<u64, Served>,
    /// The datagram sockets, whose datagrams are not answered.
    pub(crate) own_datagram_sockets: OwnSockets,
    /// One line for each socket and route.
    pub(crate) lines: Vec<String>,
    /// A listener or a route leads to the service `operator`.
    pub(crate) has_operators: bool,
}

impl Snapshot {
    /// Builds a snapshot. What outlives a configuration (limits, registry, event loops) is taken
    /// over from `before`.
    ///
    /// # Errors
    ///
    /// The local address of a socket, or the proxy of an upstream, cannot be determined.
    pub(crate) fn new(
        settings: Settings,
        sockets: &BoundSockets,
        hub: &Arc<Hub>,
        before: &ServerContext,
    ) -> io::Result<Snapshot> {
        let instance = |service| match service {
            Service::Upper => ServiceInstance::Upper,
            Service::Echo => ServiceInstance::Echo,
            Service::Time => ServiceInstance::Time(settings.timezone.clone()),
            Service::Chat => ServiceInstance::Chat(hub.clone()),
            Service::Operator => ServiceInstance::Operator(hub.clone()),
        };
        let here = |at| Upstream::Listener(at, before.hairpins.clone());
        let destination = |scheme, at: &HostPort| {
            settings.proxies.destination(scheme, at).map_err(io::Error::other)
        };
        let upstream = |spec: &UpstreamSpec| -> io::Result<Upstream> {
            Ok(match spec {
                UpstreamSpec::Tcp(at) => match own_address(sockets, at) {
                    Some(at) => here(at),
                    None => Upstream::Tcp(destination(Scheme::Tcp, at)?),
                },
                UpstreamSpec::Tls(at, trust) => {
                    Upstream::Tls(destination(Scheme::Tls, at)?, trust.clone())
                }
                UpstreamSpec::Unix(path) => Upstream::Unix(path.clone()),
                UpstreamSpec::WebSocket(spec) => {
                    Upstream::WebSocket(spec.clone(), destination(spec.proxy_scheme(), &spec.at)?)
                }
                UpstreamSpec::Udp(at) => Upstream::Udp(at.clone()),
                UpstreamSpec::UnixGram(path) => Upstream::UnixGram(path.clone()),
                UpstreamSpec::Service(service) => Upstream::Service(instance(*service)),
                UpstreamSpec::Listener(service) => reachable(sockets, *service)
                    .map_or_else(|| Upstream::Service(instance(*service)), here),
            })
        };
        let targets = TargetMetrics::of_labels(labels(&settings), &before.targets);
        let by_label: HashMap<_, _> = targets.iter().map(|it| (it.label.clone(), it)).collect();
        let target = |spec: &TargetSpec, label: &TargetLabel| {
            let upstream = upstream(&spec.upstream)?;
            let metrics = by_label[label].clone();
            Ok::<_, io::Error>(target_of(spec, upstream, metrics, &settings, &before.limits))
        };
        let served = |bound: &BoundSocket| -> io::Result<Option<Served>> {
            let kind = bound.socket.kind(bound.role.tls);
            Ok(Some(match bound.role.purpose {
                Purpose::Handover => return Ok(None),
                Purpose::Http => Served::Http { is_https: bound.role.tls },
                Purpose::Service(service) => Served::Service(Arc::new(ListenerService {
                    instance: instance(service),
                    target: Arc::new(service.name().into()),
                    kind,
                    once: bound.role.once,
                    record: bound.role.record,
                })),
                Purpose::Forward(i) => {
                    let ForwardSpec { at, target: spec } = &settings.forwards[i];
                    let target = target(spec, &TargetLabel::Forward(at.to_string()))?;
                    Served::Forward(Arc::new(Forward { kind, target }))
                }
            }))
        };
        let served: HashMap<u64, Served> = sockets
            .iter()
            .filter_map(|bound| Some(served(bound).transpose()?.map(|served| (bound.id, served))))
            .collect::<io::Result<_>>()?;
        let routes: Vec<Arc<Route>> = settings
            .routes
            .iter()
            .map(|RouteSpec { path, target: spec }| {
                let target = target(spec, &TargetLabel::Route(path.clone()))?;
                Ok(Arc::new(Route { path: path.as_str().into(), target }))
            })
            .collect::<io::Result<_>>()?;
        let is_operator =
            |instance: &ServiceInstance| matches!(instance, ServiceInstance::Operator(_));
        let leads_to_operators = |target: &Target| match &target.upstream {
            Upstream::Service(instance) => is_operator(instance),
            _ => false,
        };
        let has_operators = routes.iter().any(|route| leads_to_operators(&route.target))
            || served.values().any(|served| match served {
                Served::Service(service) => is_operator(&service.instance),
                Served::Forward(forward) => leads_to_operators(&forward.target),
                Served::Http { .. } => false,
            });
        let endpoints = endpoints(sockets, &routes, &settings.forwards)?;
        let own_datagram_sockets =
            sockets.iter().filter_map(|bound| bound.socket.datagrams()).collect();
        let mut lines = lines(sockets, &endpoints, &settings.base_path)?;
        lines.extend(settings.lines());
        lines.extend(reach_hint(sockets, &settings).map(str::to_owned));
        let context = Arc::new(before.with_settings(settings, endpoints, targets));
        let site = Arc::new(Site::new(&context, &routes));
        Ok(Snapshot { context, site, served, own_datagram_sockets, lines, has_operators })
    }

    /// Keeps the recipient of the connections of a socket that this configuration closes, for
    /// connections that the kernel has accepted on it.
    pub(crate) fn keep_served(&mut self, socket: u64, before: &Snapshot) {
        let Some(mut served) = before.served(socket).cloned() else { return };
        if let Served::Http { is_https } = &mut served {
            *is_https &= self.context.settings.tls.is_some();
        }
        self.served.insert(socket, served);
    }

    /// The recipient of the connections of a socket.
    pub(crate) fn served(&self, socket: u64) -> Option<&Served> {
        self.served.get(&socket)
    }
}

/// The labels of all routes and forwards.
fn labels(settings: &Settings) -> impl Iterator<Item = TargetLabel> {
    let routes = settings.routes.iter().map(|route| TargetLabel::Route(route.path.clone()));
    let forwards = settings.forwards.iter();
    routes.chain(forwards.map(|forward| TargetLabel::Forward(forward.at.to_string())))
}

/// The target that `spec` describes. Targets with the same label, before and after a reload, share
/// one count of connections.
fn target_of(
    spec: &TargetSpec,
    upstream: Upstream,
    metrics: Arc<TargetMetrics>,
    settings: &Settings,
    limits: &Limits,
) -> Target {
    let (_, label) = metrics.label.pair();
    let name = match &metrics.label {
        TargetLabel::Route(path) => path.as_str().into(),
        TargetLabel::Forward(_) => upstream.to_string().into(),
    };
    let config = bridge::BridgeConfig {
        framing: spec.framing,
        framing_options: spec.framing_options,
        max_message: settings.max_message,
        ping_interval: settings.ping_interval,
        ping_timeout: settings.ping_timeout,
        idle_timeout: settings.idle_timeout,
    };
    Target {
        upstream,
        protocol: spec.protocol.clone(),
        proxy: spec.proxy,
        record: spec.record,
        limit: limits.route(label, spec.max),
        registered_as: Arc::new(ConnectionTarget { name, metrics: Some(metrics.clone()) }),
        metrics,
        config: config.into(),
    }
}

/// Listeners, routes and forwards as the API reports them.
fn endpoints(
    sockets: &BoundSockets,
    routes: &[Arc<Route>],
    forwards: &[ForwardSpec],
) -> io::Result<Endpoints> {
    let routes = routes.iter().map(|route| (&route.path, &route.target));
    let routes = routes.map(|(path, target)| RouteInfo {
        path: path.to_string(),
        upstream: target.upstream.to_string(),
        framing: match target.upstream.kind() {
            SideKind::WebSocket => "messages".to_owned(),
            SideKind::Stream | SideKind::Datagrams => target.config.framing.to_string(),
        },
        protocol: target.protocol.clone(),
    });
    let mut endpoints = Endpoints { routes: routes.collect(), ..Endpoints::default() };
    for bound in sockets.iter() {
        match bound.role.purpose {
            Purpose::Http | Purpose::Handover => {}
            Purpose::Service(service) => {
                let service = service.name().to_owned();
                endpoints.listeners.push(ListenerInfo { service, url: bound.url()? });
            }
            Purpose::Forward(i) => {
                let upstream = forwards[i].target.upstream.to_string();
                endpoints.forwards.push(ForwardInfo { url: bound.url()?, upstream });
            }
        }
    }
    Ok(endpoints)
}

/// One line for each socket and route, and the URL of the page.
fn lines(
    sockets: &BoundSockets,
    endpoints: &Endpoints,
    base_path: &BasePath,
) -> io::Result<Vec<String>> {
    let Endpoints { listeners, routes, forwards } = endpoints;
    let mut lines: Vec<_> = listeners
        .iter()
        .map(|ListenerInfo { service, url }| format!("listening  {service:<6} {url}"))
        .collect();
    let is_http = |bound: &&BoundSocket| bound.role.purpose == Purpose::Http;
    let http = sockets.iter().filter(is_http).map(BoundSocket::url);
    let http: Vec<String> = http.collect::<io::Result<_>>()?;
    lines.extend(http.iter().map(|url| format!("listening  http   {url}")));
    lines.extend(routes.iter().map(|RouteInfo { path, upstream, framing, .. }| {
        format!("route      {path} -> {upstream} ({framing})")
    }));
    lines.extend(
        forwards
            .iter()
            .map(|ForwardInfo { url, upstream }| format!("forward    {url} -> {upstream}")),
    );
    let handover = sockets.iter().filter(|bound| bound.role.purpose == Purpose::Handover);
    for bound in handover {
        lines.push(format!("handover   {}", bound.url()?));
    }
    let page = http.iter().find(|url| url.starts_with("http"));
    lines.extend(page.map(|url| format!("page       {url}{base_path}/")));
    Ok(lines)
}

/// A line about the clients that can reach HTTP over TCP: those of this machine only; or, where no
/// host name is allowed, those that use an IP address. Pages, and programs that send `Origin`, are
/// refused under any other name than `localhost`.
fn reach_hint(sockets: &BoundSockets, settings: &Settings) -> Option<&'static str> {
    let http = sockets.iter().filter(|bound| bound.role.purpose == Purpose::Http);
    let mut addresses = http.filter_map(|bound| bound.socket.tcp()).peekable();
    addresses.peek()?;
    match addresses.all(|at| at.ip().is_loopback()) {
        true => Some("clients    of this machine only (listen on 0.0.0.0:PORT to accept others)"),
        false => settings.allow_host.is_empty().then_some(
            "hosts      localhost and IP addresses (allow a host name with --allow-host)",
        ),
    }
}

/// The address at which this process reaches a service by plain TCP: loopback where its listener
/// is bound to all addresses.
fn reachable(sockets: &BoundSockets, service: Service) -> Option<SocketAddr> {
    let at = sockets.iter().find_map(|bound| {
        let role = bound.role;
        let plain = role.purpose == Purpose::Service(service) && !role.tls && !role.once;
        bound.socket.tcp().filter(|_| plain)
    })?;
    let ip = match at.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Some(SocketAddr::new(ip, at.port()))
}

/// The address of `at`, if it leads to a listener of this server by plain TCP: by loopback, or by
/// the address that the listener is bound to.
fn own_address(sockets: &BoundSockets, at: &HostPort) -> Option<SocketAddr> {
    let is_service = |bound: &&BoundSocket| matches!(bound.role.purpose, Purpose::Service(_));
    let services = || sockets.iter().filter(is_service);
    let is_own = |to: &SocketAddr| {
        services().filter_map(|bound| bound.socket.tcp()).any(|at| leads(*to, at))
    };
    let loopback = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let addresses = match at.host.parse() {
        Ok(ip) => vec![ip],
        Err(_) if at.host == "localhost" => loopback.to_vec(),
        Err(_) => return None,
    };
    addresses.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, at.port)).find(is_own)
}

/// Whether a connection to `to` reaches a socket that is bound to `at`. A socket bound to all IPv6
/// addresses may be bound to all IPv4 addresses as well.
fn leads(to: SocketAddr, at: SocketAddr) -> bool {
    let is_any = match at.ip() {
        IpAddr::V4(ip) => ip.is_unspecified() && to.is_ipv4(),
        IpAddr::V6(ip) => ip.is_unspecified(),
    };
    at == to || at.port() == to.port() && is_any && to.ip().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_and_the_bound_address_lead_to_a_listener() {
        let leads = |to: &str, at: &str| leads(to.parse().unwrap(), at.parse().unwrap());
        assert!(leads("192.0.2.1:7", "192.0.2.1:7"));
        assert!(leads("127.0.0.1:7", "0.0.0.0:7"));
        assert!(leads("127.0.0.2:7", "[::]:7"));
        assert!(leads("[::1]:7", "[::]:7"));
        assert!(!leads("[::1]:7", "0.0.0.0:7"));
        assert!(!leads("192.0.2.1:7", "0.0.0.0:7"), "it may be another machine");
        assert!(!leads("127.0.0.1:8", "0.0.0.0:7"));
        assert!(!leads("127.0.0.1:7", "127.0.0.2:7"));
    }
}
