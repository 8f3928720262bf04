//! Files of Unix sockets.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
};

use echogate_proto::endpoint::UnixPath;
use nix::sys::stat::{Mode, umask};

/// The file of a socket that is ours: removed when dropped, if it still is.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl SocketFile {
    pub(crate) fn of(path: &UnixPath) -> io::Result<SocketFile> {
        let (device, inode) = fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))?;
        Ok(SocketFile { path: AsRef::<Path>::as_ref(path).into(), device, inode })
    }

    /// Whether what is there now is the file that was made for the socket.
    fn is_ours(&self) -> bool {
        let ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        fs::symlink_metadata(&self.path).is_ok_and(ours)
    }

    /// What the umask leaves, if no mode is given.
    pub(crate) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let mode = mode.unwrap_or_else(|| {
            // Meanwhile strict, and not lax.
            let mask = umask(Mode::from_bits_truncate(0o077));
            umask(mask);
            0o777 & !mask.bits()
        });
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if self.is_ours() {
            fs::remove_file(&self.path).ok();
        }
    }
}
