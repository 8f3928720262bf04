//! The inputs of the page besides its source files: a text with one fact per line, stored as
//! `web/dist/BUILT-WITH`.
//!
//! The text includes only the page's part of the root's manifest and lockfile, so that an update of one of
//! the server's dependencies does not make the page stale.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::Path,
};

use anyhow::{Context as _, Result};
use serde::{Deserialize, de::DeserializeOwned};
use toml::{Table, Value};

use crate::sources::PACKAGES;

/// The record's name in `web/dist`.
pub const NAME: &str = "BUILT-WITH";

/// The prefix of the line with the compiler, the only fact that a machine without that compiler
/// cannot determine.
pub const COMPILER: &str = "compiler: ";

/// The whole record, for a page built by `compiler`, the output of `rustc --version`.
pub fn write(root: &Path, compiler: &str) -> Result<String> {
    let mut text = format!("{COMPILER}{compiler}\n");
    for fact in facts(root)? {
        text.push_str(&fact);
        text.push('\n');
    }
    Ok(text)
}

/// The compiler in a record.
pub fn compiler(record: &str) -> Option<&str> {
    record.lines().find_map(|line| line.strip_prefix(COMPILER))
}

/// All facts but the compiler: the profiles, the workspace's settings, the dependencies as requested
/// and as locked.
pub fn facts(root: &Path) -> Result<Vec<String>> {
    let workspace: Table = read(root, "Cargo.toml")?;
    let mut facts = Vec::new();
    for profile in ["release", "page"] {
        if let Some(settings) = at(&workspace, &["profile", profile]) {
            facts.push(format!("profile.{profile}: {settings}"));
        }
    }
    if let Some(edition) = at(&workspace, &["workspace", "package", "edition"]) {
        facts.push(format!("edition: {edition}"));
    }
    let manifests = manifests(root)?;
    let requested: BTreeSet<&String> = manifests.values().flat_map(dependencies).collect();
    for name in requested {
        if let Some(version) = at(&workspace, &["workspace", "dependencies", name]) {
            facts.push(format!("dependency {name}: {version}"));
        }
    }
    facts.extend(locked(&read(root, "Cargo.lock")?, &manifests));
    Ok(facts)
}

#[derive(Deserialize)]
struct Lockfile {
    #[serde(default, rename = "package")]
    packages: Vec<Locked>,
}

#[derive(Deserialize)]
struct Locked {
    name: String,
    version: String,
    #[serde(default)]
    checksum: String,
    /// `NAME`, or `NAME VERSION` if the lockfile has several versions.
    #[serde(default)]
    dependencies: Vec<String>,
}

impl Locked {
    fn is(&self, dependency: &str) -> bool {
        let mut words = dependency.split_whitespace();
        words.next() == Some(&self.name) && words.next().is_none_or(|v| v == self.version)
    }
}

/// A line for each locked package that the page's packages depend on, development dependencies
/// aside.
fn locked(lockfile: &Lockfile, manifests: &BTreeMap<&str, Table>) -> BTreeSet<String> {
    let mut wanted: Vec<&str> = manifests.keys().copied().collect();
    let mut lines = BTreeSet::new();
    while let Some(dependency) = wanted.pop() {
        for package in lockfile.packages.iter().filter(|package| package.is(dependency)) {
            let Locked { name, version, checksum, .. } = package;
            if !lines.insert(format!("package {name} {version} {checksum}").trim_end().to_owned()) {
                continue;
            }
            let manifest = manifests.get(name.as_str());
            wanted.extend(package.dependencies.iter().map(String::as_str).filter(|dependency| {
                let name = dependency.split_whitespace().next();
                manifest.is_none_or(|m| dependencies(m).any(|used| Some(used.as_str()) == name))
            }));
        }
    }
    lines
}

/// The names of a manifest's dependencies for all targets, development dependencies aside.
fn dependencies(manifest: &Table) -> impl Iterator<Item = &String> {
    let of_targets = manifest
        .get("target")
        .and_then(Value::as_table)
        .into_iter()
        .flat_map(|targets| targets.values())
        .filter_map(|target| target.get("dependencies"));
    manifest
        .get("dependencies")
        .into_iter()
        .chain(of_targets)
        .filter_map(Value::as_table)
        .flat_map(Table::keys)
}

fn manifests(root: &Path) -> Result<BTreeMap<&'static str, Table>> {
    PACKAGES
        .into_iter()
        .map(|(name, folder)| Ok((name, read(root, &format!("{folder}/Cargo.toml"))?)))
        .collect()
}

fn read<T: DeserializeOwned>(root: &Path, path: &str) -> Result<T> {
    let text = fs::read_to_string(root.join(path)).with_context(|| path.to_owned())?;
    toml::from_str(&text).with_context(|| path.to_owned())
}

fn at<'a>(table: &'a Table, path: &[&str]) -> Option<&'a Value> {
    let (last, tables) = path.split_last()?;
    tables.iter().try_fold(table, |table, key| table.get(*key)?.as_table())?.get(*last)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(lockfile: &str, manifest: &str) -> Vec<String> {
        let manifests = BTreeMap::from([("page", manifest.parse().unwrap())]);
        locked(&toml::from_str(lockfile).unwrap(), &manifests).into_iter().collect()
    }

    const LOCKFILE: &str = r#"
        [[package]]
        name = "page"
        version = "0.1.0"
        dependencies = ["a", "only-tests"]

        [[package]]
        name = "a"
        version = "1.0.0"
        checksum = "aa"
        dependencies = ["b 2.0.0"]

        [[package]]
        name = "b"
        version = "1.0.0"
        checksum = "b1"

        [[package]]
        name = "b"
        version = "2.0.0"
        checksum = "b2"
        dependencies = ["a"]

        [[package]]
        name = "only-tests"
        version = "1.0.0"

        [[package]]
        name = "of-the-server"
        version = "1.0.0"
    "#;

    #[test]
    fn only_dependencies_of_the_page_are_recorded() {
        let manifest = "[dependencies]\na = '1'\n[dev-dependencies]\nonly-tests = '1'";
        assert_eq!(
            lines(LOCKFILE, manifest),
            ["package a 1.0.0 aa", "package b 2.0.0 b2", "package page 0.1.0"]
        );
    }

    #[test]
    fn dependencies_of_a_target_are_recorded() {
        let manifest = "[target.'cfg(target_arch = \"wasm32\")'.dependencies]\na = '1'";
        assert_eq!(lines(LOCKFILE, manifest).len(), 3);
    }

    #[test]
    fn the_compiler_is_read_back() {
        assert_eq!(compiler("compiler: rustc 1.2.3\nedition: 2024\n"), Some("rustc 1.2.3"));
    }
}
