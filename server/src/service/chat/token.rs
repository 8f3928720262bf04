//! What operators have to know.

use std::{fmt, str::FromStr};

use subtle::ConstantTimeEq;

/// The fewest characters of a token that somebody chose.
const MIN_LEN: usize = 16;

/// Random bytes of one that was made.
const RANDOM: usize = 16;

/// What operators have to know. It shows in no log.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Token(String);

impl Token {
    /// A new one, of 128 random bits in hexadecimal.
    ///
    /// # Errors
    ///
    /// When the system has no random numbers.
    pub(crate) fn random() -> Result<Token, String> {
        let mut bytes = [0; RANDOM];
        getrandom::fill(&mut bytes).map_err(|e| format!("no random numbers: {e}"))?;
        Ok(Token(bytes.iter().map(|byte| format!("{byte:02x}")).collect()))
    }

    /// Whether `text` is it. How long that takes says nothing about where they differ.
    pub(crate) fn is(&self, text: &str) -> bool {
        self.0.as_bytes().ct_eq(text.as_bytes()).into()
    }

    /// It, to be told to the person who started the server.
    pub(crate) fn reveal(&self) -> &str {
        &self.0
    }
}

impl FromStr for Token {
    type Err = String;

    fn from_str(text: &str) -> Result<Token, String> {
        if text.len() < MIN_LEN || !text.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(format!(
                "not a token: expected {MIN_LEN} or more visible ASCII characters, without spaces"
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
    fn a_token_is_itself_and_shows_nowhere() {
        let token: Token = "0123456789abcdef".parse().unwrap();
        assert!(token.is("0123456789abcdef"));
        for other in ["", "0123456789abcde", "0123456789abcdeg", "0123456789abcdef0"] {
            assert!(!token.is(other), "{other}");
        }
        assert!(!format!("{token:?}").contains("0123"));
        let made = Token::random().unwrap();
        assert_eq!(made.reveal().len(), 32);
        assert_ne!(made, Token::random().unwrap());
    }

    #[test]
    fn a_token_that_is_easy_to_guess_is_refused() {
        for text in ["", "short", "with spaces in between", "0123456789abcdeé"] {
            text.parse::<Token>().unwrap_err();
        }
    }
}
