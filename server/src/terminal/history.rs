//! Lines typed before, kept in a file that all clients of a person share. That it cannot
//! be read or written is no error: a prompt works without.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The most lines that are kept.
pub(super) const MAX_LINES: usize = 1000;

/// How the editor's files begin.
const HEAD: &str = "#V2\n";

/// The file, which is there from now on: in the folder for such things (XDG Base Directory
/// Specification), if the environment says where that is.
pub(crate) fn file() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let folder = absolute("XDG_STATE_HOME").or_else(home)?.join("echogate");
    let file = folder.join("history");
    make(&folder, &file).ok().map(|()| file)
}

/// Makes what is not there, for nobody else to read. (The editor would make the file, too,
/// but two that do so at once write over each other.)
fn make(folder: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut file) => file.write_all(HEAD.as_bytes()),
        // Of a fifo or a device the editor would wait for what never comes.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::metadata(file)?.is_file() {
                true => Ok(()),
                false => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
