//! Text in messages: escaping, credentials, error texts, secrets, suggestions, numbers.

pub(crate) mod credentials;
pub(crate) mod escape;
pub(crate) mod io_error;
pub(crate) mod secrets;
pub(crate) mod suggest;

use std::fmt::Display;

/// A number with its noun: `1 connection`, `2 connections`.
pub(crate) fn counted<N: Copy + Display + PartialEq + From<u8>>(number: N, noun: &str) -> String {
    let ending = if number == N::from(1) { "" } else { "s" };
    format!("{number} {noun}{ending}")
}
