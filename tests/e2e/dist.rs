//! The committed page, `web/dist`, is up to date with its sources.

use std::path::Path;

use echogate_web_bundle::sums;

#[test]
fn the_committed_page_was_built_from_these_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ is in the repository");
    let stale = sums::stale(root).expect("web/dist says what it was built from");
    assert!(
        stale.is_empty(),
        "web/dist is stale, `cargo page` rebuilds it:\n  {}",
        stale.join("\n  ")
    );
}
