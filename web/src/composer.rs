//! From what is typed to what is sent.

use echogate_proto::hex::{self, HexError};

use crate::payload::Payload;

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

    proptest! {
        #[test]
        fn text_goes_to_hex_and_back_unchanged(text in "[^\r]{0,20}") {
            let hex = rewrite(&text, Mode::Text, Mode::Hex).unwrap();
            prop_assert_eq!(rewrite(&hex, Mode::Hex, Mode::Text).unwrap(), text);
        }
    }
}
