//! The server: bound, announced, run, drained.

use std::{
    io::{self, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    sync::{Arc, atomic::Ordering},
};

use echogate_proto::{
    endpoint::HostPort,
    live::{Endpoints, ListenerInfo, RouteInfo},
};
use tokio::sync::Semaphore;
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bind::{self, Socket},
    bridge,
    chat::{Hub, Token},
    config::{At, ListenerSpec, RouteSpec, Settings, Upstream},
    datagram,
    dial::Target,
    http::{self, Route},
    inherit::{Inherited, Sockets},
    limits::RouteLimit,
    listener::{self, Listener, Proxied},
    registry::Peer,
    service::{Backend, Service},
    shared::{Reception, Shared},
    stream::Stream,
    tls::Inside,
};

/// HTTP connections held at once, those that became WebSockets aside. Beyond it clients
/// wait with the kernel.
const HTTP_CONNECTIONS: usize = 1024;

/// A server with its listeners bound.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    http: Vec<Listener>,
    services: Vec<Offer>,
    routes: Vec<Arc<Route>>,
    hub: Arc<Hub>,
}

/// A service on a socket.
#[derive(Debug)]
struct Offer {
    backend: Backend,
    socket: Socket,
    tls: bool,
    once: bool,
}

impl Server {
    /// Binds everything that `settings` name, beside what was `inherited`.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub async fn bind(settings: Settings, inherited: Inherited) -> Result<Server, String> {
        let token = settings.operator_token.clone().map_or_else(Token::random, Ok)?;
        let hub = Arc::new(Hub::new(token));
        let backend = |service| match service {
            Service::Upper => Backend::Upper,
            Service::Echo => Backend::Echo,
            Service::Time => Backend::Time(settings.timezone.clone()),
            Service::Chat => Backend::Chat(hub.clone()),
            Service::Operator => Backend::Operator(hub.clone()),
        };
        let Sockets { mut http, services } = inherited
            .into_sockets()
            .map_err(|e| format!("cannot use the inherited sockets: {}", plain(&e)))?;
        let mut services: Vec<_> = services
            .into_iter()
            .map(|(service, socket)| Offer {
                backend: backend(service),
                socket,
                tls: false,
                once: false,
            })
            .collect();
        for bind in &settings.listeners {
            let ListenerSpec { service, at, once } = &bind.spec;
            let tls = matches!(at, At::Tls(_));
            for socket in bind::service(bind, settings.backlog).await? {
                services.push(Offer { backend: backend(*service), socket, tls, once: *once });
            }
        }
        for at in &settings.http {
            http.extend(bind::http(at, settings.http_scheme(), settings.backlog).await?);
        }
        let target = |upstream: &Upstream| match upstream {
            Upstream::Tcp(at) => Target::Tcp(at.clone()),
            Upstream::Tls(at, trust) => Target::Tls(at.clone(), trust.clone()),
            Upstream::Unix(path) => Target::Unix(path.clone()),
            Upstream::Service(service) => Target::Service(backend(*service)),
            Upstream::Listener(service) => reachable(&services, *service)
                .map_or_else(|| Target::Service(backend(*service)), Target::Tcp),
        };
        let routes: Vec<_> = settings
            .routes
            .iter()
            .map(|route| Arc::new(bridged(route, target(&route.upstream), &settings)))
            .collect();
        let endpoints = endpoints(&services, &routes).map_err(|e| format!("cannot serve: {e}"))?;
        let shared = Arc::new(Shared::new(settings, endpoints));
        Ok(Server { shared, http, services, routes, hub })
    }

    /// Where the clients of `chat` and its operators meet.
    pub fn hub(&self) -> &Arc<Hub> {
        &self.hub
    }

    /// Says what listens where, a line each, and `ready` at the end.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn announce(&self, out: &mut impl Write) -> io::Result<()> {
        let Endpoints { listeners, routes } = &self.shared.endpoints;
        for ListenerInfo { service, url } in listeners {
            writeln!(out, "listening  {service:<6} {url}")?;
        }
        let scheme = self.shared.settings.http_scheme();
        let mut http = Vec::new();
        for listener in &self.http {
            if let Listener::Tcp(listener) = listener {
                http.push(listener.local_addr()?);
            }
        }
        for at in &http {
            writeln!(out, "listening  http   {scheme}://{at}")?;
        }
        for RouteInfo { path, upstream, framing, .. } in routes {
            writeln!(out, "route      {path} -> {upstream} ({framing})")?;
        }
        if let Some(at) = http.first() {
            writeln!(out, "page       {scheme}://{at}/")?;
        }
        if self.has_operators() && self.shared.settings.operator_token.is_none() {
            writeln!(out, "operator   token {}", self.hub.token().reveal())?;
        }
        writeln!(out, "ready")?;
        out.flush()
    }

    /// Whether there is a way for operators to come.
    fn has_operators(&self) -> bool {
        let by_route =
            |route: &Arc<Route>| matches!(route.target, Target::Service(Backend::Operator(_)));
        let by_listener = |offer: &Offer| matches!(offer.backend, Backend::Operator(_));
        self.routes.iter().any(by_route) || self.services.iter().any(by_listener)
    }

    /// Serves until `stop` is ready, and then ends every connection within the time
    /// that the settings give.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server { shared, http, services, routes, .. } = self;
        let accepting = CancellationToken::new();
        let listeners = TaskTracker::new();
        let proxied = Proxied {
            from: shared.settings.proxy_protocol_from.clone(),
            within: shared.settings.header_timeout,
        };
        for Offer { backend, socket, tls, once } in services {
            let (shared, stop) = (shared.clone(), accepting.clone());
            let kind = socket.kind(tls);
            match socket {
                Socket::Datagram(socket) => {
                    let registry = shared.registry.clone();
                    listeners.spawn(datagram::serve(socket, backend, registry, stop));
                }
                Socket::Stream(listener) => {
                    let limits = shared.limits.clone();
                    let room = move || {
                        let limits = limits.clone();
                        async move { limits.room().await }
                    };
                    let target = backend.service().name().into();
                    let how = Arc::new(Reception { backend, target, kind, once });
                    let serve = move |stream, peer, ()| shared.receive(&how, stream, peer);
                    listeners.spawn(listener::accept(listener, room, proxied.clone(), stop, serve));
                }
            }
        }
        let permits = Arc::new(Semaphore::new(HTTP_CONNECTIONS));
        let app = http::router(&shared, &routes, shared.settings.web_root.as_deref());
        for listener in http {
            let (shared, app) = (shared.clone(), app.clone());
            let permits = permits.clone();
            let room = move || {
                let permits = permits.clone();
                async move { permits.acquire_owned().await.expect("it is never closed") }
            };
            let serve = move |stream: Stream, peer, permit| {
                stream.limit_unsent();
                let (shared, app) = (shared.clone(), app.clone());
                shared.http.tracker.clone().spawn(async move {
                    let stream = match shared.settings.tls {
                        None => Some(stream),
                        Some(_) => shared.secured(Inside::Http, stream, &peer).await,
                    };
                    if let (Some(stream), Peer::Address(peer)) = (stream, peer) {
                        http::serve(stream, peer, permit, app, shared).await;
                    }
                });
            };
            let proxied = proxied.clone();
            listeners.spawn(listener::accept(listener, room, proxied, accepting.clone(), serve));
        }
        stop.await;
        shared.ending.store(true, Ordering::Release);
        accepting.cancel();
        listeners.close();
        listeners.wait().await;
        shared.drain().await;
    }
}

/// A route as it is served.
fn bridged(route: &RouteSpec, target: Target, settings: &Settings) -> Route {
    let options = bridge::Options {
        framing: route.framing,
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
        limit: route.max.map(|max| RouteLimit::new(max).into()),
        options: options.into(),
    }
}

/// The error without its number.
pub(crate) fn plain(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => "address in use".to_owned(),
        io::ErrorKind::NotFound => "no such file".to_owned(),
        io::ErrorKind::PermissionDenied => "permission denied".to_owned(),
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        _ => {
            let text = error.to_string();
            text.split_once(" (os error").map_or(text.clone(), |(words, _)| words.to_owned())
        }
    }
}

/// What is served where, as it is told.
fn endpoints(services: &[Offer], routes: &[Arc<Route>]) -> io::Result<Endpoints> {
    let listeners = services.iter().map(|Offer { backend, socket, tls, .. }| {
        let service = backend.service().name().to_owned();
        Ok(ListenerInfo { service, url: format!("{}://{}", socket.kind(*tls), socket.at()?) })
    });
    let routes = routes.iter().map(|route| RouteInfo {
        path: route.path.to_string(),
        upstream: route.target.to_string(),
        framing: route.options.framing.to_string(),
        protocol: route.protocol.clone(),
    });
    Ok(Endpoints { routes: routes.collect(), listeners: listeners.collect::<io::Result<_>>()? })
}

/// Where a service is reached by plain TCP from this machine: where it is bound to all
/// addresses, by loopback.
fn reachable(services: &[Offer], service: Service) -> Option<HostPort> {
    let at = services.iter().find_map(|offer| match &offer.socket {
        Socket::Stream(Listener::Tcp(listener))
            if offer.backend.service() == service && !offer.tls && !offer.once =>
        {
            listener.local_addr().ok()
        }
        _ => None,
    })?;
    let host = match at.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Some(HostPort { host: host.to_string(), port: at.port() })
}
