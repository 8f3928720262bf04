//! The files that determine the page.

use std::{
    io,
    path::{Path, PathBuf},
};

/// The workspace's own packages that are compiled into the page or write it: name, folder.
pub const PACKAGES: [(&str, &str); 3] = [
    ("echogate-proto", "server/proto"),
    ("echogate-web", "web"),
    ("echogate-web-bundle", "web/bundle"),
];

/// Where the files lie that are served as they are.
pub const STATIC: &str = "web/static";

/// Every source of the page, from `root`, sorted, with `/` between the parts: the packages'
/// manifests and everything under their `src`, and what is served as it is.
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

/// The names in `folder`, sorted.
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
