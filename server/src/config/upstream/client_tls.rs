//! The TLS options of an upstream's URL.

use std::{path::Path, sync::Arc};

use echogate_proto::endpoint::{Endpoint, HostPort};

use crate::{
    config::secret_file::warn_of_access,
    net::tls::{AppProtocol, client::ClientTls, identity::Identity},
};

/// The verification of a TLS upstream, and the certificate for it.
pub(super) fn client_tls(
    endpoint: &Endpoint,
    at: &HostPort,
    protocol: AppProtocol,
) -> Result<Arc<ClientTls>, String> {
    let given = |key| match endpoint.option(key) {
        Some("") => Err(format!("{}: {key} has no value", endpoint.address)),
        value => Ok(value),
    };
    let (ca, name) = (given("ca")?.map(Path::new), given("server-name")?);
    let identity = match (given("cert")?, given("key")?.map(Path::new)) {
        (Some(cert), key) => {
            let cert = Path::new(cert);
            warn_of_access(key.unwrap_or(cert));
            Some(Identity::read(cert, key).map_err(|e| e.to_string())?)
        }
        (None, Some(_)) => {
            return Err(format!("{}: key needs cert, its certificate", endpoint.address));
        }
        (None, None) => None,
    };
    let tls = ClientTls::new(name.unwrap_or(at.without_zone()), ca, identity, protocol)?;
    Ok(tls.into())
}
