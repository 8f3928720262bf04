//! Appending JSON to a buffer.

use data_encoding::Encoding;
use serde::Serialize;

/// Appends a value.
pub(super) fn value(out: &mut Vec<u8>, value: &impl Serialize) {
    serde_json::to_writer(out, value).expect("writing to a Vec cannot fail, and keys are text");
}

/// Appends `text` as a string if it is printable ASCII that needs no escapes. Otherwise appends
/// nothing and returns false.
pub(super) fn plain_string(out: &mut Vec<u8>, text: &[u8]) -> bool {
    // Without an early exit the compiler compares 16 bytes at once.
    let is_plain = text.iter().fold(true, |is_plain, byte| {
        is_plain & (b' '..0x7f).contains(byte) & (*byte != b'"') & (*byte != b'\\')
    });
    if is_plain {
        out.push(b'"');
        out.extend_from_slice(text);
        out.push(b'"');
    }
    is_plain
}

/// Appends a string of bytes in an encoding whose digits need no escapes.
pub(super) fn encoded_string(out: &mut Vec<u8>, encoding: &Encoding, bytes: &[u8]) {
    out.push(b'"');
    let start = out.len();
    out.resize(start + encoding.encode_len(bytes.len()), 0);
    encoding.encode_mut(bytes, &mut out[start..]);
    out.push(b'"');
}
