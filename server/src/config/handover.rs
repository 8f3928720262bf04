//! The Unix socket on which a server hands its sockets over to the next one.

use std::{os::unix::ffi::OsStringExt, path, str::FromStr};

use echogate_proto::endpoint::UnixPath;

use super::{ListenAddr, SocketPath};

/// The permissions of the socket's file: only this user and root may connect.
const MODE: u32 = 0o600;

/// The path of the socket of the handover.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct HandoverPath(UnixPath);

impl HandoverPath {
    /// The path of the socket.
    pub(crate) fn path(&self) -> &path::Path {
        self.0.as_ref()
    }

    /// The address to bind.
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
        let path = UnixPath::new(absolute.into_os_string().into_vec());
        path.map(HandoverPath).map_err(|e| e.to_string())
    }
}
