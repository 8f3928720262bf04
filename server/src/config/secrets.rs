//! The files of secrets: the TLS certificate and key, the operators' token.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::Arc,
};

use super::sources::Setting;
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

/// Permissions that the file of a secret should not grant: reading and writing to others, writing
/// to its group. Its group may read: that is how services share a certificate.
const TOO_OPEN: u32 = 0o026;

/// Logs a warning if other users can read or change a file that holds a secret. Not an error:
/// secrets that are mounted into a container often have mode 0644, and the container has no other
/// users.
pub(super) fn warn_of_access(file: &Path) {
    if let Ok(metadata) = fs::metadata(file)
        && metadata.is_file()
        && let Some(who) = exposure(metadata.mode())
    {
        tracing::warn!(
            "{}: {who} this secret (mode {:04o}); restrict it with chmod 600",
            file.display(),
            metadata.mode() & 0o7777
        );
    }
}

/// Describes what a file mode grants beyond [`TOO_OPEN`]; None if nothing.
fn exposure(mode: u32) -> Option<&'static str> {
    match mode & TOO_OPEN {
        0 => None,
        open if open & 0o002 != 0 => Some("every user can change"),
        open if open & 0o020 != 0 => Some("its group can change"),
        _ => Some("every user can read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_exposed_if_others_can_read_it_or_its_group_can_change_it() {
        for (mode, expected) in [
            (0o100_600, None),
            (0o100_400, None),
            (0o100_640, None),
            (0o100_440, None),
            (0o100_604, Some("every user can read")),
            (0o100_644, Some("every user can read")),
            (0o100_660, Some("its group can change")),
            (0o100_664, Some("its group can change")),
            (0o100_602, Some("every user can change")),
            (0o100_666, Some("every user can change")),
        ] {
            assert_eq!(exposure(mode), expected, "{mode:o}");
        }
    }
}
