//! The proxies through which upstreams are connected to.

use echogate_proto::endpoint::HostPort;

use super::{RouteSpec, Sources, UpstreamSpec};
use crate::net::proxy::{
    Destination,
    selection::{Proxies, Scheme},
};

/// Merges the settings `proxy` and `no-proxy` with the environment, and checks them against the
/// upstreams of `routes`.
///
/// # Errors
///
/// One line that names the setting or the variable and says what is wrong with it.
pub(super) fn load(sources: &Sources, routes: &[RouteSpec]) -> Result<Proxies, String> {
    let (proxy, setting) = sources.find("proxy", |layer| layer.proxy.clone()).unzip();
    let proxies = Proxies::of_server(proxy, sources.value(|layer| layer.no_proxy.clone()));
    let mut is_used = false;
    for RouteSpec { upstream, path, .. } in routes {
        let destination = destination(&proxies, upstream);
        let destination = destination.map_err(|why| format!("the upstream of {path}: {why}"))?;
        is_used |= destination.is_some_and(|destination| destination.proxy.is_some());
    }
    match setting.filter(|_| !is_used) {
        Some(setting) => Err(format!(
            "{setting} has no effect: every upstream is on this machine, or named by {}",
            setting.beside("no-proxy")
        )),
        None => Ok(proxies),
    }
}

/// The destination of an upstream, with its proxy; None if a proxy cannot lead to it.
///
/// # Errors
///
/// See [`Proxies::destination`].
pub(super) fn destination(
    proxies: &Proxies,
    upstream: &UpstreamSpec,
) -> Result<Option<Destination>, String> {
    let to = |scheme, host: &HostPort| proxies.destination(scheme, host).map(Some);
    match upstream {
        UpstreamSpec::Tcp(host) => to(Scheme::Tcp, host),
        UpstreamSpec::Tls(host, _) => to(Scheme::Tls, host),
        UpstreamSpec::Unix(_) | UpstreamSpec::Service(_) | UpstreamSpec::Listener(_) => Ok(None),
    }
}
