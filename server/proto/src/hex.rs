//! Hexadecimal text: encoding and decoding of bytes.
//!
//! The encoder writes `00 61 ff`. The decoder accepts digits of either case; white space, `,` `:`
//! `-` or nothing between bytes; and `0x` or `\x` in front of them, so that the output of `xxd -p`,
//! packet captures, colon-separated addresses and C arrays can be pasted unchanged.

use thiserror::Error;

/// The reason why a text is not hexadecimal. Positions are in characters, from 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum HexError {
    /// A character is neither a digit nor a separator.
    #[error("{found:?} at character {at} is not a hexadecimal digit")]
    NotADigit {
        /// The position of the character.
        at: usize,
        /// The character.
        found: char,
    },
    /// The second digit of a byte is missing.
    #[error("\"{digit}\" at character {at} is half a byte: a byte has two digits, as in 0{digit}")]
    HalfAByte {
        /// The position of the digit.
        at: usize,
        /// The digit.
        digit: char,
    },
}

/// Decodes hexadecimal text; the empty text gives no bytes.
///
/// ```
/// use echogate_proto::hex;
/// assert_eq!(hex::decode("00 61 ff"), Ok(vec![0x00, 0x61, 0xff]));
/// assert_eq!(hex::decode("6").unwrap_err().to_string(),
///     "\"6\" at character 1 is half a byte: a byte has two digits, as in 06");
/// ```
pub fn decode(text: &str) -> Result<Vec<u8>, HexError> {
    let mut bytes = Vec::with_capacity(text.len() / 2);
    let mut characters = (1..).zip(text.chars()).peekable();
    while let Some((at, c)) = characters.next() {
        if is_separator(c) {
            continue;
        }
        let next = characters.peek().map(|&(_, next)| next);
        if matches!((c, next), ('0', Some('x' | 'X')) | ('\\', Some('x'))) {
            characters.next();
            continue;
        }
        let high = c.to_digit(16).ok_or(HexError::NotADigit { at, found: c })?;
        let low = match next {
            Some(d) if d.is_ascii_hexdigit() => d.to_digit(16),
            Some(d) if !is_separator(d) && d != '\\' => {
                return Err(HexError::NotADigit { at: at + 1, found: d });
            }
            _ => None,
        };
        let low = low.ok_or(HexError::HalfAByte { at, digit: c })?;
        characters.next();
        bytes.push((high * 16 + low) as u8);
    }
    Ok(bytes)
}

/// Encodes bytes as pairs of lower-case digits, separated by spaces.
///
/// ```
/// assert_eq!(echogate_proto::hex::encode(&[0x00, 0x61, 0xff]), "00 61 ff");
/// ```
pub fn encode(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 3);
    for &byte in bytes {
        if !text.is_empty() {
            text.push(' ');
        }
        text.extend(pair(byte));
    }
    text
}

/// The two digits of a byte.
pub fn pair(byte: u8) -> [char; 2] {
    let digit = |value: u8| char::from(b"0123456789abcdef"[usize::from(value)]);
    [digit(byte >> 4), digit(byte & 15)]
}

fn is_separator(c: char) -> bool {
    c.is_whitespace() || matches!(c, ',' | ':' | '-')
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_common_ways_to_write_bytes_are_all_read() {
        for text in [
            "0061ff",
            "00 61 FF",
            "00:61:ff",
            "00-61-ff",
            "0x00, 0x61, 0XfF",
            "\\x00\\x61\\xff",
            "\n00\t61  ff ",
        ] {
            assert_eq!(decode(text), Ok(vec![0x00, 0x61, 0xff]), "{text:?}");
        }
        assert_eq!(decode(""), Ok(vec![]));
    }

    #[test]
    fn an_error_names_what_is_wrong_and_where() {
        use HexError::*;
        assert_eq!(decode("00 6g"), Err(NotADigit { at: 5, found: 'g' }));
        assert_eq!(decode("hello"), Err(NotADigit { at: 1, found: 'h' }));
        assert_eq!(decode("00 世"), Err(NotADigit { at: 4, found: '世' }));
        assert_eq!(decode("00 6 ff"), Err(HalfAByte { at: 4, digit: '6' }));
        assert_eq!(decode("00 61 f"), Err(HalfAByte { at: 7, digit: 'f' }));
        assert_eq!(decode("\\x6\\x61"), Err(HalfAByte { at: 3, digit: '6' }));
        assert_eq!(
            decode("zz").unwrap_err().to_string(),
            "'z' at character 1 is not a hexadecimal digit"
        );
    }

    proptest! {
        #[test]
        fn what_is_written_reads_back_the_same(bytes: Vec<u8>) {
            prop_assert_eq!(decode(&encode(&bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_it_panic_and_an_error_points_into_the_text(text in "[0-9a-fxX\\\\ ,:g世-]{0,24}") {
            if let Err(HexError::NotADigit { at, .. } | HexError::HalfAByte { at, .. }) = decode(&text) {
                prop_assert!((1..=text.chars().count()).contains(&at));
            }
        }
    }
}
