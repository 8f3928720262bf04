//! Values of settings, and the files that they name.

use std::{
    fs,
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    str::FromStr,
    sync::Arc,
    time::Duration,
};

use echogate_proto::endpoint::{Endpoint, EndpointError, HostPort};
use jiff::tz::TimeZone;

use super::sources::Setting;
use crate::{
    net::{authority::Host, tls::server::ServerTls},
    service::chat::Token,
    text::escape::escape,
};

/// An error in `SERVICE=URL` or `PATH=URL`.
#[derive(Debug)]
pub(super) enum SpecError {
    /// The service or the path is wrong.
    Name(String),
    /// The URL is wrong.
    Url(String),
}

impl From<SpecError> for String {
    fn from((SpecError::Name(why) | SpecError::Url(why)): SpecError) -> String {
        why
    }
}

pub(super) fn parse_endpoint(url: &str) -> Result<Endpoint, String> {
    url.parse().map_err(|e| format!("{url}: {e}"))
}

/// Checks that every option of `endpoint` is one of `known` and given once.
pub(super) fn known_options(endpoint: &Endpoint, known: &[&str]) -> Result<(), String> {
    for (i, (key, _)) in endpoint.options.iter().enumerate() {
        if !known.contains(&key.as_str()) {
            let expected = match known {
                [] => "no options are supported here".to_owned(),
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

/// Checks the host of a socket address: a valid host name or an IP address.
///
/// # Errors
///
/// Why the host is invalid.
pub(super) fn check_host(host: &str) -> Result<(), String> {
    let wrong = |why: &str| format!("invalid host \"{}\": {why}", escape(host));
    let is_too_long = |host: &str| host.len() > 253 || host.split('.').any(|part| part.len() > 63);
    match host {
        "*" => Err(wrong("use 0.0.0.0 for all IPv4 addresses of this machine, or [::]")),
        host if !host.is_ascii() => Err(wrong("write it in ASCII (xn--…)")),
        host if is_too_long(host) => Err(wrong("it is too long for a host name")),
        host => {
            // The system validates the zone of an IPv6 address.
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
    number.map(Duration::from_millis).ok_or_else(|| "the time is too long".to_owned())
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

/// A duration longer than zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Timeout(pub(super) Duration);

impl FromStr for Timeout {
    type Err = String;

    fn from_str(text: &str) -> Result<Timeout, String> {
        match parse_duration(text)? {
            Duration::ZERO => Err("the time must be longer than 0s".to_owned()),
            time => Ok(Timeout(time)),
        }
    }
}

/// A number of connections, at least 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Count(pub(super) u32);

impl FromStr for Count {
    type Err = String;

    fn from_str(text: &str) -> Result<Count, String> {
        match parse_number(text).and_then(|number| u32::try_from(number).ok()) {
            Some(number) if number > 0 => Ok(Count(number)),
            _ => Err(format!("expected a number from 1 to {}", u32::MAX)),
        }
    }
}

/// A size in bytes, at least 1.
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
            Some(bytes) if bytes > 0 => Ok(Size(bytes)),
            _ => {
                Err("expected a size of at least 1 byte: a number, alone or with K, M or G (KiB, \
                      MiB, GiB), as 16M"
                    .to_owned())
            }
        }
    }
}

/// `HOST:PORT` that HTTP is served on.
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

/// A time zone by its IANA name, as `Europe/Berlin`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Zone(pub TimeZone);

impl FromStr for Zone {
    type Err = String;

    fn from_str(name: &str) -> Result<Zone, String> {
        let unknown = |_| "not a time zone: expected an IANA name, as Europe/Berlin".to_owned();
        TimeZone::get(name).map(Zone).map_err(unknown)
    }
}

/// Reads the server's certificate and key, if they were given.
pub(super) fn server_tls(
    cert: Option<(PathBuf, Setting<'_>)>,
    key: Option<(PathBuf, Setting<'_>)>,
) -> Result<Option<Arc<ServerTls>>, String> {
    match (cert, key) {
        (None, None) => Ok(None),
        (Some((cert, _)), Some((key, _))) => {
            let tls = ServerTls::read(&cert, &key)?;
            warn_of_access(&key);
            Ok(Some(tls.into()))
        }
        (Some((_, cert)), None) => {
            Err(format!("{cert} needs {}, its private key", cert.beside("tls-key")))
        }
        (None, Some((_, key))) => {
            Err(format!("{key} needs {}, its certificate", key.beside("tls-cert")))
        }
    }
}

/// Reads the operators' token: the first line of a file.
pub(super) fn operator_token(file: &Path) -> Result<Token, String> {
    let name = file.display();
    let text = fs::read_to_string(file)
        .map_err(|e| format!("{name}: {}", crate::text::io_error::describe(&e)))?;
    let token =
        text.lines().next().unwrap_or_default().parse().map_err(|e| format!("{name}: {e}"))?;
    warn_of_access(file);
    Ok(token)
}

/// Permissions that the file of a secret should not grant: reading and writing to others, writing
/// to its group. Its group may read: that is how services share a certificate.
const TOO_OPEN: u32 = 0o026;

/// Logs a warning if other users can read or change a file that holds a secret. Not an error:
/// secrets that are mounted into a container often have mode 0644, and the container has no other
/// users.
fn warn_of_access(file: &Path) {
    if let Ok(metadata) = fs::metadata(file)
        && metadata.is_file()
        && let Some(who) = exposure(metadata.mode())
    {
        tracing::warn!(
            "{}: {who} this secret (mode {:04o}); restrict it with chmod 600",
            file.display(),
            metadata.mode() & 0o7777
        );
    }
}

/// Describes what a file mode grants beyond [`TOO_OPEN`]; None if nothing.
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
    fn a_secret_is_exposed_if_others_can_read_it_or_its_group_can_change_it() {
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
