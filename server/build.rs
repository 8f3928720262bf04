//! Sets `ECHOGATE_MODULES` to the paths of the crate's modules, the targets that `ECHOGATE_LOG`
//! accepts.

use std::{env, fs, io, path::Path};

fn main() -> io::Result<()> {
    let root = env::var("CARGO_MANIFEST_DIR").map_err(io::Error::other)?;
    let mut modules = vec!["echogate".to_owned()];
    collect(&Path::new(&root).join("src"), "echogate", &mut modules)?;
    modules.sort_unstable();
    println!("cargo::rustc-env=ECHOGATE_MODULES={}", modules.join(" "));
    println!("cargo::rerun-if-changed=src");
    Ok(())
}

/// Adds the modules with files in `folder`, the folder of the module `parent`.
fn collect(folder: &Path, parent: &str, modules: &mut Vec<String>) -> io::Result<()> {
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        let Some(stem) = path.file_stem().and_then(|stem| stem.to_str()) else { continue };
        let module = format!("{parent}::{stem}");
        if path.is_dir() {
            collect(&path, &module, modules)?;
        } else if path.extension().is_some_and(|extension| extension == "rs")
            && !["lib", "main", "mod"].contains(&stem)
        {
            modules.push(module);
        } else if stem == "mod" {
            modules.push(parent.to_owned());
        }
    }
    Ok(())
}
