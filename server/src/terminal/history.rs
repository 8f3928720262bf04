//! The history file, shared by all clients of a user. A failure to read or write it is ignored: the
//! prompt works without a history.

use std::{
    env,
    fs::{self, DirBuilder, OpenOptions},
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
};

/// The most lines in the history.
pub(super) const MAX_LINES: usize = 1000;

/// The first line of a history file of the editor.
const HEAD: &str = "#V2\n";

/// The path of the history file, which is created if missing: in the state directory of the XDG
/// Base Directory Specification, if the environment defines one.
pub(crate) fn file() -> Option<PathBuf> {
    let absolute = |name| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let home = || absolute("HOME").map(|home| home.join(".local/state"));
    let folder = absolute("XDG_STATE_HOME").or_else(home)?.join("echogate");
    let file = folder.join("history");
    create(&folder, &file).ok().map(|()| file)
}

/// Creates the directory and the file if missing, readable by the user only. If the editors created
/// the file, two of them at once would overwrite each other's lines.
fn create(folder: &Path, file: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Ok(mut file) => file.write_all(HEAD.as_bytes()),
        // Reading a FIFO or a device could block the editor.
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            match fs::metadata(file)?.is_file() {
                true => Ok(()),
                false => Err(error),
            }
        }
        Err(error) => Err(error),
    }
}
