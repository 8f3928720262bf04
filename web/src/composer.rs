//! Typed text and the messages that it stands for.
//!
//! - [`history`]: sent messages, recalled with the arrow keys
//! - [`template`]: ready-made messages
//! - [`pace`]: repeated sending
//! - [`transfer`]: a file sent in parts, and the comparison of its echo

pub mod history;
pub mod pace;
pub mod template;
pub mod transfer;

use echogate_proto::{
    close::CloseCode,
    hex::{self, HexError},
};

use crate::{
    i18n::{Texts, fill},
    payload::Payload,
};

/// The notation of the composer's text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Plain text, sent as a text message.
    Text,
    /// Hexadecimal digits, sent as a binary message.
    Hex,
}

/// Converts the text to a message.
pub fn payload(mode: Mode, text: &str) -> Result<Payload, HexError> {
    match mode {
        Mode::Text => Ok(text.into()),
        Mode::Hex => hex::decode(text).map(Payload::from),
    }
}

/// Whether the only error in the text is that its last byte has one digit yet.
pub fn is_unfinished(text: &str, problem: HexError) -> bool {
    matches!(problem, HexError::HalfAByte { at, .. } if at == text.chars().count())
}

/// An error in hexadecimal digits as a sentence.
pub fn hex_error(texts: &Texts, error: HexError) -> String {
    match error {
        HexError::NotADigit { at, found } => {
            fill(texts.not_a_digit, &[&format!("'{found}'"), &at.to_string()])
        }
        HexError::HalfAByte { at, digit } => {
            fill(texts.half_a_byte, &[&digit.to_string(), &at.to_string()])
        }
    }
}

/// The error in a typed status code and reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum CloseError {
    /// The code is neither 1000 nor from 3000 to 4999.
    Code,
    /// The reason has more than 123 bytes.
    Reason,
}

/// Parses a typed status code, 1000 if it is empty, and a reason; browsers let pages send 1000 and
/// 3000 to 4999, and at most 123 bytes.
pub fn parse_close(code: &str, reason: &str) -> Result<(CloseCode, String), CloseError> {
    let code = match code.trim() {
        "" => CloseCode::NORMAL,
        typed => CloseCode(typed.parse().map_err(|_| CloseError::Code)?),
    };
    if !matches!(code.0, 1000 | 3000..=4999) {
        return Err(CloseError::Code);
    }
    if reason.len() > 123 {
        return Err(CloseError::Reason);
    }
    Ok((code, reason.to_owned()))
}

/// The same message in another mode; `None` for bytes that are not UTF-8, and for text with carriage
/// returns, which a text field would change.
pub fn convert(text: &str, from: Mode, to: Mode) -> Option<String> {
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
    fn bytes_that_a_text_field_cannot_hold_are_not_converted() {
        assert_eq!(convert("ff", Mode::Hex, Mode::Text), None);
        assert_eq!(convert("0d 0a", Mode::Hex, Mode::Text), None);
        assert_eq!(convert("0", Mode::Hex, Mode::Text), None);
        assert_eq!(convert("e4 b8 96", Mode::Hex, Mode::Text).as_deref(), Some("世"));
    }

    #[test]
    fn one_digit_at_the_end_is_an_unfinished_byte() {
        let unfinished = |text| is_unfinished(text, payload(Mode::Hex, text).unwrap_err());
        assert!(unfinished("00 6"));
        assert!(!unfinished("00 6 "));
        assert!(!unfinished("0 61"));
        assert!(!unfinished("00 6g"));
    }

    #[test]
    fn a_page_closes_with_1000_and_with_3000_to_4999() {
        assert_eq!(parse_close(" ", ""), Ok((CloseCode::NORMAL, String::new())));
        assert_eq!(parse_close("4001", "bye"), Ok((CloseCode(4001), "bye".to_owned())));
        for code in ["1001", "2999", "5000", "70000", "-1", "x"] {
            assert_eq!(parse_close(code, ""), Err(CloseError::Code), "{code}");
        }
        assert_eq!(parse_close("1000", &"界".repeat(42)), Err(CloseError::Reason), "126 bytes");
    }

    proptest! {
        #[test]
        fn text_goes_to_hex_and_back_unchanged(text in "[^\r]{0,20}") {
            let hex = convert(&text, Mode::Text, Mode::Hex).unwrap();
            prop_assert_eq!(convert(&hex, Mode::Hex, Mode::Text).unwrap(), text);
        }
    }
}
