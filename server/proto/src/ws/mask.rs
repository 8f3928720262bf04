//! The masking of a client's payload (RFC 6455 section 5.3): each byte is XORed with one of the
//! four bytes of a key, in turn.

/// Masks or unmasks `payload` in place, and rotates `key` to where the next bytes of the same
/// frame continue.
#[inline]
pub fn apply(payload: &mut [u8], key: &mut [u8; 4]) {
    // Little-endian: rotating the key left by n bytes is rotating this number right by 8 n bits.
    let word = u32::from_le_bytes(*key);
    let mask = |words: &mut [[u8; 4]]| {
        for bytes in words {
            *bytes = (u32::from_le_bytes(*bytes) ^ word).to_le_bytes();
        }
    };
    let (blocks, rest) = payload.as_chunks_mut::<16>();
    // A block of constant length compiles to one operation of 128 bits.
    blocks.iter_mut().for_each(|block| mask(block.as_chunks_mut().0));
    let (words, rest) = rest.as_chunks_mut();
    mask(words);
    for (byte, k) in rest.iter_mut().zip(*key) {
        *byte ^= k;
    }
    *key = word.rotate_right(8 * rest.len() as u32).to_le_bytes();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn each_byte_meets_its_key_whatever_the_pieces(
            payload: Vec<u8>, key: [u8; 4], cuts in proptest::collection::vec(0..40_usize, 0..8),
        ) {
            let expected: Vec<u8> =
                payload.iter().zip(key.iter().cycle()).map(|(byte, k)| byte ^ k).collect();
            let (mut masked, mut key) = (payload, key);
            let mut rest = masked.as_mut_slice();
            for cut in cuts {
                let (piece, behind) = rest.split_at_mut(cut.min(rest.len()));
                apply(piece, &mut key);
                rest = behind;
            }
            apply(rest, &mut key);
            prop_assert_eq!(masked, expected);
        }
    }
}
