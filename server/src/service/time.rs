//! `time`: answers a Unix time with its date and time of day.
//!
//! ```text
//! 1532345678        2018-07-23 11:34:38
//! -0.5              1969-12-31 23:59:59
//! noon              error: not a Unix time: "noon"
//! ```

use std::ops::RangeInclusive;

use jiff::{Timestamp, tz::TimeZone};

use super::{
    line_reader::Request,
    lines::{LineOutcome, LineService},
};
use crate::text::escape;

/// The limit of a request, in bytes.
const MAX_REQUEST: usize = 256;

/// The limit of a request's excerpt in an error, in characters.
const EXCERPT: usize = 64;

/// The beginning of every error.
const ERROR: &[u8] = b"error: ";

/// The years of four digits. The last day of 9999 (UTC) is out of range: in some zones it lies
/// in the year 10000.
const YEARS: RangeInclusive<i16> = 1..=9999;

/// The service's side of one connection.
#[derive(Debug)]
pub(super) struct Time {
    zone: TimeZone,
}

impl Time {
    pub(super) fn new(zone: TimeZone) -> Time {
        Time { zone }
    }
}

impl LineService for Time {
    fn max_request(&self) -> usize {
        MAX_REQUEST
    }

    /// The answer ends with a newline if the request did.
    fn on_line(&mut self, request: Request<'_>, out: &mut Vec<u8>) -> LineOutcome {
        match request.too_long {
            true => out.extend(error(request.bytes)),
            false => out.extend(formatted(request.bytes, &self.zone)),
        }
        out.extend(request.line.then_some(b'\n'));
        LineOutcome::Replied
    }
}

/// Whether a datagram is an error text of a `time` service, perhaps passed through `upper`. Error
/// texts are not answered: two `time` services would send each other errors for ever.
pub(super) fn is_error(datagram: &[u8]) -> bool {
    datagram.get(..ERROR.len()).is_some_and(|start| start.eq_ignore_ascii_case(ERROR))
}

pub(super) fn answer(bytes: &[u8], zone: &TimeZone) -> Vec<u8> {
    let line = bytes.strip_suffix(b"\n");
    let request = line.map_or(bytes, |line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut answer = match request.len() {
        0..=MAX_REQUEST => formatted(request, zone),
        _ => error(&request[..MAX_REQUEST]),
    };
    answer.extend(line.map(|_| b'\n'));
    answer
}

fn formatted(request: &[u8], zone: &TimeZone) -> Vec<u8> {
    let Some(seconds) = std::str::from_utf8(request).ok().and_then(|text| parse(text.trim()))
    else {
        return error(request);
    };
    let date = seconds.and_then(|seconds| Timestamp::from_second(seconds).ok());
    let date = date.map(|time| time.to_zoned(zone.clone()));
    match date.filter(|date| YEARS.contains(&date.year())) {
        Some(date) => date.strftime("%Y-%m-%d %H:%M:%S").to_string().into_bytes(),
        None => format!("error: out of range: \"{}\"", excerpt(request)).into(),
    }
}

fn error(request: &[u8]) -> Vec<u8> {
    format!("error: not a Unix time: \"{}\"", excerpt(request)).into()
}

/// Parses a decimal number of seconds since 1970, rounded down to a whole second. The outer
/// option is none if `text` is not such a number, the inner one if the number is out of range.
fn parse(text: &str) -> Option<Option<i64>> {
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    let (whole, fraction) = unsigned.split_once('.').unwrap_or((unsigned, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(fraction) {
        return None;
    }
    let Ok(whole) = whole.parse::<i64>() else { return Some(None) };
    let below = i64::from(fraction.bytes().any(|byte| byte != b'0'));
    Some(if text.starts_with('-') { (-whole).checked_sub(below) } else { Some(whole) })
}

/// The beginning of a request, escaped for a quoted string in one line.
fn excerpt(request: &[u8]) -> String {
    let text = escape::bytes(request).replace('"', "\\\"");
    match text.char_indices().nth(EXCERPT) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn utc(request: &[u8]) -> String {
        String::from_utf8(answer(request, &TimeZone::UTC)).unwrap()
    }

    #[test]
    fn a_unix_time_is_its_date_and_time_of_day() {
        for (request, expected) in [
            ("0", "1970-01-01 00:00:00"),
            ("1532345678", "2018-07-23 11:34:38"),
            ("1532345678.25", "2018-07-23 11:34:38"),
            ("1532345678.999999999999", "2018-07-23 11:34:38"),
            ("+60", "1970-01-01 00:01:00"),
            ("-1", "1969-12-31 23:59:59"),
            ("-0.5", "1969-12-31 23:59:59"),
            ("-1.0", "1969-12-31 23:59:59"),
            (" 7 ", "1970-01-01 00:00:07"),
            ("253402207200", "9999-12-30 22:00:00"),
            ("-62135596800", "0001-01-01 00:00:00"),
        ] {
            assert_eq!(utc(request.as_bytes()), expected, "{request}");
        }
    }

    #[test]
    fn the_zones_offset_on_that_day_applies() {
        let zone = TimeZone::get("Europe/Berlin").unwrap();
        assert_eq!(answer(b"1532345678", &zone), b"2018-07-23 13:34:38");
        assert_eq!(answer(b"0\n", &zone), b"1970-01-01 01:00:00\n");
    }

    #[test]
    fn a_request_that_is_not_a_number_is_quoted_in_the_error() {
        for request in
            ["", "noon", "1e9", "nan", "inf", "-Infinity", "0x10", "1.", ".5", "--1", "1 2"]
        {
            assert_eq!(utc(request.as_bytes()), format!("error: not a Unix time: \"{request}\""));
        }
        assert_eq!(utc(b"a\"b\x1b\xff\n"), "error: not a Unix time: \"a\\\"b\\x1b\\xff\"\n");
        let long = utc(&[b'x'; 1000]);
        assert_eq!(long, format!("error: not a Unix time: \"{}…\"", "x".repeat(64)));
    }

    #[test]
    fn an_error_is_recognised_in_lower_and_upper_case() {
        for request in ["noon", "253402207201"] {
            let error = answer(request.as_bytes(), &TimeZone::UTC);
            assert!(is_error(&error) && is_error(&error.to_ascii_uppercase()), "{request}");
        }
        assert!(![&b""[..], b"0", b"error", b"1970-01-01 00:00:00"].into_iter().any(is_error));
    }

    #[test]
    fn a_time_out_of_range_is_an_error() {
        for request in
            ["253402207201", "-62135596801", "99999999999999999999", "9223372036854775807"]
        {
            assert_eq!(utc(request.as_bytes()), format!("error: out of range: \"{request}\""));
        }
        assert!(utc(b"-9223372036854775807.5").starts_with("error: out of range"));
    }

    proptest! {
        #[test]
        fn every_request_has_an_answer_of_one_line(request in proptest::collection::vec(any::<u8>(), 0..400)) {
            let answer = answer(&request, &TimeZone::UTC);
            prop_assert!(answer.len() < 512);
            prop_assert!(!answer.trim_ascii_end().iter().any(u8::is_ascii_control));
        }
    }
}
