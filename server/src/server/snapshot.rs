//! A configuration snapshot: one configuration and everything derived from it. A reload replaces
//! the snapshot in force; connections keep the one that they were accepted under.
//!
//! - `description`: sockets and routes for the API and the log; `own_address`: the addresses at which
//!   this process reaches its own listeners; `operators`: the targets that lead to operators

mod description;
mod operators;
mod own_address;

use std::{collections::HashMap, io, sync::Arc};

use echogate_proto::endpoint::HostPort;
use tokio::sync::watch;

use self::{
    description::{endpoints, lines, reach_hint},
    operators::Operators,
    own_address::{own_address, reachable},
};
use super::sockets::{BoundSocket, BoundSockets, Purpose};
use crate::{
    config::{ForwardSpec, RouteSpec, Settings, TargetSpec, UpstreamSpec},
    connections::{
        limits::{Limits, descriptors},
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
    /// The number of file descriptors that all connections need at most.
    pub(super) descriptors: usize,
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
        let operators = Operators::of(&settings, sockets);
        let target = |spec: &TargetSpec, label: &TargetLabel| {
            let upstream = upstream(&spec.upstream)?;
            let metrics = by_label[label].clone();
            Ok::<_, io::Error>(target_of(
                spec,
                upstream,
                metrics,
                &operators,
                &settings,
                &before.limits,
            ))
        };
        let served = |bound: &BoundSocket| -> io::Result<Option<Served>> {
            let kind = bound.socket.kind(bound.role.tls);
            Ok(Some(match bound.role.purpose {
                Purpose::Handover => return Ok(None),
                Purpose::Http => Served::Http { is_https: bound.role.tls },
                Purpose::Service(service) => Served::Service(Arc::new(ListenerService {
                    instance: instance(service),
                    target: Arc::new(ConnectionTarget::of_service(
                        service.name(),
                        service == Service::Operator,
                    )),
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
        let has_operators = operators.exist();
        let is_hairpin = |target: &Target| matches!(target.upstream, Upstream::Listener(..));
        let has_hairpins = routes.iter().any(|route| is_hairpin(&route.target))
            || served
                .values()
                .any(|it| matches!(it, Served::Forward(it) if is_hairpin(&it.target)));
        let descriptors = descriptors::needed(settings.max_connections, has_hairpins);
        let endpoints = endpoints(sockets, &routes, &settings.forwards)?;
        let own_datagram_sockets =
            sockets.iter().filter_map(|bound| bound.socket.datagrams()).collect();
        let mut lines = lines(sockets, &endpoints, &settings.base_path)?;
        lines.extend(settings.summary_lines());
        lines.extend(reach_hint(sockets, &settings).map(str::to_owned));
        let context = Arc::new(before.with_settings(settings, endpoints, targets));
        let site = Arc::new(Site::new(&context, &routes));
        Ok(Snapshot {
            context,
            site,
            served,
            own_datagram_sockets,
            lines,
            has_operators,
            descriptors,
        })
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
    operators: &Operators,
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
        registered_as: Arc::new(ConnectionTarget {
            name,
            leads_to_operators: operators.are_reached_by(&spec.upstream),
            metrics: Some(metrics.clone()),
        }),
        metrics,
        config: config.into(),
    }
}
