//! The files that determine the page.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The workspace's packages that are compiled into the page or build it: name, folder.
pub const PACKAGES: [(&str, &str); 3] = [
    ("echogate-proto", "server/proto"),
    ("echogate-web", "web"),
    ("echogate-web-bundle", "web/bundle"),
];

/// The folder of files that are served as they are, without their comments.
pub const STATIC: &str = "web/static";

/// Every source of the page as a path under `root` with `/` as the separator, sorted: the packages'
/// manifests, all files under their `src`, and the static files.
pub fn files(root: &Path) -> io::Result<Vec<String>> {
    let mut files = Vec::new();
    for (_, folder) in PACKAGES {
        files.push(format!("{folder}/Cargo.toml"));
        collect(root, &format!("{folder}/src"), &mut files)?;
    }
    collect(root, STATIC, &mut files)?;
    files.sort();
    Ok(files)
}

/// The names of a folder's entries, sorted.
pub fn names(folder: &Path) -> io::Result<Vec<String>> {
    let mut names = std::fs::read_dir(folder)?
        .map(|entry| entry.map(|entry| entry.file_name().to_string_lossy().into_owned()))
        .collect::<io::Result<Vec<_>>>()?;
    names.sort();
    Ok(names)
}

fn collect(root: &Path, folder: &str, files: &mut Vec<String>) -> io::Result<()> {
    let at: PathBuf = root.join(folder);
    for name in names(&at)? {
        let path = format!("{folder}/{name}");
        if at.join(&name).is_dir() {
            collect(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}
