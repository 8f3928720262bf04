//! Listeners, routes and forwards as the API and the log describe them.

use std::{io, sync::Arc};

use echogate_proto::api::{Endpoints, ForwardInfo, ListenerInfo, RouteInfo};

use crate::{
    config::{BasePath, ForwardSpec, Settings},
    gateway::Route,
    recording::model::Traffic,
    server::sockets::{BoundSocket, BoundSockets, Purpose},
};

/// Listeners, routes and forwards as the API reports them.
pub(super) fn endpoints(
    sockets: &BoundSockets,
    routes: &[Arc<Route>],
    forwards: &[ForwardSpec],
) -> io::Result<Endpoints> {
    let routes = routes.iter().map(|route| (&route.path, &route.target));
    let routes = routes.map(|(path, target)| RouteInfo {
        path: path.to_string(),
        upstream: target.upstream.url.to_string(),
        framing: match target.upstream.traffic {
            Traffic::Messages => "messages".to_owned(),
            Traffic::Bytes | Traffic::Datagrams => target.config.framing.to_string(),
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
pub(super) fn lines(
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
    lines.extend(page.map(|url| {
        // An unspecified address cannot be connected to.
        let url = url.replacen("//0.0.0.0:", "//127.0.0.1:", 1).replacen("//[::]:", "//[::1]:", 1);
        format!("page       {url}{base_path}/")
    }));
    Ok(lines)
}

/// A line about the clients that can reach HTTP over TCP: those of this machine only; or, where no
/// host name is allowed, those that use an IP address. Pages, and programs that send `Origin`, are
/// refused under any other name than `localhost`.
pub(super) fn reach_hint(sockets: &BoundSockets, settings: &Settings) -> Option<&'static str> {
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
