//! Settings that are a single value each.

use std::{
    fmt::Display,
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use echogate_proto::endpoint::Endpoint;
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de};

use crate::{chat::Token, tls::identity::Identity};

pub(super) fn parse_endpoint(url: &str) -> Result<Endpoint, String> {
    url.parse().map_err(|e| format!("{url}: {e}"))
}

pub(super) fn known_options(endpoint: &Endpoint, known: &[&str]) -> Result<(), String> {
    match endpoint.options.iter().find(|(key, _)| !known.contains(&key.as_str())) {
        None => Ok(()),
        Some((key, _)) if known.is_empty() => {
            Err(format!("{endpoint}: unknown option \"{key}\": none is taken here"))
        }
        Some((key, _)) => {
            Err(format!("{endpoint}: unknown option \"{key}\": expected {}", known.join(", ")))
        }
    }
}

/// A whole number and its unit: `10s`, `500ms`, `2m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("\"{text}\" is not a time: expected a number and ms, s, m or h, as 10s");
    let digits = text.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
    let millis = match &text[digits..] {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err(wrong()),
    };
    number.checked_mul(millis).map(Duration::from_millis).ok_or_else(wrong)
}

fn parsed<T: FromStr<Err: Display>, E: de::Error>(text: &str) -> Result<T, E> {
    text.parse().map_err(|e| E::custom(format!("\"{text}\": {e}")))
}

pub(super) fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    parsed(&String::deserialize(deserializer)?).map(Some)
}

pub(super) fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Vec::<String>::deserialize(deserializer)?.iter().map(|text| parsed(text)).collect()
}

pub(super) fn parsed_duration<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Duration>, D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_duration(&text).map(Some).map_err(de::Error::custom)
}

/// A time zone by its IANA name, as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Zone(pub TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Zone, String> {
        let unknown = |_| format!("\"{name}\" is no time zone: expected a name as Europe/Berlin");
        TimeZone::get(name).map(Zone).map_err(unknown)
    }
}

/// The server's certificate and key, if they were given.
pub(super) fn identity(
    cert: Option<PathBuf>,
    key: Option<PathBuf>,
) -> Result<Option<Arc<Identity>>, String> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some(cert), Some(key)) => {
            let identity = Identity::read(&cert, &key)?;
            warn_of_access(&key);
            Ok(Some(identity.into()))
        }
        (Some(_), None) => Err("tls-cert needs tls-key, its private key".to_owned()),
        (None, Some(_)) => Err("tls-key needs tls-cert, its certificate".to_owned()),
    }
}

/// The operators' token: the first line of its file.
pub(super) fn operator_token(file: &Path) -> Result<Token, String> {
    let name = file.display();
    let text =
        fs::read_to_string(file).map_err(|e| format!("{name}: {}", crate::serve::plain(&e)))?;
    let token =
        text.lines().next().unwrap_or_default().parse().map_err(|e| format!("{name}: {e}"))?;
    warn_of_access(file);
    Ok(token)
}

/// Permissions that the file of a secret should not give: reading and writing to others,
/// writing to its group. (Its group may read: that is how services share a certificate.)
const TOO_OPEN: u32 = 0o026;

/// Warns, as far as a log is started, if a file that holds a secret can be read or changed
/// by other users. It is no error: secrets that are mounted into a container often have
/// mode 0644, and nobody else is there.
fn warn_of_access(file: &Path) {
    if let Ok(metadata) = fs::metadata(file)
        && metadata.is_file()
        && let Some(who) = exposure(metadata.mode())
    {
        tracing::warn!(
            "{}: {who} this secret (mode {:04o}); chmod 600 makes it yours alone",
            file.display(),
            metadata.mode() & 0o7777
        );
    }
}

/// Who can do what with a file of this mode that they should not, if anyone can.
fn exposure(mode: u32) -> Option<&'static str> {
    match mode & TOO_OPEN {
        0 => None,
        open if open & 0o002 != 0 => Some("every user can change"),
        open if open & 0o020 != 0 => Some("its group can change"),
        _ => Some("every user can read"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_exposed_by_what_others_may_do_and_its_group_may_write() {
        for (mode, expected) in [
            (0o100_600, None),
            (0o100_400, None),
            (0o100_640, None),
            (0o100_440, None),
            (0o100_604, Some("every user can read")),
            (0o100_644, Some("every user can read")),
            (0o100_660, Some("its group can change")),
            (0o100_664, Some("its group can change")),
            (0o100_602, Some("every user can change")),
            (0o100_666, Some("every user can change")),
        ] {
            assert_eq!(exposure(mode), expected, "{mode:o}");
        }
    }
}
