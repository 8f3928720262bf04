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
    /// Framing `bytes` and `text`: the largest payload of a message to the client, in bytes,
    /// [`MIN_CHUNK`] to [`MAX_CHUNK`].
    pub chunk: usize,
    /// Framing `text` and `line`: the treatment of bytes that are not valid UTF-8.
    pub invalid: InvalidText,
    /// Framing `line`: the line ending towards the upstream.
    pub newline: Newline,
}

impl Default for FramingOptions {
    fn default() -> FramingOptions {
        let (invalid, newline) = (InvalidText::default(), Newline::default());
        FramingOptions { chunk: MAX_CHUNK, invalid, newline }
    }
}

/// The treatment of text from an upstream that is not valid UTF-8.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InvalidText {
    /// [`FramingError::InvalidUtf8`](super::FramingError::InvalidUtf8).
    #[default]
    Close,
    /// U+FFFD takes the place of each sequence that is not valid, as the WHATWG Encoding
    /// Standard says. [`Framer::replace_invalid`](super::Framer::replace_invalid) does it.
    Replace,
    /// The line, or what has arrived in framing `text`, is a binary message.
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

/// The line ending towards an upstream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Newline {
    /// `\n` behind a message that does not end in one; the message itself is not changed.
    #[default]
    Lf,
    /// `\r\n` behind a message that does not end in `\n`, and in place of each `\n` within it
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
