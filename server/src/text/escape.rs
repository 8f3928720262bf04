//! Escaping of text from peers, files and commands, for display on a terminal and in one line.

use std::fmt::Write;

/// Escapes the characters that a terminal acts on: control characters (`\n`, `\x1b`) and characters
/// that reorder or break a line (`\u{202e}`).
pub(crate) fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    text.chars().for_each(|c| push_escaped(&mut out, c));
    out
}

/// Decodes bytes as UTF-8 and escapes them as [`escape`] does; invalid bytes become `\xff`.
pub(crate) fn bytes(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| push_escaped(&mut out, c));
        chunk.invalid().iter().for_each(|&byte| push_byte(&mut out, byte));
    }
    out
}

/// Appends `c` to `out` as [`escape`] does.
pub(crate) fn push_escaped(out: &mut String, c: char) {
    match c {
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        c if c.is_ascii_control() => push_byte(out, c as u8),
        // C1 controls; line and paragraph separators; bidirectional marks, embeddings, overrides
        // and isolates.
        '\u{80}'..='\u{9f}'
        | '\u{61c}'
        | '\u{200e}'
        | '\u{200f}'
        | '\u{2028}'..='\u{202e}'
        | '\u{2066}'..='\u{2069}' => {
            write!(out, "\\u{{{:x}}}", u32::from(c)).expect("writing to a String cannot fail");
        }
        c => out.push(c),
    }
}

/// Appends a byte as `\xff`.
pub(crate) fn push_byte(out: &mut String, byte: u8) {
    write!(out, "\\x{byte:02x}").expect("writing to a String cannot fail");
}

/// The first `limit` characters of the first line of `text`, escaped.
pub(crate) fn first_line(text: &str, limit: usize) -> String {
    let line = text.trim().lines().next().unwrap_or_default().trim_end();
    match line.char_indices().nth(limit) {
        Some((end, _)) => escape(&line[..end]) + "…",
        None => escape(line),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_characters_that_a_terminal_acts_on_are_escaped() {
        assert_eq!(escape("HELLO, 世界 ß e\u{301} 👩‍🚀"), "HELLO, 世界 ß e\u{301} 👩‍🚀");
        assert_eq!(escape("\x1b[2J\x07\x7f"), "\\x1b[2J\\x07\\x7f");
        assert_eq!(escape("a\tb\rc\nd\0"), "a\\tb\\rc\\nd\\x00");
        assert_eq!(escape("\u{9b}2J\u{202e}"), "\\u{9b}2J\\u{202e}");
    }

    #[test]
    fn invalid_utf8_is_escaped_byte_by_byte() {
        assert_eq!(bytes(b"a\xff\xfeb\n\xe4\xb8"), "a\\xff\\xfeb\\n\\xe4\\xb8");
    }

    #[test]
    fn a_first_line_is_one_line_of_bounded_length() {
        assert_eq!(first_line("\r\n no such route \r\nmore", 80), "no such route");
        assert_eq!(first_line("äöüß", 4), "äöüß");
        assert_eq!(first_line("äöüßx", 4), "äöüß…");
        assert_eq!(first_line("\x1b[31mred", 80), "\\x1b[31mred");
        assert_eq!(first_line("", 80), "");
    }
}
