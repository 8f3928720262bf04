//! The files of Unix sockets.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, PermissionsExt},
    path::{Path, PathBuf},
    sync::atomic::{AtomicBool, Ordering},
};

use nix::sys::stat::{Mode, umask};

/// The file of a Unix socket that this process created or took over. Dropping the value removes the
/// file, unless another file has replaced it or another process owns it.
#[derive(Debug)]
pub(crate) struct SocketFile {
    path: PathBuf,
    device: u64,
    inode: u64,
    is_owned: AtomicBool,
}

impl SocketFile {
    /// The file at `path`, which this process owns.
    pub(crate) fn of(path: impl AsRef<Path>) -> io::Result<SocketFile> {
        let path = path.as_ref();
        let (device, inode) = fs::symlink_metadata(path).map(|file| (file.dev(), file.ino()))?;
        Ok(SocketFile { path: path.into(), device, inode, is_owned: AtomicBool::new(true) })
    }

    /// The file at `path`, which another process owns so far.
    pub(crate) fn of_other(path: impl AsRef<Path>) -> io::Result<SocketFile> {
        let file = SocketFile::of(path)?;
        file.set_owned(false);
        Ok(file)
    }

    /// Sets whether dropping the value removes the file.
    pub(crate) fn set_owned(&self, is_owned: bool) {
        self.is_owned.store(is_owned, Ordering::Relaxed);
    }

    /// Whether the path still leads to the same file.
    pub(crate) fn is_ours(&self) -> bool {
        let ours = |file: fs::Metadata| file.dev() == self.device && file.ino() == self.inode;
        fs::symlink_metadata(&self.path).is_ok_and(ours)
    }

    /// Sets the permissions of the file; without a mode, to those that the umask leaves.
    pub(crate) fn set_mode(&self, mode: Option<u32>) -> io::Result<()> {
        if !self.is_ours() {
            return Ok(());
        }
        let mode = mode.unwrap_or_else(|| {
            // The umask can only be read by setting it: in between it is strict.
            let mask = umask(Mode::from_bits_truncate(0o077));
            umask(mask);
            0o777 & !mask.bits()
        });
        fs::set_permissions(&self.path, fs::Permissions::from_mode(mode))
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        if *self.is_owned.get_mut() && self.is_ours() {
            fs::remove_file(&self.path).ok();
        }
    }
}
