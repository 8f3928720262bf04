//! `cargo page` builds the page into `web/dist`. `cargo page --check` builds it into a temporary
//! folder and compares: exit status 0 if the committed bytes are reproduced, 1 if not, 2 if they
//! cannot be compared here.

mod page;
mod shrink;
mod toolchain;

use std::{fs, path::Path, process::ExitCode};

use anyhow::{Context as _, Result, bail};
use echogate_web_bundle::{DIST, record, sources};
use toolchain::Toolchain;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let done = match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [] => build(root()),
        ["--check"] => check(root()),
        _ => Err(anyhow::anyhow!("usage: cargo page [--check]")),
    };
    done.unwrap_or_else(|error| {
        eprintln!("cargo page: {error:#}");
        ExitCode::from(2)
    })
}

/// The root of the repository that this program was built in.
fn root() -> &'static Path {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).expect("web/bundle is two folders below the root")
}

fn build(root: &Path) -> Result<ExitCode> {
    let toolchain = Toolchain::find(None)?;
    let dist = root.join(DIST);
    // Built in a temporary folder first: a failed build leaves the last one in place.
    let new = tempfile::tempdir_in(root.join("web"))?;
    page::build(root, new.path(), &toolchain)?;
    if dist.exists() {
        fs::remove_dir_all(&dist)?;
    }
    fs::create_dir(&dist)?;
    let names = sources::names(new.path())?;
    for name in &names {
        fs::rename(new.path().join(name), dist.join(name))?;
    }
    for name in names.iter().filter(|name| !name.ends_with(".br") && !name.ends_with(".gz")) {
        report(&dist, name)?;
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints a file's size, and its size with brotli.
fn report(dist: &Path, name: &str) -> Result<()> {
    let size = |name: &str| fs::metadata(dist.join(name)).map(|file| file.len());
    match size(&format!("{name}.br")) {
        Ok(compressed) => println!("{DIST}/{name}  {} bytes, {compressed} as brotli", size(name)?),
        Err(_) => println!("{DIST}/{name}  {} bytes", size(name)?),
    }
    Ok(())
}

fn check(root: &Path) -> Result<ExitCode> {
    let path = format!("{DIST}/{}", record::NAME);
    let record = fs::read_to_string(root.join(&path)).context(path)?;
    let built_by = record::compiler(&record).context("the record names no compiler")?;
    let toolchain = Toolchain::find(Some(built_by))?;
    let new = tempfile::tempdir()?;
    page::build(root, new.path(), &toolchain)?;
    if toolchain.version != built_by {
        bail!(
            "the page builds, but its bytes cannot be compared: {DIST} was built with {built_by}, \
             this is {}",
            toolchain.version
        );
    }
    let differing = differing(&root.join(DIST), new.path())?;
    for name in &differing {
        println!("{DIST}/{name} differs from the build of the sources");
    }
    if differing.is_empty() {
        println!("{DIST} equals the build of the sources, byte for byte ({built_by})");
    }
    Ok(ExitCode::from(u8::from(!differing.is_empty())))
}

/// The names of files that differ between two folders, or are missing in one.
fn differing(one: &Path, other: &Path) -> Result<Vec<String>> {
    let mut names = sources::names(one)?;
    names.extend(sources::names(other)?);
    names.sort();
    names.dedup();
    names.retain(|name| match (fs::read(one.join(name)), fs::read(other.join(name))) {
        (Ok(one), Ok(other)) => one != other,
        _ => true,
    });
    Ok(names)
}
