//! From what is typed to what is sent.
//!
//! - [`history`]: what was sent before, by the arrow keys
//! - [`template`]: messages that are worth trying
//! - [`pace`]: the same again, every so often
//! - [`transfer`]: a file, piece by piece, and its echo

pub mod history;
pub mod pace;
pub mod template;
pub mod transfer;

use echogate_proto::{
    close::CloseCode,
    hex::{self, HexError},
};

use crate::{
    payload::Payload,
    words::{Words, fill},
};

/// How the composer's text is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As it is, sent as a text message.
    Text,
    /// As hexadecimal digits, sent as a binary message.
    Hex,
}

/// The message that the text stands for.
pub fn payload(mode: Mode, text: &str) -> Result<Payload, HexError> {
    match mode {
        Mode::Text => Ok(text.into()),
        Mode::Hex => hex::decode(text).map(Payload::from),
    }
}

/// Whether all that is wrong with the text is that its last byte is half typed.
pub fn is_unfinished(text: &str, problem: HexError) -> bool {
    matches!(problem, HexError::HalfAByte { at, .. } if at == text.chars().count())
}

/// What is wrong with hexadecimal digits, in a sentence.
pub fn problem(words: &Words, problem: HexError) -> String {
    match problem {
        HexError::NotADigit { at, found } => {
            fill(words.not_a_digit, &[&format!("'{found}'"), &at.to_string()])
        }
        HexError::HalfAByte { at, digit } => {
            fill(words.half_a_byte, &[&digit.to_string(), &at.to_string()])
        }
    }
}

/// The code and reason to close with, if a page may send them: 1000, which stands for nothing
/// typed, or 3000 to 4999, and at most 123 bytes. Otherwise whether it is the code that is wrong.
pub fn closing(code: &str, reason: &str) -> Result<(CloseCode, String), bool> {
    let code = match code.trim() {
        "" => CloseCode::NORMAL,
        typed => CloseCode(typed.parse().map_err(|_| true)?),
    };
    if !matches!(code.0, 1000 | 3000..=4999) {
        return Err(true);
    }
    if reason.len() > 123 {
        return Err(false);
    }
    Ok((code, reason.to_owned()))
}

/// The same message written for another mode; `None` if it cannot be: bytes that are no text, or
/// text that a text field would change (it has only one kind of line end).
pub fn rewrite(text: &str, from: Mode, to: Mode) -> Option<String> {
    let payload = payload(from, text).ok()?;
    match to {
        Mode::Hex => Some(hex::encode(payload.bytes())),
        Mode::Text => {
            let text = std::str::from_utf8(payload.bytes()).ok()?;
            (!text.contains('\r')).then(|| text.to_owned())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_sent_as_text_and_hex_as_bytes() {
        assert_eq!(payload(Mode::Text, "00 61"), Ok("00 61".into()));
        assert_eq!(payload(Mode::Hex, "00 61"), Ok(vec![0x00, 0x61].into()));
        assert_eq!(payload(Mode::Hex, ""), Ok(vec![].into()), "an empty message is a message");
    }

    #[test]
    fn what_cannot_be_written_as_text_stays_as_it_is() {
        assert_eq!(rewrite("ff", Mode::Hex, Mode::Text), None);
        assert_eq!(rewrite("0d 0a", Mode::Hex, Mode::Text), None);
        assert_eq!(rewrite("0", Mode::Hex, Mode::Text), None);
        assert_eq!(rewrite("e4 b8 96", Mode::Hex, Mode::Text).as_deref(), Some("世"));
    }

    #[test]
    fn a_byte_half_typed_at_the_end_is_not_yet_an_error() {
        let unfinished = |text| is_unfinished(text, payload(Mode::Hex, text).unwrap_err());
        assert!(unfinished("00 6"));
        assert!(!unfinished("00 6 "));
        assert!(!unfinished("0 61"));
        assert!(!unfinished("00 6g"));
    }

    #[test]
    fn a_page_closes_with_the_codes_that_are_its_own() {
        assert_eq!(closing(" ", ""), Ok((CloseCode::NORMAL, String::new())));
        assert_eq!(closing("4001", "bye"), Ok((CloseCode(4001), "bye".to_owned())));
        for code in ["1001", "2999", "5000", "70000", "-1", "x"] {
            assert_eq!(closing(code, ""), Err(true), "{code}");
        }
        assert_eq!(closing("1000", &"界".repeat(42)), Err(false), "126 bytes");
    }

    proptest! {
        #[test]
        fn text_goes_to_hex_and_back_unchanged(text in "[^\r]{0,20}") {
            let hex = rewrite(&text, Mode::Text, Mode::Hex).unwrap();
            prop_assert_eq!(rewrite(&hex, Mode::Hex, Mode::Text).unwrap(), text);
        }
    }
}
