//! The secret that operators present.

use std::{fmt, str::FromStr};

use echogate_proto::hex;
use subtle::ConstantTimeEq;

/// The minimum number of characters of a configured token.
const MIN_LEN: usize = 16;

/// The number of random bytes of a generated token.
const RANDOM: usize = 16;

/// The secret that operators present. Its `Debug` output does not contain it.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// Generates a token of 128 random bits, in hexadecimal.
    ///
    /// # Errors
    ///
    /// The system provides no random numbers.
    pub(crate) fn random() -> Result<Token, String> {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes).map_err(|e| format!("cannot generate a random token: {e}"))?;
        Ok(Token(bytes.into_iter().flat_map(hex::pair).collect()))
    }

    /// Whether `text` is the token, in a time that does not depend on where they differ.
    pub(crate) fn matches(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// The token in clear text, for the announcement at start-up.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Token, String> {
        if text.len() < MIN_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "not a token: expected at least {MIN_LEN} printable ASCII characters without spaces"
            ));
        }
        Ok(Token(text.to_owned()))
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_matches_only_itself_and_is_not_in_debug_output() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.matches("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            assert!(!token.matches(other), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        let generated = Token::random().unwrap();
        assert_eq!(generated.reveal().len(), 32);
        assert_ne!(generated, Token::random().unwrap());
    }

    #[test]
    fn a_token_that_is_easy_to_guess_is_rejected() {
        for text in ["", "short", "with spaces in between", "0123456789abcdeé"] {
            text.parse::<Token>().unwrap_err();
        }
    }
}
