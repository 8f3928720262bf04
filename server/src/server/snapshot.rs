//! What holds from one reading of the settings to the next.

use std::{
    collections::HashMap,
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    sync::Arc,
};

use echogate_proto::{
    api::{Endpoints, ListenerInfo, RouteInfo},
    endpoint::HostPort,
};
use tokio::sync::watch;

use super::{
    datagrams::OwnSockets,
    sockets::{BoundSocket, BoundSockets},
};
use crate::{
    config::{RouteSpec, Settings, UpstreamSpec},
    connections::limits::Limits,
    context::{ListenerService, ServerContext},
    gateway::{Route, bridge, dial::Upstream},
    http::Site,
    service::{Service, backend::ServiceInstance, chat::Hub},
};

/// The snapshot in force. A connection takes it when it is accepted, and keeps it.
pub(super) type CurrentSnapshot = watch::Sender<Arc<Snapshot>>;

/// Everything that is decided by the settings.
#[derive(Debug)]
pub(crate) struct Snapshot {
    pub(crate) context: Arc<ServerContext>,
    /// The answers to HTTP requests.
    pub(crate) site: Arc<Site>,
    /// How clients of services are received, by their listener's socket.
    listener_services: HashMap<u64, Arc<ListenerService>>,
    /// The datagram sockets, none of which is answered by another.
    pub(crate) own_datagram_sockets: OwnSockets,
    /// What is served where, in lines.
    pub(crate) lines: Vec<String>,
    /// There is a way for operators to come.
    pub(crate) has_operators: bool,
}

impl Snapshot {
    /// What `settings` and `sockets` come to; what lives on does so in `before`.
    ///
    /// # Errors
    ///
    /// The system's.
    pub(crate) fn new(
        settings: Settings,
        sockets: &BoundSockets,
        hub: &Arc<Hub>,
        before: &ServerContext,
    ) -> io::Result<Snapshot> {
        let backend = |service| match service {
            Service::Upper => ServiceInstance::Upper,
            Service::Echo => ServiceInstance::Echo,
            Service::Time => ServiceInstance::Time(settings.timezone.clone()),
            Service::Chat => ServiceInstance::Chat(hub.clone()),
            Service::Operator => ServiceInstance::Operator(hub.clone()),
        };
        let here = |at| Upstream::Listener(at, before.hairpins.clone());
        let target = |upstream: &UpstreamSpec| match upstream {
            UpstreamSpec::Tcp(at) => {
                own(sockets, at).map_or_else(|| Upstream::Tcp(at.clone()), here)
            }
            UpstreamSpec::Tls(at, trust) => Upstream::Tls(at.clone(), trust.clone()),
            UpstreamSpec::Unix(path) => Upstream::Unix(path.clone()),
            UpstreamSpec::Service(service) => Upstream::Service(backend(*service)),
            UpstreamSpec::Listener(service) => reachable(sockets, *service)
                .map_or_else(|| Upstream::Service(backend(*service)), here),
        };
        let listener_service = |bound: &BoundSocket| {
            let service = bound.role.service?;
            let listener_service = ListenerService {
                backend: backend(service),
                target: service.name().into(),
                kind: bound.socket.kind(bound.role.tls),
                once: bound.role.once,
            };
            Some((bound.id, listener_service.into()))
        };
        let listener_services: HashMap<u64, Arc<ListenerService>> =
            sockets.iter().filter_map(listener_service).collect();
        let routes: Vec<Arc<Route>> = settings
            .routes
            .iter()
            .map(|route| built(route, target(&route.upstream), &settings, &before.limits).into())
            .collect();
        let is_operator =
            |backend: &ServiceInstance| matches!(backend, ServiceInstance::Operator(_));
        let has_operators = listener_services.values().any(|how| is_operator(&how.backend))
            || routes.iter().any(|route| match &route.target {
                Upstream::Service(backend) => is_operator(backend),
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
            own_datagram_sockets,
            lines,
            has_operators,
        })
    }

    /// Receives those who had come to a socket before it was closed as `before` did.
    pub(crate) fn keep_listener_service(&mut self, socket: u64, before: &Snapshot) {
        let how = before.listener_service(socket).map(|how| (socket, how.clone()));
        self.listener_services.extend(how);
    }

    /// How clients of a socket are received; none where it is for HTTP.
    pub(crate) fn listener_service(&self, socket: u64) -> Option<&Arc<ListenerService>> {
        self.listener_services.get(&socket)
    }
}

/// A route as it is served.
fn built(route: &RouteSpec, target: Upstream, settings: &Settings, limits: &Limits) -> Route {
    let options = bridge::BridgeConfig {
        framing: route.framing,
        framing_options: route.framing_options,
        max_message: settings.max_message,
        ping_interval: settings.ping_interval,
        ping_timeout: settings.ping_timeout,
        idle_timeout: settings.idle_timeout,
    };
    Route {
        path: route.path.as_str().into(),
        target,
        protocol: route.protocol.clone(),
        proxy: route.proxy,
        limit: limits.route(&route.path, route.max),
        options: options.into(),
    }
}

/// What is served where, as it is told.
fn endpoints(sockets: &BoundSockets, routes: &[Arc<Route>]) -> io::Result<Endpoints> {
    let services = sockets.iter().filter_map(|bound| Some((bound.role.service?, bound)));
    let listeners = services.map(|(service, bound)| {
        Ok(ListenerInfo { service: service.name().to_owned(), url: bound.url()? })
    });
    let routes = routes.iter().map(|route| RouteInfo {
        path: route.path.to_string(),
        upstream: route.target.to_string(),
        framing: route.options.framing.to_string(),
        protocol: route.protocol.clone(),
    });
    Ok(Endpoints { routes: routes.collect(), listeners: listeners.collect::<io::Result<_>>()? })
}

/// The same in lines, HTTP included.
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
    lines.extend(http.first().map(|url| format!("page       {url}/")));
    Ok(lines)
}

/// A line about host names, where HTTP is reachable from other machines and no name is allowed:
/// pages, and programs that send an `Origin`, are refused under all names but `localhost`.
fn host_hint(sockets: &BoundSockets, settings: &Settings) -> Option<String> {
    let mut http = sockets.iter().filter(|bound| bound.role.service.is_none());
    let is_exposed = http.any(|bound| bound.socket.tcp().is_some_and(|at| !at.ip().is_loopback()));
    (is_exposed && settings.allow_host.is_empty()).then(|| {
        "hosts      localhost and IP addresses (allow a host name with --allow-host)".to_owned()
    })
}

/// Where a service is reached by plain TCP from this machine: where it is bound to all
/// addresses, by loopback.
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

/// The address that is meant by `at`, if a listener of this server is reached there by
/// plain TCP, by loopback or the address that it is bound to.
fn own(sockets: &BoundSockets, at: &HostPort) -> Option<SocketAddr> {
    let services = || sockets.iter().filter(|bound| bound.role.service.is_some());
    let is_there = |to: &SocketAddr| {
        services().filter_map(|bound| bound.socket.tcp()).any(|at| leads(*to, at))
    };
    let here = [Ipv4Addr::LOCALHOST.into(), Ipv6Addr::LOCALHOST.into()];
    let meant = match at.host.parse() {
        Ok(ip) => vec![ip],
        Err(_) if at.host == "localhost" => here.to_vec(),
        Err(_) => return None,
    };
    meant.into_iter().map(|ip: IpAddr| SocketAddr::new(ip, at.port)).find(is_there)
}

/// Whether `to` leads to what is bound to `at`. (What is bound to IPv6's any address may
/// have IPv4, too.)
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
    fn what_leads_here_is_loopback_or_the_very_address() {
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
