//! Lines of received bytes, escaped so that they are safe to show on a terminal.

use echogate_proto::utf8::cut_character;

use crate::text::escape::{push_byte, push_escaped};

/// The length at which a line is split, in bytes as shown.
const MAX_LINE: usize = 8 * 1024;

/// A splitter of a byte stream into escaped lines. A line ends with a newline, with or without a
/// carriage return before it.
#[derive(Debug, Default)]
pub(super) struct TerminalLines {
    /// The line that is being built, escaped.
    line: String,
    /// A carriage return was the last character; a newline may follow.
    carriage_return: bool,
    /// The bytes of an incomplete character: at most 3.
    held: Vec<u8>,
}

impl TerminalLines {
    /// Adds bytes, and returns the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8]) -> Vec<String> {
        let joined;
        let bytes = if self.held.is_empty() {
            bytes
        } else {
            joined = [&*self.held, bytes].concat();
            &joined
        };
        let (whole, cut) = bytes.split_at(bytes.len() - cut_character(bytes));
        let mut lines = Vec::new();
        for chunk in whole.utf8_chunks() {
            self.push_text(chunk.valid(), &mut lines);
            self.push_bytes(chunk.invalid(), &mut lines);
        }
        self.held = cut.to_vec();
        lines
    }

    /// Whether [`TerminalLines::take_rest`] would return part of a line.
    pub(super) fn has_rest(&self) -> bool {
        !self.line.is_empty() || self.carriage_return || !self.held.is_empty()
    }

    /// Takes the incomplete line. The next bytes begin a new line.
    pub(super) fn take_rest(&mut self) -> Option<String> {
        if !self.has_rest() {
            return None;
        }
        self.flush_carriage_return();
        for byte in std::mem::take(&mut self.held) {
            push_byte(&mut self.line, byte);
        }
        Some(std::mem::take(&mut self.line))
    }

    fn push_text(&mut self, text: &str, lines: &mut Vec<String>) {
        for c in text.chars() {
            if c == '\n' {
                self.carriage_return = false;
                lines.push(std::mem::take(&mut self.line));
                continue;
            }
            self.make_room(lines);
            match c {
                '\r' => self.carriage_return = true,
                c => push_escaped(&mut self.line, c),
            }
        }
    }

    fn push_bytes(&mut self, bytes: &[u8], lines: &mut Vec<String>) {
        for &byte in bytes {
            self.make_room(lines);
            push_byte(&mut self.line, byte);
        }
    }

    /// Splits a line that is too long for another character.
    fn make_room(&mut self, lines: &mut Vec<String>) {
        self.flush_carriage_return();
        if self.line.len() >= MAX_LINE {
            lines.push(std::mem::take(&mut self.line));
        }
    }

    fn flush_carriage_return(&mut self) {
        if std::mem::take(&mut self.carriage_return) {
            self.line.push_str("\\r");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn lines_end_in_newlines_and_the_rest_is_kept() {
        let mut lines = TerminalLines::default();
        assert_eq!(lines.push(b"one\ntwo\r\n\nthr"), ["one", "two", ""]);
        assert_eq!(lines.push(b"ee\r"), [""; 0]);
        assert_eq!(lines.push(b"\n"), ["three"]);
        assert!(!lines.has_rest());
        assert_eq!(lines.push(b"login: \r"), [""; 0]);
        assert_eq!(lines.take_rest().unwrap(), "login: \\r");
        assert_eq!(lines.take_rest(), None);
    }

    #[test]
    fn a_character_split_across_reads_arrives_whole() {
        let mut lines = TerminalLines::default();
        for byte in "世ß".bytes() {
            assert_eq!(lines.push(&[byte]), [""; 0]);
        }
        assert_eq!(lines.push(b"\n"), ["世ß"]);
    }

    #[test]
    fn what_is_not_utf_8_or_would_move_the_cursor_is_escaped() {
        let mut lines = TerminalLines::default();
        assert_eq!(lines.push(b"a\xffb\x1b[2J\rc\xe4\xb8\n"), ["a\\xffb\\x1b[2J\\rc\\xe4\\xb8"]);
        lines.push(b"\xe4\xb8");
        assert_eq!(lines.take_rest().unwrap(), "\\xe4\\xb8");
    }

    #[test]
    fn a_line_without_end_is_given_in_pieces() {
        for byte in [b'x', 0xff, 0x1b, b'\r'] {
            let mut lines = TerminalLines::default();
            let pieces = lines.push(&[byte; 3 * MAX_LINE]);
            assert!(pieces.len() >= 2, "{byte:#x}");
            assert!(pieces.iter().all(|piece| piece.len() <= MAX_LINE + 8), "{byte:#x}");
        }
    }

    proptest! {
        #[test]
        fn the_cuts_between_reads_do_not_matter(bytes: Vec<u8>, cut: prop::sample::Index) {
            let cut = cut.index(bytes.len() + 1);
            let mut whole = TerminalLines::default();
            let mut expected = whole.push(&bytes);
            expected.extend(whole.take_rest());
            let mut halves = TerminalLines::default();
            let mut lines = halves.push(&bytes[..cut]);
            lines.extend(halves.push(&bytes[cut..]));
            lines.extend(halves.take_rest());
            prop_assert_eq!(lines, expected);
        }

        #[test]
        fn no_control_character_comes_through(bytes: Vec<u8>) {
            let mut lines = TerminalLines::default();
            let mut shown = lines.push(&bytes);
            shown.extend(lines.take_rest());
            prop_assert!(shown.iter().all(|line| !line.contains(char::is_control)));
        }
    }
}
