//! What `web/dist` is built from, and whether it still is.
//!
//! The binary of this package (`cargo page`) builds the page. This library knows which files
//! and which locked versions determine it, and so can tell without a compiler for
//! WebAssembly whether the committed `web/dist` is stale.
//!
//! - [`sources`]: the files that determine the page
//! - [`record`]: what determines it besides files: compiler, profile, locked versions
//! - [`sums`]: `web/dist/SHA256SUMS`, written and compared

pub mod record;
pub mod sources;
pub mod sums;

/// Where the built page lies, from the root of the repository.
pub const DIST: &str = "web/dist";
