//! TLS of the server: its certificate and key, and the addresses that need them.

use std::sync::Arc;

use super::{
    Bind, ListenAddr, Sources,
    addresses::{Socket, check_plain},
    secrets::server_tls,
    sources::Setting,
};
use crate::net::tls::server::ServerTls;

/// Reads the certificate and the key, and checks them and `--tls-only` against the addresses.
pub(super) fn load_tls(
    sources: &Sources,
    sockets: &[Socket<'_>],
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
        check_plain(sockets)?;
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
