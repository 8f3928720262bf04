//! The text in the composer, its notation, and the message that it stands for.

use echogate_proto::hex::{self, HexError};

use crate::{
    i18n::{Texts, fill},
    payload::Payload,
};

/// The notation of the composer's text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Mode {
    /// Plain text, sent as a text message.
    #[default]
    Text,
    /// Hexadecimal digits, sent as a binary message.
    Hex,
}

/// The ending of each line of plain text.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum LineEnding {
    /// The text as it was typed, without an ending.
    #[default]
    None,
    /// A line feed after the last line as well.
    Lf,
    /// A carriage return and a line feed, also between lines and after the last one.
    CrLf,
}

/// The text in the composer and its notation.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Draft {
    /// The notation.
    pub mode: Mode,
    /// The text.
    pub text: String,
    /// The line ending of plain text.
    pub ending: LineEnding,
    /// Whether a backslash begins an escape sequence in plain text.
    pub escapes: bool,
}

/// The reason why a draft is no message. Positions count characters from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DraftError {
    /// The text is not hexadecimal.
    Hex(HexError),
    /// The backslash at this position begins no escape sequence.
    Escape(usize),
    /// The escape sequence at this position makes the text invalid as UTF-8.
    NotUtf8(usize),
}

/// The length of the longest escape sequence after its backslash, `u{10ffff}`, in characters.
const LONGEST_ESCAPE: usize = 9;

impl LineEnding {
    /// All line endings.
    pub const ALL: [LineEnding; 3] = [LineEnding::None, LineEnding::Lf, LineEnding::CrLf];

    /// The ending's name, in program text and on the page.
    pub fn name(self) -> &'static str {
        match self {
            LineEnding::None => "",
            LineEnding::Lf => "LF",
            LineEnding::CrLf => "CR LF",
        }
    }

    /// The ending of this name, or none.
    pub fn of_name(name: &str) -> LineEnding {
        Self::ALL.into_iter().find(|ending| ending.name() == name).unwrap_or_default()
    }
}

impl Draft {
    /// A draft of plain text without a line ending.
    pub fn text(text: &str) -> Draft {
        Draft { text: text.to_owned(), ..Draft::default() }
    }

    /// A draft of hexadecimal digits.
    pub fn hex(digits: &str) -> Draft {
        Draft { mode: Mode::Hex, ..Draft::text(digits) }
    }

    /// A message as it would be typed. Carriage returns are escaped, because a text field would
    /// change them.
    pub fn of(payload: &Payload) -> Draft {
        match payload {
            Payload::Text(text) if text.contains('\r') => {
                let text = text.replace('\\', "\\\\").replace('\r', "\\r");
                Draft { escapes: true, ..Draft::text(&text) }
            }
            Payload::Text(text) => Draft::text(text),
            Payload::Binary(bytes) => Draft::hex(&hex::encode(bytes)),
        }
    }

    /// The message.
    ///
    /// # Errors
    ///
    /// The text is invalid in its notation.
    pub fn payload(&self) -> Result<Payload, DraftError> {
        if self.mode == Mode::Hex {
            return hex::decode(&self.text).map(Payload::from).map_err(DraftError::Hex);
        }
        let mut text = self.text.clone();
        if self.ending != LineEnding::None {
            text.push('\n');
        }
        if self.ending == LineEnding::CrLf {
            text = text.replace('\n', "\r\n");
        }
        Ok(if self.escapes { unescape(&text)?.as_str().into() } else { text.as_str().into() })
    }

    /// Whether an error only says that the text ends within a byte or an escape sequence.
    pub fn is_unfinished(&self, error: DraftError) -> bool {
        let length = self.text.chars().count();
        match error {
            DraftError::Hex(HexError::HalfAByte { at, .. }) => at == length,
            DraftError::Escape(at) => {
                let rest: String = self.text.chars().skip(at).collect();
                rest.is_empty() || rest.len() < LONGEST_ESCAPE && rest.starts_with(['x', 'u'])
            }
            DraftError::Hex(_) | DraftError::NotUtf8(_) => false,
        }
    }

    /// The same message in another mode; `None` for bytes that are not UTF-8, and for a draft with
    /// an error.
    pub fn convert(&self, to: Mode) -> Option<Draft> {
        let payload = self.payload().ok()?;
        match to {
            Mode::Hex => {
                Some(Draft { text: hex::encode(payload.bytes()), mode: to, ..self.clone() })
            }
            Mode::Text => {
                let text = str::from_utf8(payload.bytes()).ok()?;
                Some(Draft::of(&text.into()))
            }
        }
    }
}

impl DraftError {
    /// The error as a sentence.
    pub fn sentence(self, texts: &Texts) -> String {
        match self {
            DraftError::Hex(HexError::NotADigit { at, found }) => {
                fill(texts.not_a_digit, &[&format!("'{found}'"), &at.to_string()])
            }
            DraftError::Hex(HexError::HalfAByte { at, digit }) => {
                fill(texts.half_a_byte, &[&digit.to_string(), &at.to_string()])
            }
            DraftError::Escape(at) => fill(texts.no_escape, &[&at.to_string()]),
            DraftError::NotUtf8(at) => fill(texts.escape_not_utf8, &[&at.to_string()]),
        }
    }
}

/// The text that `\r`, `\n`, `\t`, `\0`, `\\`, `\xNN` and `\u{…}` stand for.
fn unescape(text: &str) -> Result<String, DraftError> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut characters = (1..).zip(text.chars());
    let mut first_byte = 0;
    while let Some((at, c)) = characters.next() {
        if c != '\\' {
            bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            continue;
        }
        let error = DraftError::Escape(at);
        match characters.next().ok_or(error)?.1 {
            'r' => bytes.push(b'\r'),
            'n' => bytes.push(b'\n'),
            't' => bytes.push(b'\t'),
            '0' => bytes.push(0),
            '\\' => bytes.push(b'\\'),
            'x' => {
                let mut digit = || characters.next().and_then(|(_, c)| c.to_digit(16)).ok_or(error);
                let byte = (digit()? * 16 + digit()?) as u8;
                if byte >= 0x80 && first_byte == 0 {
                    first_byte = at;
                }
                bytes.push(byte);
            }
            'u' => {
                characters.next().filter(|(_, c)| *c == '{').ok_or(error)?;
                let mut code = None;
                loop {
                    let (_, c) = characters.next().ok_or(error)?;
                    if c == '}' {
                        break;
                    }
                    let digit = c.to_digit(16).ok_or(error)?;
                    let value = code.unwrap_or(0u32) * 16 + digit;
                    code = Some(value).filter(|value| *value <= 0x10_ffff);
                    code.ok_or(error)?;
                }
                let c = code.and_then(char::from_u32).ok_or(error)?;
                bytes.extend(c.encode_utf8(&mut [0; 4]).as_bytes());
            }
            _ => return Err(error),
        }
    }
    String::from_utf8(bytes).map_err(|_| DraftError::NotUtf8(first_byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn bytes(draft: &Draft) -> Vec<u8> {
        draft.payload().unwrap().bytes().to_vec()
    }

    #[test]
    fn text_is_sent_as_text_and_hex_as_bytes() {
        assert_eq!(Draft::text("00 61").payload(), Ok("00 61".into()));
        assert_eq!(Draft::hex("00 61").payload(), Ok(vec![0x00, 0x61].into()));
        assert_eq!(Draft::hex("").payload(), Ok(vec![].into()), "an empty message is a message");
    }

    #[test]
    fn a_line_ending_ends_each_line() {
        let with = |ending| bytes(&Draft { ending, ..Draft::text("a\nb") });
        assert_eq!(with(LineEnding::None), b"a\nb");
        assert_eq!(with(LineEnding::Lf), b"a\nb\n");
        assert_eq!(with(LineEnding::CrLf), b"a\r\nb\r\n");
        let hex = Draft { ending: LineEnding::CrLf, ..Draft::hex("61") };
        assert_eq!(bytes(&hex), b"a", "hexadecimal digits are all bytes");
        for ending in LineEnding::ALL {
            assert_eq!(LineEnding::of_name(ending.name()), ending);
        }
    }

    #[test]
    fn escape_sequences_stand_for_characters_and_bytes() {
        let escaped = |text: &str| Draft { escapes: true, ..Draft::text(text) };
        assert_eq!(bytes(&escaped(r"a\r\n\t\0\\\x41\u{4e16}")), "a\r\n\t\0\\A世".as_bytes());
        assert_eq!(bytes(&escaped(r"\xe4\xb8\x96")), "世".as_bytes());
        assert_eq!(escaped(r"ab\q").payload(), Err(DraftError::Escape(3)));
        assert_eq!(escaped(r"\xg0").payload(), Err(DraftError::Escape(1)));
        assert_eq!(escaped(r"\u{110000}").payload(), Err(DraftError::Escape(1)));
        assert_eq!(escaped(r"\u{}").payload(), Err(DraftError::Escape(1)));
        assert_eq!(escaped(r"a\xff").payload(), Err(DraftError::NotUtf8(2)));
        assert!(escaped("a\\").is_unfinished(DraftError::Escape(2)));
        assert!(escaped(r"a\x4").is_unfinished(DraftError::Escape(2)));
        assert!(escaped(r"a\u{10ffff").is_unfinished(DraftError::Escape(2)));
        assert!(!escaped(r"a\u{10ffff0").is_unfinished(DraftError::Escape(2)));
        assert!(!escaped(r"a\q").is_unfinished(DraftError::Escape(2)));
        assert_eq!(bytes(&Draft::text(r"\n")), br"\n", "without the switch a backslash is itself");
    }

    #[test]
    fn bytes_that_are_no_text_are_not_converted() {
        assert_eq!(Draft::hex("ff").convert(Mode::Text), None);
        assert_eq!(Draft::hex("0").convert(Mode::Text), None);
        let world = Draft::hex("e4 b8 96").convert(Mode::Text);
        assert_eq!(world, Some(Draft::text("世")));
        let line = Draft::hex("61 0d 0a").convert(Mode::Text);
        assert_eq!(line, Some(Draft { escapes: true, ..Draft::text("a\\r\n") }));
    }

    #[test]
    fn one_digit_at_the_end_is_an_unfinished_byte() {
        let unfinished = |text: &str| {
            let draft = Draft::hex(text);
            draft.is_unfinished(draft.payload().unwrap_err())
        };
        assert!(unfinished("00 6"));
        assert!(!unfinished("00 6 "));
        assert!(!unfinished("0 61"));
        assert!(!unfinished("00 6g"));
    }

    proptest! {
        #[test]
        fn a_message_is_typed_and_sent_again_unchanged(text: String, binary: Vec<u8>) {
            for payload in [Payload::from(&*text), Payload::from(binary)] {
                prop_assert_eq!(Draft::of(&payload).payload(), Ok(payload));
            }
        }

        #[test]
        fn any_text_with_escapes_is_a_message_or_an_error(text: String) {
            let draft = Draft { escapes: true, ..Draft::text(&text) };
            let _either = draft.payload();
        }
    }
}
