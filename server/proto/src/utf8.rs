//! Incremental UTF-8 validation: a character may be split between two pieces.

use thiserror::Error;

/// U+FFFD, the replacement for bytes that are not valid UTF-8.
pub(crate) const REPLACEMENT: &[u8] = "\u{fffd}".as_bytes();

/// The length of an incomplete character at the end of `bytes`: 0 to 3.
pub fn cut_character(bytes: &[u8]) -> usize {
    let is_cut = |len: &usize| {
        let end = &bytes[bytes.len() - len..];
        std::str::from_utf8(end).is_err_and(|e| e.valid_up_to() == 0 && e.error_len().is_none())
    };
    (1..=bytes.len().min(3)).find(is_cut).unwrap_or(0)
}

/// The error of bytes that no continuation makes valid UTF-8.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("not valid UTF-8")]
pub struct InvalidUtf8 {
    /// The number of bytes of the piece that form complete characters before the first error.
    pub valid_up_to: usize,
}

/// A validator of UTF-8 in pieces, which stores the beginning of a character that is split between
/// two pieces.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Utf8Stream {
    partial: [u8; 4],
    len: u8,
}

impl Utf8Stream {
    /// Validates the next piece.
    ///
    /// # Errors
    ///
    /// At the first byte that cannot belong to any UTF-8 text.
    pub(crate) fn push(&mut self, mut piece: &[u8]) -> Result<(), InvalidUtf8> {
        let len = piece.len();
        while self.len > 0 {
            let Some((&byte, rest)) = piece.split_first() else { return Ok(()) };
            piece = rest;
            self.partial[usize::from(self.len)] = byte;
            self.len += 1;
            match std::str::from_utf8(self.held()) {
                Ok(_) => self.len = 0,
                Err(e) if e.error_len().is_none() => {}
                Err(_) => return Err(InvalidUtf8 { valid_up_to: 0 }),
            }
        }
        let completing = len - piece.len();
        let Err(e) = std::str::from_utf8(piece) else { return Ok(()) };
        if e.error_len().is_some() {
            return Err(InvalidUtf8 { valid_up_to: completing + e.valid_up_to() });
        }
        let tail = &piece[e.valid_up_to()..];
        self.partial[..tail.len()].copy_from_slice(tail);
        self.len = u8::try_from(tail.len()).expect("an incomplete character has at most 3 bytes");
        Ok(())
    }

    /// The bytes of an incomplete character at the end of the last piece: 0 to 3.
    pub(crate) fn held(&self) -> &[u8] {
        &self.partial[..usize::from(self.len)]
    }

    /// Ends the text and resets the validator.
    ///
    /// # Errors
    ///
    /// When the text ends within a character.
    pub(crate) fn finish(&mut self) -> Result<(), InvalidUtf8> {
        match std::mem::take(&mut self.len) {
            0 => Ok(()),
            _ => Err(InvalidUtf8 { valid_up_to: 0 }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn check(bytes: &[u8], cuts: &[usize]) -> Result<(), InvalidUtf8> {
        let mut stream = Utf8Stream::default();
        let mut rest = bytes;
        for cut in cuts {
            let (piece, behind) = rest.split_at((*cut).min(rest.len()));
            stream.push(piece)?;
            rest = behind;
        }
        stream.push(rest)?;
        stream.finish()
    }

    #[test]
    fn an_error_shows_at_the_first_byte_that_cannot_go_on() {
        // The prefix of a surrogate, U+D800: `ed` alone may still become a character.
        let mut stream = Utf8Stream::default();
        assert_eq!(stream.push(&[0xed]), Ok(()));
        assert_eq!(stream.held(), [0xed]);
        assert_eq!(stream.push(&[0xa0]), Err(InvalidUtf8 { valid_up_to: 0 }));
    }

    #[test]
    fn an_error_tells_how_much_is_valid_before_it() {
        for (before, piece, valid_up_to) in [
            (&b""[..], &b"abc\xffdef"[..], 3),
            (b"\xe2\x82", b"\xacab\xff", 3),
            (b"\xe2", b"\x82\xff", 0),
            (b"", b"a\xe2\x82\xffb", 1),
        ] {
            let mut stream = Utf8Stream::default();
            stream.push(before).unwrap();
            assert_eq!(stream.push(piece), Err(InvalidUtf8 { valid_up_to }), "{piece:?}");
        }
    }

    proptest! {
        #[test]
        fn any_pieces_give_the_result_for_the_whole(
            bytes in prop_oneof![
                any::<String>().prop_map(String::into_bytes),
                any::<Vec<u8>>(),
                proptest::collection::vec(
                    prop_oneof![Just(0xe2_u8), Just(0x82), Just(0xac), Just(0xf0), Just(0x9f), 0..=255_u8],
                    0..12,
                ),
            ],
            cuts in proptest::collection::vec(0..5_usize, 0..10),
        ) {
            prop_assert_eq!(check(&bytes, &cuts).is_ok(), std::str::from_utf8(&bytes).is_ok());
        }
    }
}
