//! The recipients of connections under one configuration: services, and the targets of routes and
//! forwards.

use std::{collections::HashMap, io, sync::Arc};

use echogate_proto::endpoint::HostPort;

use super::{
    Served,
    operators::Operators,
    own_address::{own_address, reachable},
};
use crate::{
    config::{ForwardSpec, RouteSpec, Settings, TargetSpec, UpstreamSpec},
    connections::target::{ConnectionTarget, TargetLabel, TargetMetrics},
    context::{ListenerService, ServerContext},
    gateway::{
        Forward, Route, UpstreamTarget,
        bridge::BridgeConfig,
        upstream::{Upstream, UpstreamEndpoint},
    },
    net::proxy::{Destination, selection::Scheme},
    server::sockets::{BoundSocket, BoundSockets, Purpose},
    service::{Service, backend::ServiceInstance, chat::Hub},
};

/// The configuration from which recipients are built.
pub(super) struct Targets<'a> {
    pub(super) settings: &'a Settings,
    pub(super) sockets: &'a BoundSockets,
    pub(super) hub: &'a Arc<Hub>,
    /// The context of the previous configuration.
    pub(super) before: &'a ServerContext,
    /// The metrics of all routes and forwards.
    pub(super) metrics: HashMap<&'a TargetLabel, &'a Arc<TargetMetrics>>,
    pub(super) operators: &'a Operators,
}

impl Targets<'_> {
    /// The recipient of the connections of a socket; none for the socket of a handover.
    pub(super) fn served(&self, bound: &BoundSocket) -> io::Result<Option<Served>> {
        let kind = bound.socket.kind(bound.role.tls);
        Ok(Some(match bound.role.purpose {
            Purpose::Handover => return Ok(None),
            Purpose::Http => Served::Http { is_https: bound.role.tls },
            Purpose::Service(service) => Served::Service(Arc::new(ListenerService {
                instance: self.instance(service),
                target: Arc::new(ConnectionTarget::of_service(
                    service.name(),
                    service == Service::Operator,
                )),
                kind,
                once: bound.role.once,
                record: bound.role.record,
            })),
            Purpose::Forward(i) => {
                let ForwardSpec { at, target } = &self.settings.forwards[i];
                let target = self.target(target, &TargetLabel::Forward(at.to_string()))?;
                Served::Forward(Arc::new(Forward { kind, target }))
            }
        }))
    }

    pub(super) fn route(&self, RouteSpec { path, target }: &RouteSpec) -> io::Result<Arc<Route>> {
        let target = self.target(target, &TargetLabel::Route(path.clone()))?;
        Ok(Arc::new(Route { path: path.as_str().into(), target }))
    }

    /// The target that `spec` describes. Targets with the same label, before and after a reload,
    /// share one count of connections.
    fn target(&self, spec: &TargetSpec, label: &TargetLabel) -> io::Result<UpstreamTarget> {
        let upstream = self.upstream(&spec.upstream)?;
        let metrics = self.metrics[label].clone();
        let name = match label {
            TargetLabel::Route(path) => path.as_str().into(),
            TargetLabel::Forward(_) => upstream.url.clone(),
        };
        let config = BridgeConfig {
            framing: spec.framing,
            framing_options: spec.framing_options,
            max_message: self.settings.max_message,
            ping_interval: self.settings.ping_interval,
            ping_timeout: self.settings.ping_timeout,
            idle_timeout: self.settings.idle_timeout,
        };
        Ok(UpstreamTarget {
            upstream,
            protocol: spec.protocol.clone(),
            proxy: spec.proxy,
            record: spec.record,
            limit: self.before.limits.route(label.pair().1, spec.max),
            registered_as: Arc::new(ConnectionTarget {
                name,
                leads_to_operators: self.operators.are_reached_by(&spec.upstream),
                metrics: Some(metrics.clone()),
            }),
            metrics,
            config: config.into(),
        })
    }

    fn upstream(&self, spec: &UpstreamSpec) -> io::Result<Upstream> {
        let here = |at| UpstreamEndpoint::Listener(at, self.before.hairpins.clone());
        let to = match spec {
            UpstreamSpec::Tcp(at) => match own_address(self.sockets, at) {
                Some(at) => here(at),
                None => UpstreamEndpoint::Tcp(self.destination(Scheme::Tcp, at)?),
            },
            UpstreamSpec::Tls(at, trust) => {
                UpstreamEndpoint::Tls(self.destination(Scheme::Tls, at)?, trust.clone())
            }
            UpstreamSpec::Unix(path) => UpstreamEndpoint::Unix(path.clone()),
            UpstreamSpec::WebSocket(spec) => {
                let to = self.destination(spec.proxy_scheme(), &spec.at)?;
                UpstreamEndpoint::WebSocket(spec.clone(), to)
            }
            UpstreamSpec::Udp(at) => UpstreamEndpoint::Udp(at.clone()),
            UpstreamSpec::UnixGram(path) => UpstreamEndpoint::UnixGram(path.clone()),
            UpstreamSpec::Service(service) => UpstreamEndpoint::Service(self.instance(*service)),
            UpstreamSpec::Listener(service) => reachable(self.sockets, *service)
                .map_or_else(|| UpstreamEndpoint::Service(self.instance(*service)), here),
        };
        let url = match (&to, spec) {
            (UpstreamEndpoint::Listener(at, _), _) => format!("tcp://{at}"),
            (_, UpstreamSpec::Listener(service)) => format!("service:{service}"),
            _ => spec.to_string(),
        };
        Ok(Upstream { traffic: spec.traffic(), url: url.into(), to })
    }

    /// The host `at`, with the proxy through which it is reached.
    fn destination(&self, scheme: Scheme, at: &HostPort) -> io::Result<Destination> {
        self.settings.proxies.destination(scheme, at).map_err(io::Error::other)
    }

    fn instance(&self, service: Service) -> ServiceInstance {
        match service {
            Service::Upper => ServiceInstance::Upper,
            Service::Echo => ServiceInstance::Echo,
            Service::Time => ServiceInstance::Time(self.settings.timezone.clone()),
            Service::Chat => ServiceInstance::Chat(self.hub.clone()),
            Service::Operator => ServiceInstance::Operator(self.hub.clone()),
        }
    }
}
