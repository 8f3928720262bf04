//! The files of secrets: the TLS certificate and key, the operators' token.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{secret_file::warn_of_access, sources::Setting};
use crate::{
    net::tls::{identity::has_private_key, server::ServerTls},
    service::chat::Token,
    text::io_error,
};

/// Reads the server's certificate and key, if they were given. The certificate's file may hold the
/// key as well. With `redirects`, browsers that use plain HTTP are redirected.
pub(super) fn server_tls(
    cert: Option<(PathBuf, Setting<'_>)>,
    key: Option<(PathBuf, Setting<'_>)>,
    redirects: bool,
) -> Result<Option<Arc<ServerTls>>, String> {
    let read = |(cert, of_cert): (&Path, Setting<'_>), (key, of_key): (&Path, Setting<'_>)| {
        let tls = ServerTls::read(cert, key, redirects).map_err(|e| e.named(of_cert, of_key))?;
        warn_of_access(key);
        Ok(Some(tls.into()))
    };
    match (cert, key) {
        (None, None) => Ok(None),
        (Some((cert, of_cert)), Some((key, of_key))) => read((&cert, of_cert), (&key, of_key)),
        (Some((both, cert)), None) => {
            if has_private_key(&both).map_err(|why| format!("{cert}: {why}"))? {
                return read((&both, cert), (&both, cert));
            }
            let key = cert.beside("tls-key");
            Err(format!("{cert} needs {key}, its private key, which is not in the same file"))
        }
        (None, Some((_, key))) => {
            Err(format!("{key} needs {}, its certificate", key.beside("tls-cert")))
        }
    }
}

/// Reads the operators' token: the first line of a file.
pub(super) fn operator_token(file: &Path) -> Result<Token, String> {
    let name = file.display();
    let text = io_error::read_text(file)?;
    let token =
        text.lines().next().unwrap_or_default().parse().map_err(|e| format!("{name}: {e}"))?;
    warn_of_access(file);
    Ok(token)
}
