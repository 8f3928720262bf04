//! The options of framings, as the URL of a route names them.

use std::str::FromStr;

/// The largest payload of a message in framing `bytes` and `text`, in bytes.
pub const MAX_CHUNK: usize = 64 * 1024;

/// The smallest value of [`FramingOptions::chunk`], in bytes: the payload of a frame with the
/// shortest head.
pub const MIN_CHUNK: usize = 125;

/// The options of a framing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FramingOptions {
    /// Framing `bytes` and `text`: the largest payload of a message to the WebSocket peer, in bytes,
    /// [`MIN_CHUNK`] to [`MAX_CHUNK`].
    pub chunk: usize,
    /// Framing `length`: the number of bytes of the length in front of a record, 2 or 4.
    pub prefix: u8,
    /// Framing `text` and `line`: the treatment of bytes that are not valid UTF-8.
    pub invalid: InvalidText,
    /// Framing `line`: the line ending towards the stream.
    pub newline: Newline,
}

impl Default for FramingOptions {
    fn default() -> FramingOptions {
        let (invalid, newline) = (InvalidText::default(), Newline::default());
        FramingOptions { chunk: MAX_CHUNK, prefix: 4, invalid, newline }
    }
}

/// The treatment of text from a stream that is not valid UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidText {
    /// [`FramingError::InvalidUtf8`](super::FramingError::InvalidUtf8).
    #[default]
    Close,
    /// U+FFFD replaces each invalid sequence as in the WHATWG Encoding Standard
    /// ([`Framer::replace_invalid`](super::Framer::replace_invalid)).
    Replace,
    /// The line, or in framing `text` the bytes that have arrived, become a binary message.
    Binary,
}

impl FromStr for InvalidText {
    type Err = String;

    fn from_str(text: &str) -> Result<InvalidText, String> {
        match text {
            "close" => Ok(InvalidText::Close),
            "replace" => Ok(InvalidText::Replace),
            "binary" => Ok(InvalidText::Binary),
            _ => Err(format!("invalid=\"{text}\": expected close, replace or binary")),
        }
    }
}

/// The line ending towards a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newline {
    /// `\n` after a message that does not end in one; the message itself is not changed.
    #[default]
    Lf,
    /// `\r\n` after a message that does not end in `\n`, and in place of each `\n` within it
    /// that has no `\r` before it.
    CrLf,
}

impl FromStr for Newline {
    type Err = String;

    fn from_str(text: &str) -> Result<Newline, String> {
        match text {
            "lf" => Ok(Newline::Lf),
            "crlf" => Ok(Newline::CrLf),
            _ => Err(format!("newline=\"{text}\": expected lf or crlf")),
        }
    }
}
