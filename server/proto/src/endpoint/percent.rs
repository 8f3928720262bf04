//! Percent-encoding (RFC 3986 section 2.1) of the parts of an endpoint URL.

use std::fmt::Write;

use super::EndpointError;

/// Appends `bytes` to `out`. Characters in `set`, control characters, white space and invalid
/// UTF-8 are encoded; characters beyond ASCII as well, unless the text is `for_people`.
pub(super) fn encode(out: &mut String, bytes: &[u8], set: &str, for_people: bool) {
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            let is_plain = !c.is_control() && !c.is_whitespace() && !set.contains(c);
            if is_plain && (c.is_ascii() || for_people) {
                out.push(c);
            } else {
                push_encoded(out, c.encode_utf8(&mut [0; 4]).as_bytes());
            }
        }
        push_encoded(out, chunk.invalid());
    }
}

fn push_encoded(out: &mut String, bytes: &[u8]) {
    for byte in bytes {
        write!(out, "%{byte:02X}").expect("a String takes everything");
    }
}

/// Decodes `text` to bytes.
pub(super) fn decode(text: &str) -> Result<Vec<u8>, EndpointError> {
    let bad = || EndpointError::BadEscape(text.to_owned());
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, behind @ ..] = rest {
        rest = behind;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let [high, low, behind @ ..] = rest else { return Err(bad()) };
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let (high, low) = (digit(*high).ok_or_else(bad)?, digit(*low).ok_or_else(bad)?);
        bytes.push((high << 4 | low) as u8);
        rest = behind;
    }
    Ok(bytes)
}

/// Decodes `text` to UTF-8 text.
pub(super) fn decode_text(text: &str) -> Result<String, EndpointError> {
    String::from_utf8(decode(text)?).map_err(|_| EndpointError::BadEscape(text.to_owned()))
}
