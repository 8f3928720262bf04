//! A compiler that has the page's target.

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

use anyhow::{Context as _, Result, bail};

/// The target of the page.
pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// A compiler that has the target, and its cargo.
#[derive(Debug)]
pub(crate) struct Toolchain {
    cargo: OsString,
    rustc: OsString,
    /// The output of `rustc --version`.
    pub(crate) version: String,
    /// Whether the toolchain is not managed by rustup.
    outside_rustup: bool,
}

impl Toolchain {
    /// The toolchain of this version if it is installed, or else the one that runs this program, or else
    /// the system's.
    pub(crate) fn find(version: Option<&str>) -> Result<Toolchain> {
        let current = Toolchain::at(
            std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()),
            "rustc".into(),
            false,
        );
        let system = Toolchain::at("/usr/bin/cargo".into(), "/usr/bin/rustc".into(), true);
        let mut found: Vec<Toolchain> = [current, system].into_iter().flatten().collect();
        if let Some(i) = found.iter().position(|toolchain| Some(&*toolchain.version) == version) {
            return Ok(found.swap_remove(i));
        }
        match found.into_iter().next() {
            Some(toolchain) => Ok(toolchain),
            None => bail!(
                "no compiler here has the target {TARGET}: `rustup target add {TARGET}` installs \
                 it; or Debian's packages rustc-web and cargo-web with a standard library for it"
            ),
        }
    }

    /// The toolchain of this compiler; `None` if it is missing or lacks the target.
    fn at(cargo: OsString, rustc: OsString, outside_rustup: bool) -> Option<Toolchain> {
        let ask = |arguments: &[&str]| {
            let output = Command::new(&rustc).args(arguments).output().ok()?;
            let text = String::from_utf8(output.stdout).ok()?;
            output.status.success().then(|| text.trim().to_owned())
        };
        let libraries = ask(&["--print", "target-libdir", "--target", TARGET])?;
        has_std(Path::new(&libraries)).then_some(())?;
        let version = ask(&["--version"])?;
        Some(Toolchain { cargo, rustc, version, outside_rustup })
    }

    /// Compiles the page's library; returns the module's path.
    ///
    /// Flags and profiles of the caller's environment are ignored, and all paths that the compiler may
    /// write into the module are mapped to fixed names: the same sources give the same bytes in any
    /// folder, for any user.
    pub(crate) fn compile(&self, root: &Path) -> Result<PathBuf> {
        let target = std::env::var_os("CARGO_TARGET_DIR")
            .map_or_else(|| root.join("target"), |target| root.join(target))
            .join("page");
        // The sources of all dependencies have to be present before their paths are mapped.
        self.cargo(root, &["fetch", "--locked", "--target", TARGET], "")?;
        let mut flags = vec![remap(root, "/echogate"), remap(&target, "/target")];
        let registries = cargo_home()?.join("registry/src");
        let entries = std::fs::read_dir(&registries)
            .with_context(|| format!("no sources of dependencies in {}", registries.display()))?;
        for entry in entries {
            flags.push(remap(&entry?.path(), "/dependencies"));
        }
        let directory = target.to_string_lossy();
        self.cargo(
            root,
            &[
                "build",
                "--locked",
                "--package",
                "echogate-web",
                "--lib",
                "--profile",
                "page",
                "--target",
                TARGET,
                "--target-dir",
                &directory,
            ],
            &flags.join("\u{1f}"),
        )?;
        Ok(target.join(TARGET).join("page/echogate_web.wasm"))
    }

    fn cargo(&self, root: &Path, arguments: &[&str], flags: &str) -> Result<()> {
        let mut command = Command::new(&self.cargo);
        command.current_dir(root).args(arguments).env("RUSTC", &self.rustc);
        for (name, _) in std::env::vars_os() {
            let text = name.to_string_lossy();
            if text == "RUSTFLAGS" || text.starts_with("CARGO_PROFILE_") {
                command.env_remove(&name);
            }
        }
        if self.outside_rustup {
            command.env_remove("RUSTUP_TOOLCHAIN");
        }
        command.env("CARGO_ENCODED_RUSTFLAGS", flags);
        let status = command.status().with_context(|| format!("{command:?}"))?;
        if !status.success() {
            bail!("cargo {}: {status}", arguments[0]);
        }
        Ok(())
    }
}

fn remap(from: &Path, to: &str) -> String {
    format!("--remap-path-prefix={}={to}", from.display())
}

fn has_std(libraries: &Path) -> bool {
    std::fs::read_dir(libraries).into_iter().flatten().flatten().any(|file| {
        let name = file.file_name();
        let name = name.to_string_lossy();
        name.starts_with("libstd-") && name.ends_with(".rlib")
    })
}

fn cargo_home() -> Result<PathBuf> {
    let of_user = || std::env::home_dir().map(|home| home.join(".cargo"));
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(of_user)
        .context("neither CARGO_HOME nor a home folder is set")
}
