//! The minimum Rust version of all dependencies.

use std::{env, process::Command};

use serde_json::Value;

const ROOT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/..");

/// The numbers of a version such as `1.95` or `1.95.0`.
fn version(text: &str) -> Vec<u32> {
    let mut numbers: Vec<u32> = text.split('.').map(|number| number.parse().unwrap()).collect();
    numbers.resize(3, 0);
    numbers
}

#[test]
fn no_dependency_needs_a_newer_compiler_than_the_workspace_declares() {
    let cargo = env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline", "--all-features"])
        .current_dir(ROOT)
        .output()
        .unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{complaint}");
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let packages = metadata["packages"].as_array().unwrap();
    let rust_version = |package: &Value| package["rust_version"].as_str().map(version);
    let declared = packages.iter().find(|package| package["name"] == "echogate").unwrap();
    let declared = rust_version(declared).expect("it declares one");
    let newer = packages.iter().filter(|p| rust_version(p).is_some_and(|needed| needed > declared));
    let newer: Vec<_> = newer.map(|p| format!("{} {}", p["name"], p["rust_version"])).collect();
    assert!(newer.is_empty(), "{newer:?}");
}
