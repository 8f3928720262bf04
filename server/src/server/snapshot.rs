//! A configuration snapshot: one configuration and everything derived from it. A reload replaces
//! the snapshot in force; connections keep the one that they were accepted under.

use std::{
    collections::{HashMap, HashSet},
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use echogate_proto::{
    api::{Endpoints, ListenerInfo, RouteInfo},
    endpoint::HostPort,
};
use tokio::sync::watch;

use super::sockets::{BoundSocket, BoundSockets};
use crate::{
    config::{RouteSpec, Settings, UpstreamSpec},
    connections::limits::Limits,
    context::{ListenerService, ServerContext},
    gateway::{Route, bridge, dial::Upstream},
    http::Site,
    net::own_sockets::OwnSockets,
    service::{Service, backend::ServiceInstance, chat::Hub},
};

/// The snapshot in force. A connection takes it when it is accepted, and keeps it.
pub(super) type CurrentSnapshot = watch::Sender<Arc<Snapshot>>;

/// One configuration and everything derived from it.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) context: Arc<ServerContext>,
    /// The answers to HTTP requests.
    pub(crate) site: Arc<Site>,
    /// The service of each listener, by the identifier of its socket.
    listener_services: HashMap<u64, Arc<ListenerService>>,
    /// The identifiers of the sockets on which HTTPS is served.
    https: HashSet<u64>,
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
    /// The local address of a socket cannot be determined.
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
        let upstream = |spec: &UpstreamSpec| match spec {
            UpstreamSpec::Tcp(at) => {
                own_address(sockets, at).map_or_else(|| Upstream::Tcp(at.clone()), here)
            }
            UpstreamSpec::Tls(at, trust) => Upstream::Tls(at.clone(), trust.clone()),
            UpstreamSpec::Unix(path) => Upstream::Unix(path.clone()),
            UpstreamSpec::Service(service) => Upstream::Service(instance(*service)),
            UpstreamSpec::Listener(service) => reachable(sockets, *service)
                .map_or_else(|| Upstream::Service(instance(*service)), here),
        };
        let listener_service = |bound: &BoundSocket| {
            let service = bound.role.service?;
            let listener_service = ListenerService {
                instance: instance(service),
                target: service.name().into(),
                kind: bound.socket.kind(bound.role.tls),
                once: bound.role.once,
            };
            Some((bound.id, listener_service.into()))
        };
        let listener_services: HashMap<u64, Arc<ListenerService>> =
            sockets.iter().filter_map(listener_service).collect();
        let https = sockets.iter().filter(|bound| bound.role.is_https()).map(|bound| bound.id);
        let https = https.collect();
        let routes: Vec<Arc<Route>> = settings
            .routes
            .iter()
            .map(|spec| route(spec, upstream(&spec.upstream), &settings, &before.limits).into())
            .collect();
        let is_operator =
            |instance: &ServiceInstance| matches!(instance, ServiceInstance::Operator(_));
        let has_operators =
            listener_services.values().any(|service| is_operator(&service.instance))
                || routes.iter().any(|route| match &route.upstream {
                    Upstream::Service(instance) => is_operator(instance),
                    _ => false,
                });
        let endpoints = endpoints(sockets, &routes)?;
        let own_datagram_sockets =
            sockets.iter().filter_map(|bound| bound.socket.datagrams()).collect();
        let mut lines = lines(sockets, &endpoints)?;
        lines.extend(host_hint(sockets, &settings));
        let context = Arc::new(before.with_settings(settings, endpoints));
        let site = Arc::new(Site::new(&context, &routes));
        Ok(Snapshot {
            context,
            site,
            listener_services,
            https,
            own_datagram_sockets,
            lines,
            has_operators,
        })
    }

    /// Keeps the role of a socket that this configuration closes, for connections that the kernel
    /// has accepted on it.
    pub(crate) fn keep_role(&mut self, socket: u64, before: &Snapshot) {
        let service = before.listener_service(socket).map(|service| (socket, service.clone()));
        self.listener_services.extend(service);
        if before.is_https(socket) && self.context.settings.tls.is_some() {
            self.https.insert(socket);
        }
    }

    /// The service of a listener; none for HTTP.
    pub(crate) fn listener_service(&self, socket: u64) -> Option<&Arc<ListenerService>> {
        self.listener_services.get(&socket)
    }

    /// Whether HTTPS is served on a socket.
    pub(crate) fn is_https(&self, socket: u64) -> bool {
        self.https.contains(&socket)
    }
}

/// The route that `spec` describes.
fn route(spec: &RouteSpec, upstream: Upstream, settings: &Settings, limits: &Limits) -> Route {
    let config = bridge::BridgeConfig {
        framing: spec.framing,
        framing_options: spec.framing_options,
        max_message: settings.max_message,
        ping_interval: settings.ping_interval,
        ping_timeout: settings.ping_timeout,
        idle_timeout: settings.idle_timeout,
    };
    Route {
        path: spec.path.as_str().into(),
        upstream,
        protocol: spec.protocol.clone(),
        proxy: spec.proxy,
        limit: limits.route(&spec.path, spec.max),
        config: config.into(),
    }
}

/// Listeners and routes as the API reports them.
fn endpoints(sockets: &BoundSockets, routes: &[Arc<Route>]) -> io::Result<Endpoints> {
    let services = sockets.iter().filter_map(|bound| Some((bound.role.service?, bound)));
    let listeners = services.map(|(service, bound)| {
        Ok(ListenerInfo { service: service.name().to_owned(), url: bound.url()? })
    });
    let routes = routes.iter().map(|route| RouteInfo {
        path: route.path.to_string(),
        upstream: route.upstream.to_string(),
        framing: route.config.framing.to_string(),
        protocol: route.protocol.clone(),
    });
    Ok(Endpoints { routes: routes.collect(), listeners: listeners.collect::<io::Result<_>>()? })
}

/// One line for each socket and route, and the URL of the page.
fn lines(sockets: &BoundSockets, endpoints: &Endpoints) -> io::Result<Vec<String>> {
    let Endpoints { listeners, routes } = endpoints;
    let mut lines: Vec<_> = listeners
        .iter()
        .map(|ListenerInfo { service, url }| format!("listening  {service:<6} {url}"))
        .collect();
    let http = sockets.iter().filter(|bound| bound.role.service.is_none()).map(BoundSocket::url);
    let http: Vec<String> = http.collect::<io::Result<_>>()?;
    lines.extend(http.iter().map(|url| format!("listening  http   {url}")));
    lines.extend(routes.iter().map(|RouteInfo { path, upstream, framing, .. }| {
        format!("route      {path} -> {upstream} ({framing})")
    }));
    let page = http.iter().find(|url| url.starts_with("http"));
    lines.extend(page.map(|url| format!("page       {url}/")));
    Ok(lines)
}

/// A line about `--allow-host`, where HTTP is reachable from other machines and no host name is
/// allowed: pages, and programs that send `Origin`, are refused under any other name than
/// `localhost`.
fn host_hint(sockets: &BoundSockets, settings: &Settings) -> Option<String> {
    let mut http = sockets.iter().filter(|bound| bound.role.service.is_none());
    let is_exposed = http.any(|bound| bound.socket.tcp().is_some_and(|at| !at.ip().is_loopback()));
    (is_exposed && settings.allow_host.is_empty()).then(|| {
        "hosts      localhost and IP addresses (allow a host name with --allow-host)".to_owned()
    })
}

/// The address at which this process reaches a service by plain TCP: loopback where its listener
/// is bound to all addresses.
fn reachable(sockets: &BoundSockets, service: Service) -> Option<SocketAddr> {
    let at = sockets.iter().find_map(|bound| {
        let role = bound.role;
        let plain = role.service == Some(service) && !role.tls && !role.once;
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
    let services = || sockets.iter().filter(|bound| bound.role.service.is_some());
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
