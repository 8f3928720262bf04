//! The Unix socket on which a server hands its sockets over to the next one.

use std::{os::unix::ffi::OsStrExt, path, str::FromStr};

use echogate_proto::endpoint::{Address, Endpoint, UnixPath};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_encode};

use super::{ListenAddr, SocketPath};

/// The permissions of the socket's file: only this user and root may connect.
const MODE: u32 = 0o600;

/// The bytes of a path that are percent-encoded: all but letters, digits and `/`, `.`, `-`, `_`.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'/').remove(b'.').remove(b'-').remove(b'_');

/// The path of the socket of the handover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandoverPath(UnixPath);

impl HandoverPath {
    pub(crate) fn path(&self) -> &path::Path {
        self.0.as_ref()
    }

    /// The address to bind, with the permissions of the file.
    pub(crate) fn address(&self) -> ListenAddr {
        ListenAddr::Unix(SocketPath { path: self.0.clone(), mode: Some(MODE) })
    }
}

impl FromStr for HandoverPath {
    type Err = String;

    fn from_str(text: &str) -> Result<HandoverPath, String> {
        if text.contains("://") {
            return Err("expected the path of a Unix socket, not a URL".to_owned());
        }
        // A successor may be started in another directory.
        let absolute = path::absolute(text).map_err(|e| format!("{text}: {e}"))?;
        let encoded = percent_encode(absolute.as_os_str().as_bytes(), ENCODED);
        let endpoint =
            format!("unix://{encoded}").parse::<Endpoint>().map_err(|e| e.to_string())?;
        match endpoint.address {
            Address::Unix(path) => Ok(HandoverPath(path)),
            _ => Err("expected the path of a Unix socket".to_owned()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_may_have_any_characters_and_a_relative_one_starts_at_the_current_directory() {
        let path = |text: &str| text.parse::<HandoverPath>().map(|path| path.path().to_owned());
        for text in ["/run/a b?c=d%41#e.sock", "/run/é"] {
            assert_eq!(path(text).unwrap(), path::Path::new(text));
        }
        assert_eq!(path("x.sock").unwrap(), std::env::current_dir().unwrap().join("x.sock"));
        let long = format!("/{}", "x".repeat(200));
        assert!(["", "/", "unix:///run/x.sock", &long].into_iter().all(|text| path(text).is_err()));
    }
}
