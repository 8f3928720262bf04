//! The certificate of the commands that listen: `listen` and `replay --serve`.

use std::path::Path;

use echogate_proto::endpoint::Address;

use crate::net::tls::{identity::has_private_key, server::ServerTls};

/// Reads the certificate of `--cert` and its key, of `--key` or in the same file, for a listener at
/// `address`.
pub(super) fn read(
    cert: Option<&Path>,
    key: Option<&Path>,
    address: &Address,
) -> Result<Option<ServerTls>, String> {
    match (cert, matches!(address, Address::Tls(_) | Address::Wss(..))) {
        (Some(cert), true) => {
            // `ServerTls::read` reports a file that cannot be read.
            if key.is_none() && matches!(has_private_key(cert), Ok(false)) {
                let cert = cert.display();
                return Err(format!(
                    "--cert: {cert}: no private key in it (give it with --key FILE)"
                ));
            }
            let key_flag = if key.is_some() { "--key" } else { "--cert" };
            let tls = ServerTls::read(cert, key.unwrap_or(cert), false);
            tls.map(Some).map_err(|e| e.named("--cert", key_flag))
        }
        (None, false) => Ok(None),
        (None, true) => Err("--cert is required (and --key, if the key is in another file)".into()),
        (Some(_), false) => Err("--cert is valid with tls:// and wss:// only".to_owned()),
    }
}
