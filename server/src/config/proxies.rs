//! The proxies through which upstreams are connected to.

use super::{Sources, TargetSpec, UpstreamSpec};
use crate::net::proxy::{
    Destination,
    selection::{Proxies, Scheme},
};

/// Merges the settings `proxy` and `no-proxy` with the environment, and checks them against the
/// upstreams of `targets`.
///
/// # Errors
///
/// One line that names the setting or the variable and says what is wrong with it.
pub(super) fn load<'a>(
    sources: &Sources,
    targets: impl Iterator<Item = &'a TargetSpec>,
) -> Result<Proxies, String> {
    let (proxy, setting) = sources.find("proxy", |layer| layer.proxy.clone()).unzip();
    let proxies = Proxies::of_server(proxy, sources.value(|layer| layer.no_proxy.clone()));
    let mut is_used = false;
    for TargetSpec { upstream, .. } in targets {
        let destination = destination(&proxies, upstream);
        let destination = destination.map_err(|why| format!("the upstream {upstream}: {why}"))?;
        is_used |= destination.is_some_and(|destination| destination.proxy.is_some());
    }
    match setting.filter(|_| !is_used) {
        Some(setting) => Err(format!(
            "{setting} has no effect: every upstream is on this machine, uses no TCP, or is named by \
             {}",
            setting.beside("no-proxy")
        )),
        None => Ok(proxies),
    }
}

/// One line for each upstream that is connected to through a proxy.
pub(super) fn lines<'a>(
    proxies: &Proxies,
    targets: impl Iterator<Item = &'a TargetSpec>,
) -> Vec<String> {
    let line = |TargetSpec { upstream, .. }: &TargetSpec| {
        let proxy = destination(proxies, upstream).ok()??.proxy?;
        Some(format!("proxy      {proxy} for {upstream}"))
    };
    targets.filter_map(line).collect()
}

/// The destination of an upstream, with its proxy; None if a proxy cannot lead to it.
///
/// # Errors
///
/// See [`Proxies::destination`].
fn destination(proxies: &Proxies, upstream: &UpstreamSpec) -> Result<Option<Destination>, String> {
    let (scheme, host) = match upstream {
        UpstreamSpec::Tcp(host) => (Scheme::Tcp, host),
        UpstreamSpec::Tls(host, _) => (Scheme::Tls, host),
        UpstreamSpec::WebSocket(spec) => (spec.proxy_scheme(), &spec.at),
        UpstreamSpec::Unix(_)
        | UpstreamSpec::Udp(_)
        | UpstreamSpec::UnixGram(_)
        | UpstreamSpec::Service(_)
        | UpstreamSpec::Listener(_) => return Ok(None),
    };
    proxies.destination(scheme, host).map(Some)
}
