//! The inputs of `web/dist`, and whether it is up to date.
//!
//! The binary of this package (`cargo page`) builds the page. This library lists the files and
//! locked versions that determine it, and so detects a stale `web/dist` without a compiler for
//! WebAssembly.
//!
//! - [`sources`]: the files that determine the page
//! - [`record`]: the other inputs: compiler, profile, locked versions
//! - [`sums`]: `web/dist/SHA256SUMS`, written and compared

pub mod record;
pub mod sources;
pub mod sums;

/// The folder of the built page, relative to the root of the repository.
pub const DIST: &str = "web/dist";
