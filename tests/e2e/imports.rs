//! Imports inside the crates run in one direction: from each layer only to those below it.

use std::path::Path;

use echogate_tests::imports;

fn assert_layers(sources: &str, layers: &[&[&str]]) {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository");
    let violations = imports::violations(&root.join(sources), layers);
    assert!(violations.is_empty(), "{sources}:\n  {}", violations.join("\n  "));
}

/// The page: `view` on top, then what a connection is made of, then formats and texts.
const WEB: &[&[&str]] = &[];

#[test]
#[ignore = "the page's view still has a circle"]
fn the_pages_modules_import_only_those_below_them() {
    assert_layers("web/src", WEB);
}

/// The server: see `server/ARCHITECTURE.md`.
const SERVER: &[&[&str]] = &[
    &["crate"],
    &["cli"],
    &["client", "console"],
    &["server"],
    &["http"],
    &["gateway"],
    &["context"],
    &["config"],
    &["service"],
    &["net"],
    &["connections"],
    &["runtime", "terminal", "text"],
];

#[test]
fn the_servers_modules_import_only_those_below_them() {
    assert_layers("server/src", SERVER);
}
