//! The server: bound, announced, run, drained.

use std::{
    io::{self, Write},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use echogate_proto::{
    endpoint::HostPort,
    live::{Endpoints, ListenerInfo, RouteInfo},
};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::{TcpListener, TcpStream},
    sync::Semaphore,
    time::{Instant, sleep, timeout_at},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{
    bridge,
    config::{Bind, ListenerSpec, Settings, Upstream},
    connection,
    dial::Target,
    drain::{Drain, Stage},
    http::{self, Route},
    limits::{Limits, Place, RouteLimit},
    listener::{self, Proxied},
    registry::{Arrival, Kind, Peer, Registry},
    service::Service,
    stream::Stream,
    tls::{Inside, Tls},
};

/// HTTP connections held at once, those that became WebSockets aside. Beyond it clients
/// wait with the kernel.
const HTTP_CONNECTIONS: usize = 1024;

/// How long it takes at the most to notice what has arrived.
const NOTICE: Duration = Duration::from_millis(20);

/// What all connections share.
#[derive(Debug)]
pub struct Shared {
    /// Every setting, decided.
    pub settings: Settings,
    /// How many connections there may be.
    pub limits: Arc<Limits>,
    /// Who is connected.
    pub registry: Registry,
    /// What is served where.
    pub endpoints: Endpoints,
    /// Connections to the built-in services.
    pub services: Group,
    /// WebSocket connections.
    pub bridges: Group,
    /// HTTP connections, before they become WebSockets.
    pub http: Group,
    /// The server has begun to end.
    pub ending: AtomicBool,
}

/// Connections that end together.
#[derive(Debug)]
pub struct Group {
    /// Tells them to.
    pub drain: Drain,
    /// Waits for them.
    pub tracker: TaskTracker,
}

/// A server with its listeners bound.
#[derive(Debug)]
pub struct Server {
    shared: Arc<Shared>,
    http: Vec<TcpListener>,
    services: Vec<(ListenerSpec, TcpListener)>,
    routes: Vec<Arc<Route>>,
}

impl Server {
    /// Binds everything that `settings` names.
    ///
    /// # Errors
    ///
    /// One line that names the address that cannot be bound, and why.
    pub async fn bind(settings: Settings) -> Result<Server, String> {
        let mut services = Vec::new();
        for Bind { spec, required } in &settings.listeners {
            for listener in bind(&spec.to_string(), &spec.at, *required).await? {
                services.push((spec.clone(), listener));
            }
        }
        let mut http = Vec::new();
        for Bind { spec, required } in &settings.http {
            let what = format!("{}://{spec}", settings.http_scheme());
            http.extend(bind(&what, spec, *required).await?);
        }
        let routes = settings.routes.iter().map(|route| {
            let target = match &route.upstream {
                Upstream::Tcp(at) => Target::Tcp(at.clone()),
                Upstream::Tls(at, trust) => Target::Tls(at.clone(), trust.clone()),
                Upstream::Unix(path) => Target::Unix(path.clone()),
                Upstream::Service(service) => Target::Service(*service),
                Upstream::Listener(service) => first_address(&services, *service)
                    .map_or(Target::Service(*service), |at| Target::Tcp(reachable(at))),
            };
            let options = bridge::Options {
                framing: route.framing,
                max_message: settings.max_message,
                ping_interval: settings.ping_interval,
                ping_timeout: settings.ping_timeout,
                idle_timeout: settings.idle_timeout,
            };
            Arc::new(Route {
                path: route.path.as_str().into(),
                target,
                protocol: route.protocol.clone(),
                proxy: route.proxy,
                limit: route.max.map(|max| RouteLimit::new(max).into()),
                options: options.into(),
            })
        });
        let routes: Vec<_> = routes.collect();
        let endpoints = endpoints(&services, &routes).map_err(|e| format!("cannot serve: {e}"))?;
        let limits = Limits::new(settings.max_connections, settings.max_per_address);
        let shared = Arc::new(Shared {
            settings,
            limits: Arc::new(limits),
            registry: Registry::default(),
            endpoints,
            services: Group::new(),
            bridges: Group::new(),
            http: Group::new(),
            ending: AtomicBool::new(false),
        });
        Ok(Server { shared, http, services, routes })
    }

    /// Says what listens where, a line each, and `ready` at the end.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn announce(&self, out: &mut impl Write) -> io::Result<()> {
        for ListenerInfo { service, url } in &self.shared.endpoints.listeners {
            writeln!(out, "listening  {service:<6} {url}")?;
        }
        let scheme = self.shared.settings.http_scheme();
        for listener in &self.http {
            writeln!(out, "listening  http   {scheme}://{}", listener.local_addr()?)?;
        }
        for RouteInfo { path, upstream, framing, .. } in &self.shared.endpoints.routes {
            writeln!(out, "route      {path} -> {upstream} ({framing})")?;
        }
        if let Some(listener) = self.http.first() {
            writeln!(out, "page       {scheme}://{}/", listener.local_addr()?)?;
        }
        writeln!(out, "ready")?;
        out.flush()
    }

    /// Serves until `stop` is ready, and then ends every connection within the time
    /// that the settings give.
    pub async fn run(self, stop: impl Future<Output = ()>) {
        let Server { shared, http, services, routes } = self;
        let accepting = CancellationToken::new();
        let listeners = TaskTracker::new();
        let proxied = Proxied {
            from: shared.settings.proxy_protocol_from.clone(),
            within: shared.settings.header_timeout,
        };
        for (ListenerSpec { service, tls, .. }, listener) in services {
            let (shared, name) = (shared.clone(), Arc::from(service.name()));
            let limits = shared.limits.clone();
            let room = move || {
                let limits = limits.clone();
                async move { limits.room().await }
            };
            let serve = move |stream, peer: SocketAddr, ()| {
                let place = match shared.limits.enter(peer.ip(), None) {
                    Ok(place) => place,
                    Err(full) => return tracing::info!(%peer, "refused: {full}"),
                };
                if !tls {
                    return shared.serve(stream, service, &name, peer, place);
                }
                let (shared, name) = (shared.clone(), name.clone());
                shared.services.tracker.clone().spawn(async move {
                    if let Some(stream) = shared.secure(Inside::Bytes, stream, peer).await {
                        shared.serve(stream, service, &name, peer, place);
                    }
                });
            };
            let proxied = proxied.clone();
            listeners.spawn(listener::accept(listener, room, proxied, accepting.clone(), serve));
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
            let serve = move |stream, peer, permit| {
                listener::limit_unsent(&stream);
                let (shared, app) = (shared.clone(), app.clone());
                shared.http.tracker.clone().spawn(async move {
                    let stream = match shared.settings.tls {
                        None => Stream::Tcp(stream),
                        Some(_) => match shared.secure(Inside::Http, stream, peer).await {
                            Some(stream) => Stream::Tls(stream.into()),
                            None => return,
                        },
                    };
                    http::serve(stream, peer, permit, app, shared).await;
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

impl Shared {
    /// Serves a client of a service, in a task of its own.
    fn serve<S>(&self, stream: S, service: Service, name: &Arc<str>, peer: SocketAddr, place: Place)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    {
        let arrival = Arrival {
            kind: Kind::Tcp,
            peer: Peer::Address(peer),
            target: name.clone(),
            label: None,
            upstream_from: None,
        };
        let entry = self.registry.enter(arrival, Some(place));
        let (idle, drain) = (self.settings.idle_timeout, &self.services.drain);
        self.services.tracker.spawn(connection::serve(stream, service, entry, idle, drain));
    }

    /// Agrees on TLS with a client, if it does within the time that a head may take.
    async fn secure(&self, inside: Inside, stream: TcpStream, peer: SocketAddr) -> Option<Tls> {
        let identity = self.settings.tls.as_ref()?;
        let drain = match inside {
            Inside::Http | Inside::WebSocket => &self.http.drain,
            Inside::Bytes => &self.services.drain,
        };
        identity.accept(inside, stream, peer, self.settings.header_timeout, drain).await
    }

    /// Ends all connections: first those that come through the gateway, because the
    /// built-in services answer what they have in flight; then the services' own.
    /// Each group has a part of the time to end when it is quiet, and then some to end
    /// at the next clean place.
    async fn drain(&self) {
        let start = Instant::now();
        let within = self.settings.drain;
        // Who has just been accepted is not known to have sent nothing before the
        // event loop has turned.
        sleep(NOTICE.min(within / 10)).await;
        self.http.drain.advance(Stage::WhenQuiet);
        self.bridges.end_by(start + within.mul_f64(0.4), start + within.mul_f64(0.5)).await;
        self.services.end_by(start + within.mul_f64(0.8), start + within.mul_f64(0.9)).await;
        self.bridges.end_by(start + within, start + within).await;
        self.http.end_by(start + within, start + within).await;
        let cut = self.registry.entries();
        if !cut.is_empty() {
            let count = cut.len();
            tracing::warn!("{count} connections did not end within {within:?} and are cut off");
        }
        for entry in cut {
            entry.ended(&"cut off by the server's end");
        }
    }
}

impl Group {
    fn new() -> Group {
        Group { drain: Drain::new(), tracker: TaskTracker::new() }
    }

    /// Ends the group's connections: by `quiet` those that become quiet, by `now` the
    /// others, as far as they can be ended cleanly.
    async fn end_by(&self, quiet: Instant, now: Instant) {
        self.tracker.close();
        self.drain.advance(Stage::WhenQuiet);
        if timeout_at(quiet, self.tracker.wait()).await.is_err() {
            self.drain.advance(Stage::Now);
            timeout_at(now, self.tracker.wait()).await.ok();
        }
    }
}

async fn bind(what: &str, at: &HostPort, required: bool) -> Result<Vec<TcpListener>, String> {
    match listener::bind(at).await {
        Ok(listeners) => Ok(listeners),
        Err(e) if !required && no_such_family(&e) => {
            tracing::info!("{what}: left out: {e}");
            Ok(Vec::new())
        }
        Err(e) => Err(format!("cannot listen on {what}: {}", plain(&e))),
    }
}

/// Whether this machine lacks what a default wanted: IPv6.
fn no_such_family(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::AddrNotAvailable | io::ErrorKind::Unsupported)
        || error.raw_os_error() == Some(nix::errno::Errno::EAFNOSUPPORT as i32)
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
fn endpoints(
    services: &[(ListenerSpec, TcpListener)],
    routes: &[Arc<Route>],
) -> io::Result<Endpoints> {
    let listeners = services.iter().map(|(spec, listener)| {
        let url = format!("{}://{}", spec.scheme(), listener.local_addr()?);
        Ok(ListenerInfo { service: spec.service.name().to_owned(), url })
    });
    let routes = routes.iter().map(|route| RouteInfo {
        path: route.path.to_string(),
        upstream: route.target.to_string(),
        framing: route.options.framing.to_string(),
        protocol: route.protocol.clone(),
    });
    Ok(Endpoints { routes: routes.collect(), listeners: listeners.collect::<io::Result<_>>()? })
}

/// Where a service is reached without TLS.
fn first_address(services: &[(ListenerSpec, TcpListener)], service: Service) -> Option<SocketAddr> {
    let (_, listener) = services.iter().find(|(spec, _)| spec.service == service && !spec.tls)?;
    listener.local_addr().ok()
}

/// How a listener is reached from this machine: one bound to all addresses, by
/// loopback.
fn reachable(at: SocketAddr) -> HostPort {
    let host = match at {
        SocketAddr::V4(v4) if v4.ip().is_unspecified() => "127.0.0.1".to_owned(),
        SocketAddr::V6(v6) if v6.ip().is_unspecified() => "::1".to_owned(),
        at => at.ip().to_string(),
    };
    HostPort { host, port: at.port() }
}
