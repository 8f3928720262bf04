//! TLS of the server: its certificate and key, and the addresses that need them.

use std::sync::Arc;

use super::{
    Bind, ForwardSpec, ListenAddr, ListenerSpec, Sources,
    secrets::server_tls,
    sources::{Setting, list},
};
use crate::net::tls::server::ServerTls;

/// Reads the certificate and the key, and checks them and `--tls-only` against the addresses.
pub(super) fn load_tls(
    sources: &Sources,
    listeners: &[Bind<ListenerSpec>],
    forwards: &[ForwardSpec],
    http: &[Bind<ListenAddr>],
) -> Result<Option<Arc<ServerTls>>, String> {
    let tls_only = sources.find("tls-only", |layer| layer.tls_only.then_some(()));
    let tls = server_tls(
        sources.find("tls-cert", |layer| layer.tls_cert.clone()),
        sources.find("tls-key", |layer| layer.tls_key.clone()),
        tls_only.is_none(),
    )?;
    if let Some(((), setting)) = tls_only {
        check_tls_only(setting, tls.is_some(), http)?;
    }
    if tls.is_none() {
        check_plain(sources, listeners, forwards, http)?;
    }
    Ok(tls)
}

/// Checks that `--tls-only` has an effect and no exception.
fn check_tls_only(
    setting: Setting<'_>,
    has_certificate: bool,
    http: &[Bind<ListenAddr>],
) -> Result<(), String> {
    if !has_certificate {
        return Err(format!("{setting} needs {}", setting.beside("tls-cert")));
    }
    match http.iter().find(|bind| matches!(bind.spec, ListenAddr::Tcp(_))) {
        Some(bind) => Err(format!("{setting} cannot be used with {}", bind.spec.http_url())),
        None => Ok(()),
    }
}

/// Checks that no address needs a certificate.
fn check_plain(
    sources: &Sources,
    listeners: &[Bind<ListenerSpec>],
    forwards: &[ForwardSpec],
    http: &[Bind<ListenAddr>],
) -> Result<(), String> {
    let is_tls = |at: &ListenAddr| matches!(at, ListenAddr::Tls(_));
    let of_listener = || {
        let (specs, setting) = sources.find("listen", |layer| list(&layer.listen))?;
        let i = listeners.iter().position(|bind| is_tls(&bind.spec.at))?;
        Some((setting.element(i), specs[i].to_string()))
    };
    let of_http = || {
        let (_, setting) = sources.find("http", |layer| list(&layer.http))?;
        let i = http.iter().position(|bind| is_tls(&bind.spec))?;
        Some((setting.element(i), http[i].spec.http_url()))
    };
    let of_forward = || {
        let (_, setting) = sources.find("forward", |layer| list(&layer.forward))?;
        let i = forwards.iter().position(|forward| is_tls(&forward.at))?;
        Some((setting.element(i), forwards[i].at.to_string()))
    };
    match of_listener().or_else(of_forward).or_else(of_http) {
        Some((setting, what)) => Err(format!("{setting}: {what} needs tls-cert and tls-key")),
        None => Ok(()),
    }
}
