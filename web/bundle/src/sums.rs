//! `web/dist/SHA256SUMS`: the hash of every source and artefact of the page, in the format of
//! `sha256sum --check`, which runs in the root of the repository.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt::Write as _,
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use sha2::{Digest as _, Sha256};

use crate::{DIST, record, sources};

/// The list's name in `web/dist`.
pub const NAME: &str = "SHA256SUMS";

/// The whole list, for sources under `root` and artefacts in `dist`, which may be a temporary
/// folder.
pub fn write(root: &Path, dist: &Path) -> Result<String> {
    Ok(now(root, dist)?.into_iter().fold(String::new(), |mut text, (path, sum)| {
        writeln!(text, "{sum}  {path}").expect("a String takes every line");
        text
    }))
}

/// The changes under `root` since its `web/dist` was built, a sentence each; empty if the page is up
/// to date.
pub fn stale(root: &Path) -> Result<Vec<String>> {
    let dist = root.join(DIST);
    let list = fs::read_to_string(dist.join(NAME)).with_context(|| format!("{DIST}/{NAME}"))?;
    let then: BTreeMap<&str, &str> = list
        .lines()
        .filter_map(|line| line.split_once("  "))
        .map(|(sum, path)| (path, sum))
        .collect();
    let now = now(root, &dist)?;
    let mut stale = Vec::new();
    for (path, sum) in &now {
        match then.get(path.as_str()) {
            None => stale.push(format!("{path} is new")),
            Some(then) if then != sum => stale.push(format!("{path} has changed")),
            Some(_) => {}
        }
    }
    stale.extend(
        then.keys().filter(|&&path| !now.contains_key(path)).map(|path| format!("{path} is gone")),
    );
    stale.extend(changed_facts(root)?);
    Ok(stale)
}

fn changed_facts(root: &Path) -> Result<Vec<String>> {
    let path = format!("{DIST}/{}", record::NAME);
    let record = fs::read_to_string(root.join(&path)).with_context(|| path)?;
    let then: BTreeSet<&str> =
        record.lines().filter(|line| !line.starts_with(record::COMPILER)).collect();
    let now = record::facts(root)?;
    let now: BTreeSet<&str> = now.iter().map(String::as_str).collect();
    let built = then.difference(&now).map(|fact| format!("it was built with \"{fact}\""));
    let wanted = now.difference(&then).map(|fact| format!("it would now be built with \"{fact}\""));
    Ok(built.chain(wanted).collect())
}

fn now(root: &Path, dist: &Path) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for path in sources::files(root)? {
        let sum = hash(&root.join(&path))?;
        sums.insert(path, sum);
    }
    for name in sources::names(dist)?.into_iter().filter(|name| name != NAME) {
        let sum = hash(&dist.join(&name))?;
        sums.insert(format!("{DIST}/{name}"), sum);
    }
    Ok(sums)
}

fn hash(path: &Path) -> Result<String> {
    let bytes = fs::read(path).with_context(|| path.display().to_string())?;
    Ok(Sha256::digest(bytes).iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a String takes every digit");
        text
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sources::{PACKAGES, STATIC};

    /// A minimal repository with a page built from it.
    fn built() -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        let put = |path: &str, text: &str| {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        put("Cargo.toml", "[profile.page]\nopt-level = 's'");
        put("Cargo.lock", "");
        for (_, folder) in PACKAGES {
            put(&format!("{folder}/Cargo.toml"), "");
            put(&format!("{folder}/src/lib.rs"), "");
        }
        put(&format!("{STATIC}/index.html"), "<p>");
        put(&format!("{DIST}/index.html"), "<p>");
        let dist = root.path().join(DIST);
        put(&format!("{DIST}/{}", record::NAME), &record::write(root.path(), "rustc 1").unwrap());
        fs::write(dist.join(NAME), write(root.path(), &dist).unwrap()).unwrap();
        root
    }

    fn stale_after(change: impl FnOnce(&Path)) -> Vec<String> {
        let root = built();
        change(root.path());
        stale(root.path()).unwrap()
    }

    #[test]
    fn a_page_just_built_is_not_stale() {
        assert_eq!(stale_after(|_| {}), [""; 0]);
    }

    #[test]
    fn a_source_that_changed_came_or_went_is_named() {
        let write = |path: &'static str| {
            stale_after(move |root| fs::write(root.join(path), "// new").unwrap())
        };
        assert_eq!(write("web/src/lib.rs"), ["web/src/lib.rs has changed"]);
        assert_eq!(write("server/proto/src/new.rs"), ["server/proto/src/new.rs is new"]);
        assert_eq!(
            stale_after(|root| fs::remove_file(root.join("web/static/index.html")).unwrap()),
            ["web/static/index.html is gone"]
        );
    }

    #[test]
    fn an_artefact_edited_by_hand_is_named() {
        assert_eq!(
            stale_after(|root| fs::write(root.join("web/dist/index.html"), "<b>").unwrap()),
            ["web/dist/index.html has changed"]
        );
    }

    #[test]
    fn another_profile_makes_it_stale_and_a_comment_in_the_manifest_does_not() {
        let manifest = |text: &'static str| {
            stale_after(move |root| fs::write(root.join("Cargo.toml"), text).unwrap())
        };
        assert_eq!(manifest("[profile.page]\nopt-level = 's' # small"), [""; 0]);
        assert_eq!(
            manifest("[profile.page]\nopt-level = 3"),
            [
                "it was built with \"profile.page: { opt-level = \"s\" }\"",
                "it would now be built with \"profile.page: { opt-level = 3 }\""
            ]
        );
    }
}
