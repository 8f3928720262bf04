//! Header fields that must not be shown.

/// The header fields whose values are secrets.
const SECRETS: [&str; 4] = ["authorization", "proxy-authorization", "cookie", "set-cookie"];

/// Whether the value of a header field must not be shown.
pub(crate) fn is_secret(name: &str) -> bool {
    SECRETS.iter().any(|secret| name.eq_ignore_ascii_case(secret))
}
