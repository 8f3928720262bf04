//! The addresses and the base path of HTTP, the listeners, the routes and the forwards: given or by
//! default, and checked together.

use super::{
    ActivatedNames, Bind, ForwardSpec, ListenAddr, ListenerSpec, RouteSpec, Sources, UpstreamSpec,
    addresses::{check_addresses, sockets},
    base_path::BasePath,
    http_address::HttpAddress,
    listener::{default_listeners, first_plain, loopback},
    loops::{Position, Targets},
    route::default_routes,
    sources::{EndpointList, list},
    upstream::TargetSpec,
};
use crate::{connections::tap::Sides, service::Service};

/// The endpoints of one configuration. Without settings they are the defaults.
pub(super) struct Endpoints {
    pub(super) http: Vec<Bind<ListenAddr>>,
    pub(super) base_path: BasePath,
    pub(super) listeners: Vec<Bind<ListenerSpec>>,
    pub(super) routes: Vec<RouteSpec>,
    pub(super) forwards: Vec<ForwardSpec>,
}

impl Endpoints {
    pub(super) fn new(sources: &Sources, activated: &ActivatedNames) -> Result<Endpoints, String> {
        let http = sources.value(|layer| list(&layer.http));
        let listeners = sources.value(|layer| list(&layer.listen));
        let routes = sources.value(|layer| list(&layer.route));
        let forwards = sources.value(|layer| list(&layer.forward));

        // A server with routes or forwards of its own is a gateway: it has no default service ports,
        // and with forwards no default routes.
        let is_gateway = routes.is_some() || forwards.is_some() || !activated.services.is_empty();
        let listeners = match listeners {
            Some(listeners) => required(listeners),
            None if is_gateway => Vec::new(),
            None => default_listeners(),
        };
        let has_certificate = sources.value(|layer| layer.tls_cert.clone()).is_some();
        let http: Vec<Bind<HttpAddress>> = match http {
            Some(http) => required(http),
            None if activated.http || sources.without_http() => Vec::new(),
            None => loopback(8080).map(|bind| bind.map(HttpAddress::Port)).into(),
        };
        let http: Vec<_> = http
            .into_iter()
            .map(|bind| bind.map(|address| address.resolve(has_certificate)))
            .collect();
        let routes = routes.or_else(|| forwards.is_some().then(Vec::new));
        let forwards = forwards.unwrap_or_default();
        check_addresses(&sockets(sources, &listeners, &forwards, &http))?;
        let has_plain = |service| first_plain(&listeners, service).is_some();
        let routes = routes.unwrap_or_else(|| default_routes(has_plain));
        let route = sources.list_setting(EndpointList::Route);
        let forward = sources.list_setting(EndpointList::Forward);
        for (i, RouteSpec { path, .. }) in routes.iter().enumerate() {
            if let Some(setting) = route
                && routes[..i].iter().any(|before| before.path == *path)
            {
                return Err(format!("{}: path {path} is given twice", setting.element(i)));
            }
        }
        let targets = Targets { http: &http, routes: &routes, forwards: &forwards };
        if let Some(position) = targets.find_loop() {
            let (setting, i, what) = match position {
                Position::Route(i) => (route, i, format!("the route {}", routes[i].path)),
                Position::Forward(i) => (forward, i, format!("the forward {}", forwards[i])),
            };
            let setting = setting.map_or("default".to_owned(), |it| it.element(i).to_string());
            return Err(format!("{setting}: {what} leads to itself"));
        }
        let base_path = base_path(sources, &routes)?;
        Ok(Endpoints { http, base_path, listeners, routes, forwards })
    }

    /// The option `record` of each listener, route and forward.
    pub(super) fn recorded(&mut self) -> impl Iterator<Item = &mut Option<Sides>> {
        let listeners = self.listeners.iter_mut().map(|bind| &mut bind.spec.record);
        let routes = self.routes.iter_mut().map(|route| &mut route.target.record);
        let forwards = self.forwards.iter_mut().map(|forward| &mut forward.target.record);
        listeners.chain(routes).chain(forwards)
    }

    /// See [`Settings::check_served`](super::Settings::check_served).
    pub(super) fn check_served<'a>(
        listeners: &[Bind<ListenerSpec>],
        mut targets: impl Iterator<Item = &'a TargetSpec>,
        service: Service,
        activated: &ActivatedNames,
    ) -> Result<(), String> {
        let leads_there = |target: &TargetSpec| match target.upstream {
            UpstreamSpec::Service(other) | UpstreamSpec::Listener(other) => other == service,
            _ => false,
        };
        let is_served = listeners.iter().any(|bind| bind.spec.service == service)
            || activated.services.contains(&service)
            || targets.any(leads_there);
        match is_served {
            true => Ok(()),
            false => Err(format!(
                "has no effect: no listener, route or forward uses the service {service}"
            )),
        }
    }
}

/// The base path. No route may have a path below it.
fn base_path(sources: &Sources, routes: &[RouteSpec]) -> Result<BasePath, String> {
    let found = sources.find("base-path", |layer| layer.base_path.clone());
    let Some((base, setting)) = found.filter(|(base, _)| !base.is_empty()) else {
        return Ok(BasePath::default());
    };
    match routes.iter().find(|route| base.strip(&route.path).is_some()) {
        Some(RouteSpec { path, .. }) => Err(format!(
            "{setting}: the route {path} cannot be requested below {base}: change one of the paths"
        )),
        None => Ok(base),
    }
}

fn required<T>(specs: impl IntoIterator<Item = T>) -> Vec<Bind<T>> {
    specs.into_iter().map(|spec| Bind { spec, required: true }).collect()
}
