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

use echogate_proto::endpoint::{Endpoint, EndpointError, HostPort};
use jiff::tz::TimeZone;
use serde::{Deserialize, Deserializer, de};

use super::sources::Setting;
use crate::{
    net::{authority::Host, tls::identity::Identity},
    service::chat::Token,
    text::escape::escape,
};

pub(super) fn parse_endpoint(url: &str) -> Result<Endpoint, String> {
    url.parse().map_err(|e| format!("{url}: {e}"))
}

/// Checks that the options of `endpoint` are of the `known` ones, each given once.
pub(super) fn known_options(endpoint: &Endpoint, known: &[&str]) -> Result<(), String> {
    for (i, (key, _)) in endpoint.options.iter().enumerate() {
        if !known.contains(&key.as_str()) {
            let expected = match known {
                [] => "no option is taken here".to_owned(),
                known => format!("expected {}", known.join(", ")),
            };
            return Err(format!("{endpoint}: unknown option \"{key}\": {expected}"));
        }
        if endpoint.options[..i].iter().any(|(before, _)| before == key) {
            return Err(format!("{endpoint}: option \"{key}\" is given twice"));
        }
    }
    Ok(())
}

/// Checks the host of a socket address: a name that can resolve, or an IP address.
///
/// # Errors
///
/// Why no host has it.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let wrong = |why: &str| format!("bad host \"{}\": {why}", escape(host));
    let is_too_long = |host: &str| host.len() > 253 || host.split('.').any(|part| part.len() > 63);
    match host {
        "*" => Err(wrong("all addresses of this machine are 0.0.0.0 (IPv4) or [::]")),
        host if !host.is_ascii() => Err(wrong("write it in ASCII, as xn--…")),
        host if is_too_long(host) => Err(wrong("it is longer than a host name can be")),
        host => {
            // The zone of an IPv6 address is the system's to judge.
            let address = host.split_once('%').map_or(host, |(address, _)| address);
            Host::parse_setting(address).map(|_| ()).map_err(wrong)
        }
    }
}

/// Parses a decimal number; unlike `u64::from_str` it takes no sign.
fn parse_number(digits: &str) -> Option<u64> {
    let is_number = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
    is_number.then(|| digits.parse().ok()).flatten()
}

/// Parses a whole number and its unit: `10s`, `500ms`, `2m`, `1h`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    let (number, unit) = text.split_at(digits);
    let millis: u64 = match unit {
        "ms" => 1,
        "s" => 1_000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => 0,
    };
    if number.is_empty() || millis == 0 {
        let text = escape(text);
        return Err(format!(
            "\"{text}\" is not a time: expected a number and ms, s, m or h, as 10s"
        ));
    }
    let number = parse_number(number).and_then(|number| number.checked_mul(millis));
    number.map(Duration::from_millis).ok_or_else(|| format!("\"{text}\" is too long a time"))
}

/// A duration that may be zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Time(pub(super) Duration);

impl FromStr for Time {
    type Err = String;

    fn from_str(text: &str) -> Result<Time, String> {
        parse_duration(text).map(Time)
    }
}

/// A duration within which something has to happen: more than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Timeout, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err(format!("{text} leaves no time: expected more")),
            time => Ok(Timeout(time)),
        }
    }
}

/// A number of connections: 1 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        match parse_number(text).and_then(|number| u32::try_from(number).ok()) {
            Some(0) => Err("0 would let nobody in: expected 1 at least".to_owned()),
            Some(number) => Ok(Count(number)),
            None => Err(format!(
                "\"{}\": expected a number of connections, from 1 to {}",
                escape(text),
                u32::MAX
            )),
        }
    }
}

/// A size in bytes: 1 at least.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size(pub(super) u64);

impl FromStr for Size {
    type Err = String;

    fn from_str(text: &str) -> Result<Size, String> {
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let (number, unit) = text.split_at(digits);
        let shift = match unit.to_ascii_lowercase().as_str() {
            "" => Some(0),
            "k" | "kib" => Some(10),
            "m" | "mib" => Some(20),
            "g" | "gib" => Some(30),
            _ => None,
        };
        let bytes = |(number, shift): (u64, u32)| number.checked_mul(1 << shift);
        match parse_number(number).zip(shift).and_then(bytes) {
            Some(0) => Err("0 would take no message: expected 1 byte at least".to_owned()),
            Some(bytes) => Ok(Size(bytes)),
            None => Err(format!(
                "\"{}\": expected a number of bytes, or of K, M or G (also KiB, MiB, GiB), as 16M",
                escape(text)
            )),
        }
    }
}

/// `HOST:PORT` on which HTTP is served.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct BindAddress(pub HostPort);

impl FromStr for BindAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<BindAddress, String> {
        let at: HostPort = text.parse().map_err(|e: EndpointError| e.to_string())?;
        check_host(&at.host)?;
        Ok(BindAddress(at))
    }
}

/// A value of a file: text, or a whole number, which is parsed as the same text.
struct Parsed<T>(T);

impl<'de, T: FromStr<Err: Display>> Deserialize<'de> for Parsed<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = match toml::Value::deserialize(deserializer)? {
            toml::Value::String(text) => text,
            toml::Value::Integer(number) => number.to_string(),
            other => {
                let kind = other.type_str();
                return Err(de::Error::custom(format!(
                    "expected a string or a number, not a {kind}"
                )));
            }
        };
        let value = text.parse::<T>().map_err(|e| {
            let (why, text) = (e.to_string(), escape(&text));
            let is_named = why.contains(&text);
            de::Error::custom(if is_named { why } else { format!("\"{text}\": {why}") })
        });
        value.map(Parsed)
    }
}

pub(super) fn parsed_option<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    Parsed::deserialize(deserializer).map(|Parsed(value)| Some(value))
}

/// A list of values that are parsed from text.
pub(super) fn parsed_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    let values: Vec<Parsed<T>> = filled_list(deserializer)?;
    Ok(values.into_iter().map(|Parsed(value)| value).collect())
}

/// A list of at least one element. (What an empty list means, nothing or the default, would be
/// a guess.)
pub(super) fn filled_list<'de, D, T>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    let values = Vec::deserialize(deserializer)?;
    if values.is_empty() {
        return Err(de::Error::custom("an empty list: leave it out for the default"));
    }
    Ok(values)
}

/// The path of a file or a folder.
pub(super) fn path<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<PathBuf>, D::Error> {
    match PathBuf::deserialize(deserializer)? {
        path if path.as_os_str().is_empty() => {
            Err(de::Error::custom("an empty path: leave it out for the default"))
        }
        path => Ok(Some(path)),
    }
}

/// A time zone by its IANA name, as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(pub TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Zone, String> {
        let unknown = |_| format!("\"{name}\" is no time zone: expected a name as Europe/Berlin");
        TimeZone::get(name).map(Zone).map_err(unknown)
    }
}

/// The server's certificate and key, if they were given.
pub(super) fn identity(
    cert: Option<(PathBuf, Setting<'_>)>,
    key: Option<(PathBuf, Setting<'_>)>,
) -> Result<Option<Arc<Identity>>, String> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some((cert, _)), Some((key, _))) => {
            let identity = Identity::read(&cert, &key)?;
            warn_of_access(&key);
            Ok(Some(identity.into()))
        }
        (Some((_, cert)), None) => {
            Err(format!("{cert} needs {}, its private key", cert.beside("tls-key")))
        }
        (None, Some((_, key))) => {
            Err(format!("{key} needs {}, its certificate", key.beside("tls-cert")))
        }
    }
}

/// The operators' token: the first line of its file.
pub(super) fn operator_token(file: &Path) -> Result<Token, String> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|e| format!("{name}: {}", crate::text::io_error::describe(&e)))?;
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
