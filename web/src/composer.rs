//! Typed text and the messages that it stands for.
//!
//! - [`draft`]: the text, its notation and line ending, and its message
//! - [`history`]: sent messages, recalled with the arrow keys
//! - [`template`]: ready-made messages
//! - [`pace`]: repeated sending
//! - [`transfer`]: a file sent in parts, and the comparison of its echo

pub mod draft;
pub mod history;
pub mod pace;
pub mod template;
pub mod transfer;

use echogate_proto::close::CloseCode;

pub use self::draft::{Draft, DraftError, LineEnding, Mode};

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_closes_with_1000_and_with_3000_to_4999() {
        assert_eq!(parse_close(" ", ""), Ok((CloseCode::NORMAL, String::new())));
        assert_eq!(parse_close("4001", "bye"), Ok((CloseCode(4001), "bye".to_owned())));
        for code in ["1001", "2999", "5000", "70000", "-1", "x"] {
            assert_eq!(parse_close(code, ""), Err(CloseError::Code), "{code}");
        }
        assert_eq!(parse_close("1000", &"界".repeat(42)), Err(CloseError::Reason), "126 bytes");
    }
}
