//! Values of settings.

use std::{borrow::Cow, time::Duration};

use echogate_proto::{
    close::CloseCode,
    endpoint::{Endpoint, EndpointError, HostPort},
};
use jiff::tz::TimeZone;

use crate::{connections::tap::Sides, net::authority::Host, text::escape::escape};

/// An error in `SERVICE=URL`, `PATH=URL` or `LISTEN=URL`.
#[derive(Debug)]
pub(crate) enum SpecError {
    /// The part before the URL is wrong.
    Name(String),
    /// The URL is wrong.
    Url(String),
}

impl From<SpecError> for String {
    fn from((SpecError::Name(why) | SpecError::Url(why)): SpecError) -> String {
        why
    }
}

/// The host of a listening socket that is given as a port alone: both loopback addresses.
const LISTEN_HOST: &str = "localhost";

/// The host of an upstream that is given as a port alone.
pub(super) const UPSTREAM_HOST: &str = "127.0.0.1";

/// Parses the URL of a listening socket.
pub(super) fn parse_endpoint(url: &str) -> Result<Endpoint, String> {
    let url = &*tcp_url(url, LISTEN_HOST).map_or(Cow::Borrowed(url), Cow::Owned);
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
            let key = escape(key);
            return Err(format!("{}: unknown option \"{key}\": {expected}", endpoint.address));
        }
        let may_repeat = key == "header";
        if !may_repeat && endpoint.options[..i].iter().any(|(before, _)| before == key) {
            return Err(format!("{}: option \"{key}\" is given twice", endpoint.address));
        }
    }
    Ok(())
}

/// Parses the option `record` of an endpoint: the sides to be recorded.
pub(super) fn parse_record(endpoint: &Endpoint) -> Result<Option<Sides>, String> {
    match endpoint.option("record") {
        None | Some("false") => Ok(None),
        Some("" | "true" | "client") => Ok(Some(Sides::Client)),
        Some("both") => Ok(Some(Sides::Both)),
        Some(other) => Err(format!("record=\"{other}\": expected client or both")),
    }
}

/// The `tcp://` URL for `HOST:PORT`, `:PORT` or `PORT`, with or without options; None for any other
/// text. A port alone belongs to `host`.
pub(super) fn tcp_url(text: &str, host: &str) -> Option<String> {
    let address = &text[..text.find(['?', '#']).unwrap_or(text.len())];
    let port = address.strip_prefix(':').unwrap_or(address);
    if parse_number(port).is_some() {
        return Some(format!("tcp://{host}:{}", text.trim_start_matches(':')));
    }
    // A known scheme in front of the port is a mistyped URL, as ws:8080.
    let has_no_scheme = matches!(
        address.parse::<Endpoint>(),
        Err(EndpointError::NoScheme | EndpointError::UnknownScheme(_))
    );
    let is_authority =
        has_no_scheme && !address.contains('=') && address.parse::<HostPort>().is_ok();
    is_authority.then(|| format!("tcp://{text}"))
}

/// Parses `[HOST:]PORT`, where a port alone means localhost.
pub(super) fn parse_bind(text: &str) -> Result<HostPort, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    match (parse_number(port), port.parse()) {
        (Some(_), Ok(port)) => Ok(HostPort { host: LISTEN_HOST.to_owned(), port }),
        (Some(_), Err(_)) => Err(EndpointError::BadPort(port.to_owned()).to_string()),
        (None, _) => parse_host_port(text),
    }
}

/// Parses `HOST:PORT`, and checks the host.
pub(super) fn parse_host_port(text: &str) -> Result<HostPort, String> {
    let at: HostPort = text.parse().map_err(|e: EndpointError| e.to_string())?;
    check_host(&at.host)?;
    Ok(at)
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

/// Splits a value into its leading digits and its unit.
fn split_unit(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

/// Parses a duration, in seconds if there is no unit: `10s`, `500ms`, `2m`, `1h`, `10`, `0.5`.
pub(crate) fn parse_duration(text: &str) -> Result<Duration, String> {
    let (whole, rest) = split_unit(text);
    let (fraction, unit) = rest.strip_prefix('.').map_or(("0", rest), split_unit);
    let unit = match unit {
        "ms" => Some(1),
        "s" | "" => Some(1000),
        "m" => Some(60_000),
        "h" => Some(3_600_000),
        _ => None,
    };
    let Some(milliseconds) = unit.filter(|_| !whole.is_empty() && !fraction.is_empty()) else {
        return Err(
            "expected a time: a number of seconds, or one with ms, s, m or h, such as 10s".into()
        );
    };
    let unit = Duration::from_millis(milliseconds);
    let fraction: f64 = format!("0.{fraction}").parse().unwrap_or_default();
    parse_number(whole)
        .and_then(|whole| whole.checked_mul(milliseconds))
        .map(|whole| Duration::from_millis(whole) + unit.mul_f64(fraction))
        .ok_or_else(|| "the time is too long".to_owned())
}

/// Parses a duration longer than zero.
pub(super) fn parse_timeout(text: &str) -> Result<Duration, String> {
    match parse_duration(text)? {
        Duration::ZERO => Err("the time must be longer than 0s".to_owned()),
        time => Ok(time),
    }
}

/// Parses an integer from 1 to the maximum of `N`.
pub(crate) fn parse_count<N: TryFrom<u64>>(text: &str) -> Result<N, String> {
    let number = parse_number(text).filter(|number| *number > 0);
    number.and_then(|number| N::try_from(number).ok()).ok_or_else(|| {
        format!(
            "expected a number from 1 to {}",
            u64::MAX >> (u64::BITS - 8 * size_of::<N>() as u32)
        )
    })
}

/// Parses the close code of a shutdown.
pub(super) fn parse_drain_code(text: &str) -> Result<CloseCode, String> {
    match text {
        "1001" => Ok(CloseCode::GOING_AWAY),
        "1012" => Ok(CloseCode::SERVICE_RESTART),
        _ => Err("expected 1001 (going away) or 1012 (service restart)".to_owned()),
    }
}

/// Parses a size in bytes, at least 1.
pub(super) fn parse_size(text: &str) -> Result<u64, String> {
    let (number, unit) = split_unit(text);
    let shift = match unit.to_ascii_lowercase().as_str() {
        "" => Some(0),
        "k" | "kib" => Some(10),
        "m" | "mib" => Some(20),
        "g" | "gib" => Some(30),
        _ => None,
    };
    let bytes = |(number, shift): (u64, u32)| number.checked_mul(1 << shift);
    match parse_number(number).zip(shift).and_then(bytes) {
        Some(bytes) if bytes > 0 => Ok(bytes),
        _ => {
            Err("expected a size of at least 1 byte: a number, alone or with K, M or G (KiB, MiB, \
                  GiB), such as 16M"
                .to_owned())
        }
    }
}

/// Parses the IANA name of a time zone.
pub(super) fn parse_zone(name: &str) -> Result<TimeZone, String> {
    let unknown = |_| "not a time zone: expected an IANA name, such as Europe/Berlin".to_owned();
    TimeZone::get(name).map_err(unknown)
}
