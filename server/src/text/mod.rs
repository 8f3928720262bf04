//! Text in messages: escaping, credentials, error texts, secrets, suggestions, numbers.

pub(crate) mod credentials;
pub(crate) mod escape;
pub(crate) mod io_error;
pub(crate) mod secrets;
pub(crate) mod suggest;

/// A number with its noun: `1 connection`, `2 connections`.
pub(crate) fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
