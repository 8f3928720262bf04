//! The checksum of the file with the Chinese texts.

/// The checksum of an empty text.
pub(super) const EMPTY_SUM: u32 = 0x811c_9dc5;

/// The checksum (FNV-1a) of a text that follows others.
pub(super) const fn checksum(mut sum: u32, text: &str) -> u32 {
    let bytes = text.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        sum = (sum ^ bytes[at] as u32).wrapping_mul(0x0100_0193);
        at += 1;
    }
    sum
}
