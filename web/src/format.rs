//! Sizes, times and payloads as short texts.

use echogate_proto::{api::Kind, hex};

use crate::{literal, payload::Payload, time::Millis};

/// A number of bytes: exact below 10,000, then in KiB and so on with one decimal.
pub fn size(bytes: u64) -> String {
    let unit = size_unit(bytes);
    let tenths = || bytes / unit * 10 + (bytes % unit * 10 + unit / 2) / unit;
    match unit {
        1 => format!("{} B", grouped(bytes)),
        KIB => format!("{} KiB", one_decimal(tenths())),
        MIB => format!("{} MiB", one_decimal(tenths())),
        GIB => format!("{} GiB", one_decimal(tenths())),
        _ => format!("{} TiB", grouped((bytes / unit).saturating_add(bytes % unit * 2 / unit))),
    }
}

const KIB: u64 = 1 << 10;
const MIB: u64 = 1 << 20;
const GIB: u64 = 1 << 30;
const TIB: u64 = 1 << 40;

/// The bytes of the unit in which [`size`] writes a number of bytes.
pub fn size_unit(bytes: u64) -> u64 {
    // A number that would be rounded to 1,024.0 is 1.0 of the next unit.
    let reaches = |unit: u64| bytes >= unit - unit / 20_480;
    match bytes {
        0..10_000 => 1,
        _ if !reaches(MIB) => KIB,
        _ if !reaches(GIB) => MIB,
        _ if !reaches(TIB) => GIB,
        _ => TIB,
    }
}

/// A whole number with commas between its thousands.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// A duration to a tenth of a millisecond.
fn span(millis: Millis) -> String {
    // Integers from here on: the formatting of floats would add a tenth to the page's size.
    let tenths = (millis * 10.0).round() as u64;
    match tenths {
        0 => "< 0.1 ms".to_owned(),
        1..1_000 => format!("{} ms", one_decimal(tenths)),
        1_000..9_995 => format!("{} ms", (tenths + 5) / 10),
        _ => format!("{} s", one_decimal((tenths + 500) / 1_000)),
    }
}

/// A duration in microseconds, measured by a clock of this resolution. A shorter one is written as
/// such: no measured time is 0.
pub fn measured(span: f64, resolution: f64) -> String {
    // The clock of an isolated page has a resolution of 5 µs, others one of 0.1 ms or coarser.
    let text = |span: f64| if resolution < 50.0 { micros(span) } else { self::span(span / 1000.0) };
    if span < resolution { format!("< {}", text(resolution)) } else { text(span) }
}

fn micros(span: f64) -> String {
    let tenths = (span / 100.0).round() as u64;
    match span.round() as u64 {
        whole @ 0..1_000 => format!("{whole} µs"),
        _ if tenths < 1_000 => format!("{} ms", one_decimal(tenths)),
        _ => self::span(span / 1000.0),
    }
}

/// An age in its largest unit: `5 s`, `3 min`, `2 h`, `4 d`.
pub fn age(seconds: f64) -> String {
    let seconds = seconds.max(0.0) as u64;
    match seconds {
        0..60 => format!("{seconds} s"),
        60..3_600 => format!("{} min", seconds / 60),
        3_600..86_400 => format!("{} h", seconds / 3_600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn one_decimal(tenths: u64) -> String {
    format!("{}.{}", grouped(tenths / 10), tenths % 10)
}

/// The time of day to the millisecond, in a time zone `minutes_ahead` of UTC.
pub fn clock(at: Millis, minutes_ahead: i32) -> String {
    const DAY: i64 = 24 * 60 * 60 * 1000;
    let millis = (at.floor() as i64 + i64::from(minutes_ahead) * 60_000).rem_euclid(DAY);
    let (hours, minutes) = (millis / 3_600_000, millis / 60_000 % 60);
    let (seconds, millis) = (millis / 1000 % 60, millis % 1000);
    format!("{hours:02}:{minutes:02}:{seconds:02}.{millis:03}")
}

/// The parts, none of which is empty, with a separator between them. The standard library's `join`
/// would add more to the page's size.
pub fn joined(parts: &[String], separator: &str) -> String {
    let mut all = String::new();
    for part in parts {
        if !all.is_empty() {
            all.push_str(separator);
        }
        all.push_str(part);
    }
    all
}

/// The usual spelling of a transport's name.
pub fn transport_name(kind: Kind) -> &'static str {
    match kind {
        Kind::Tcp => "TCP",
        Kind::Tls => "TLS",
        Kind::Unix => "Unix",
        Kind::Udp => "UDP",
        Kind::UnixGram => "Unix dgram",
        Kind::WebSocket => "WebSocket",
    }
}

/// A payload on one line: text, that of binary messages included, with its control and invisible
/// characters as escapes; other bytes as hexadecimal digits. The line begins at the character or byte
/// `from`, and has at most `most` of them.
pub fn preview(payload: &Payload, from: usize, most: usize) -> String {
    escaped(&excerpt(payload, from, most))
}

/// A text on one line, as [`preview`] writes it.
pub fn text_preview(text: &str, from: usize, most: usize) -> String {
    escaped(&text_excerpt(text, from, most))
}

/// The part of a payload that [`preview`] shows, without escapes.
pub fn excerpt(payload: &Payload, from: usize, most: usize) -> String {
    if let Some(text) = payload.as_text() {
        return text_excerpt(text, from, most);
    }
    let start = if from > 0 { "… " } else { "" };
    let bytes = payload.bytes().get(from..).unwrap_or_default();
    let mut line = format!("{start}{}", hex::encode(&bytes[..bytes.len().min(most)]));
    if bytes.len() > most {
        line.push_str(" …");
    }
    line
}

fn text_excerpt(text: &str, from: usize, most: usize) -> String {
    let mut line = if from > 0 { "… ".to_owned() } else { String::new() };
    let mut characters = text.chars().skip(from);
    line.extend(characters.by_ref().take(most));
    if characters.next().is_some() {
        line.push('…');
    }
    line
}

/// A text with its control and invisible characters as escapes.
pub fn escaped(text: &str) -> String {
    let mut all = String::new();
    for c in text.chars() {
        if is_invisible(c) { escape(c, &mut all) } else { all.push(c) }
    }
    all
}

/// Whether a character is a control or format character, which shows nothing or changes how others
/// show. The joiners of emoji and of Persian are none of these.
pub fn is_invisible(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{200b}' | '\u{200e}'..='\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Appends the escape sequence of a character, as the composer reads it.
fn escape(c: char, to: &mut String) {
    if c.is_ascii() {
        literal::escape(c as u8, to);
    } else {
        to.push_str(&format!("\\u{{{:x}}}", u32::from(c)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_exact_while_that_is_short() {
        assert_eq!(size(0), "0 B");
        assert_eq!(size(9_999), "9,999 B");
        assert_eq!(size(10_240), "10.0 KiB");
        assert_eq!(size(16 << 20), "16.0 MiB");
        assert_eq!(size(19_992_000), "19.1 MiB", "19.07 is rounded");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(size((1 << 20) - 52), "1,023.9 KiB");
        assert_eq!(size(1_234_567_890), "1.1 GiB");
        assert_eq!(size(u64::MAX), "16,777,216 TiB");
    }

    #[test]
    fn numbers_are_grouped() {
        assert_eq!(grouped(1), "1");
        assert_eq!(grouped(123_456), "123,456");
        assert_eq!(grouped(1_234_567), "1,234,567");
    }

    #[test]
    fn durations_show_significant_digits_only() {
        assert_eq!(span(0.0), "< 0.1 ms");
        assert_eq!(span(0.0999), "0.1 ms");
        assert_eq!(span(12.34), "12.3 ms");
        assert_eq!(span(99.96), "100 ms");
        assert_eq!(span(999.7), "1.0 s");
        assert_eq!(span(61_000.0), "61.0 s");
    }

    #[test]
    fn durations_are_written_as_precisely_as_they_were_measured() {
        assert_eq!(measured(0.4, 1.0), "< 1 µs");
        assert_eq!(measured(81.6, 1.0), "82 µs");
        assert_eq!(measured(1_250.0, 1.0), "1.3 ms");
        assert_eq!(measured(2_500_000.0, 1.0), "2.5 s");
        assert_eq!(measured(0.0, 100.0), "< 0.1 ms");
        assert_eq!(measured(300.0, 100.0), "0.3 ms");
        assert_eq!(measured(0.0, 1000.0), "< 1.0 ms");
    }

    #[test]
    fn ages_are_shown_in_their_largest_unit() {
        assert_eq!(
            [0.0, 59.9, 60.0, 7_300.0, 2e5].map(age),
            ["0 s", "59 s", "1 min", "2 h", "2 d"]
        );
    }

    #[test]
    fn the_time_of_day_is_the_zones_own() {
        assert_eq!(clock(0.0, 0), "00:00:00.000");
        assert_eq!(clock(1_500.9, 120), "02:00:01.500");
        assert_eq!(clock(0.0, -90), "22:30:00.000");
    }

    #[test]
    fn a_preview_stays_on_one_line_and_says_that_it_is_cut() {
        assert_eq!(preview(&"a\nb\tc\r".into(), 0, 9), "a\\nb\\tc\\r");
        assert_eq!(preview(&"世界世界".into(), 0, 3), "世界世…");
        assert_eq!(preview(&vec![0, 0x61, 0xff].into(), 0, 3), "00 61 ff");
        assert_eq!(preview(&vec![0, 0x61, 0xff].into(), 0, 2), "00 61 …");
        assert_eq!(preview(&vec![0, 0x61, 0xff].into(), 1, 2), "… 61 ff");
        assert_eq!(preview(&b"a\r\n".to_vec().into(), 0, 9), "a\\r\\n");
        assert_eq!(
            preview(&"\0\x1b\x7f\u{85}\u{202e}\u{200b}".into(), 0, 9),
            r"\x00\x1b\x7f\u{85}\u{202e}\u{200b}"
        );
        assert_eq!(preview(&"👩\u{200d}🚀".into(), 0, 9), "👩\u{200d}🚀");
    }
}
