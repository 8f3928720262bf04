//! The addresses of HTTP, the listeners and the routes: given or by default, and checked together.

use super::{
    ActivatedNames, Bind, ListenAddr, ListenerSpec, RouteSpec, Sources, UpstreamSpec,
    addresses::check_addresses,
    http_address::HttpAddress,
    listener::{default_listeners, loopback},
    route::default_routes,
    sources::list,
};
use crate::service::Service;

/// The addresses of HTTP, the listeners and the routes, given or by default.
pub(super) struct Endpoints {
    pub(super) http: Vec<Bind<ListenAddr>>,
    pub(super) listeners: Vec<Bind<ListenerSpec>>,
    pub(super) routes: Vec<RouteSpec>,
}

impl Endpoints {
    pub(super) fn new(sources: &Sources, activated: &ActivatedNames) -> Result<Endpoints, String> {
        let (routes, route) = sources.find("route", |layer| list(&layer.route)).unzip();
        let (listeners, listen) = sources.find("listen", |layer| list(&layer.listen)).unzip();
        let (http, http_setting) = sources.find("http", |layer| list(&layer.http)).unzip();

        // A server with routes of its own is a gateway and has no default service ports.
        let is_gateway = routes.is_some() || !activated.services.is_empty();
        let listeners = match listeners {
            Some(listeners) => required(listeners),
            None if is_gateway => Vec::new(),
            None => default_listeners(),
        };
        let has_certificate = sources.value(|layer| layer.tls_cert.clone()).is_some();
        let http: Vec<Bind<HttpAddress>> = match http {
            Some(http) => required(http),
            None if activated.http => Vec::new(),
            None => loopback(8080).map(|bind| bind.map(HttpAddress::Port)).into(),
        };
        let http: Vec<_> = http
            .into_iter()
            .map(|bind| bind.map(|address| address.resolve(has_certificate)))
            .collect();
        check_addresses((&listeners, listen), (&http, http_setting))?;
        let is_plain = |bind: &Bind<ListenerSpec>| {
            matches!(bind.spec.at, ListenAddr::Tcp(_)) && !bind.spec.once
        };
        let has_plain = |service: Service| {
            listeners.iter().any(|bind| bind.spec.service == service && is_plain(bind))
        };
        let routes = routes.unwrap_or_else(|| default_routes(has_plain));
        for (i, RouteSpec { path, .. }) in routes.iter().enumerate() {
            if let Some(setting) = route
                && routes[..i].iter().any(|before| before.path == *path)
            {
                return Err(format!("{}: path {path} is given twice", setting.element(i)));
            }
        }
        Ok(Endpoints { http, listeners, routes })
    }

    /// Checks that a listener, a route or a passed socket uses `service`, which a setting is for.
    ///
    /// # Errors
    ///
    /// Half a sentence, to be preceded by the setting: why it has no effect.
    pub(super) fn check_served(
        listeners: &[Bind<ListenerSpec>],
        routes: &[RouteSpec],
        service: Service,
        activated: &ActivatedNames,
    ) -> Result<(), String> {
        let leads_there = |route: &RouteSpec| match route.upstream {
            UpstreamSpec::Service(other) | UpstreamSpec::Listener(other) => other == service,
            _ => false,
        };
        let is_served = listeners.iter().any(|bind| bind.spec.service == service)
            || activated.services.contains(&service)
            || routes.iter().any(leads_there);
        match is_served {
            true => Ok(()),
            false => {
                Err(format!("has no effect: no listener and no route uses the service {service}"))
            }
        }
    }
}

fn required<T>(specs: impl IntoIterator<Item = T>) -> Vec<Bind<T>> {
    specs.into_iter().map(|spec| Bind { spec, required: true }).collect()
}
