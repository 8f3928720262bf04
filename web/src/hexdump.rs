//! A hex dump that marks the bytes that differ from another payload.

use echogate_proto::hex;

/// One line of a dump.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Line {
    /// The offset of its first byte.
    pub offset: usize,
    /// The bytes as hexadecimal digits; the caller puts a space between runs.
    pub digits: Vec<Run>,
    /// Spaces that fill the digits up to a full line.
    pub padding: String,
    /// The bytes as ASCII, `·` for those that are not printable.
    pub ascii: Vec<Run>,
}

/// Adjacent bytes that all differ, or all do not.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Run {
    /// The text of these bytes.
    pub text: String,
    /// Whether these bytes differ from the other payload at the same offsets.
    pub changed: bool,
}

/// The dump of the first `most` bytes, `width` to a line, compared with `other` if there is one.
pub fn lines(bytes: &[u8], other: Option<&[u8]>, most: usize, width: usize) -> Vec<Line> {
    let shown = &bytes[..bytes.len().min(most)];
    let changed = |at: usize| other.is_some_and(|other| other.get(at).copied() != Some(bytes[at]));
    shown
        .chunks(width)
        .zip((0..).step_by(width))
        .map(|(chunk, offset)| {
            let cells = || (offset..).zip(chunk).map(|(at, &byte)| (byte, changed(at)));
            Line {
                offset,
                digits: runs(cells(), |byte, text| {
                    if !text.is_empty() {
                        text.push(' ');
                    }
                    text.extend(hex::pair(byte));
                }),
                padding: " ".repeat(3 * (width - chunk.len())),
                ascii: runs(cells(), |byte, text| {
                    let shows = byte.is_ascii_graphic() || byte == b' ';
                    text.push(if shows { char::from(byte) } else { '·' });
                }),
            }
        })
        .collect()
}

/// A text, with its characters marked whose bytes differ from `other` at the same offsets.
pub fn text(text: &str, other: Option<&[u8]>) -> Vec<Run> {
    let mut all: Vec<Run> = Vec::new();
    for (at, c) in text.char_indices() {
        let bytes = at..at + c.len_utf8();
        let changed =
            other.is_some_and(|other| other.get(bytes.clone()) != Some(&text.as_bytes()[bytes]));
        match all.last_mut() {
            Some(run) if run.changed == changed => run.text.push(c),
            _ => all.push(Run { text: c.into(), changed }),
        }
    }
    all
}

/// The number of offsets at which two payloads differ, including those that only one of them has.
pub fn differences(one: &[u8], other: &[u8]) -> usize {
    let unequal = one.iter().zip(other).filter(|(one, other)| one != other).count();
    unequal + one.len().abs_diff(other.len())
}

fn runs(cells: impl Iterator<Item = (u8, bool)>, write: impl Fn(u8, &mut String)) -> Vec<Run> {
    let mut runs: Vec<Run> = Vec::new();
    for (byte, changed) in cells {
        match runs.last_mut() {
            Some(run) if run.changed == changed => write(byte, &mut run.text),
            _ => {
                let mut text = String::new();
                write(byte, &mut text);
                runs.push(Run { text, changed });
            }
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn run(text: &str, changed: bool) -> Run {
        Run { text: text.to_owned(), changed }
    }

    #[test]
    fn changed_bytes_are_marked_in_both_columns() {
        assert_eq!(
            lines(b"A, B\xff", Some(b"a, b\xff"), 100, 8),
            [Line {
                offset: 0,
                digits: vec![
                    run("41", true),
                    run("2c 20", false),
                    run("42", true),
                    run("ff", false)
                ],
                padding: " ".repeat(9),
                ascii: vec![run("A", true), run(", ", false), run("B", true), run("·", false)],
            }]
        );
    }

    #[test]
    fn changed_characters_are_marked_in_text() {
        let runs = text("HI ß!", Some("hI ß".as_bytes()));
        assert_eq!(runs, [run("H", true), run("I ß", false), run("!", true)]);
        assert_eq!(text("a", None), [run("a", false)]);
    }

    #[test]
    fn without_another_payload_nothing_is_marked() {
        assert_eq!(lines(b"ab", None, 100, 8)[0].ascii, [run("ab", false)]);
        assert_eq!(lines(b"", None, 100, 8), []);
    }

    #[test]
    fn a_byte_that_only_one_payload_has_is_a_difference() {
        assert_eq!(lines(b"ab", Some(b"a"), 100, 8)[0].ascii, [run("a", false), run("b", true)]);
        assert_eq!(differences(b"ab", b"a"), 1);
        assert_eq!(differences(b"ab", b"AB"), 2);
        assert_eq!(differences(b"", b""), 0);
    }

    proptest! {
        #[test]
        fn every_requested_byte_is_shown_once(bytes: Vec<u8>, other: Vec<u8>, most in 0..99usize) {
            let lines = lines(&bytes, Some(&other), most, 8);
            let runs = lines.iter().flat_map(|line| &line.digits);
            let digits: Vec<&str> = runs.map(|run| &*run.text).collect();
            prop_assert_eq!(hex::decode(&digits.join(" ")).unwrap(), &bytes[..bytes.len().min(most)]);
        }
    }
}
