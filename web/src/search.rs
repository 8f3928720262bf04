//! The search for a text, for bytes, or for a regular expression in messages.

use std::{ops::Range, rc::Rc};

use echogate_proto::hex;

use crate::payload::Payload;

/// A function that finds a regular expression in a text, and returns the byte ranges of at most the
/// given number of hits, in order.
pub type Find = dyn Fn(&str, usize) -> Vec<Range<usize>>;

/// The text, bytes or regular expression that is searched for.
#[derive(Clone, Default)]
pub enum Query {
    /// Nothing: every message matches.
    #[default]
    Any,
    /// A text, in upper or lower case, and the bytes that it stands for if it consists of hexadecimal
    /// digits. Text messages are searched for the bytes only if the digits have spaces between them
    /// (`7b 22`): other digits are more likely a number.
    Text {
        /// The text in lower case.
        text: String,
        /// The bytes.
        bytes: Option<Vec<u8>>,
    },
    /// A regular expression.
    Pattern(Rc<Find>),
}

impl Query {
    /// A search for a text, or for everything if it is empty.
    pub fn text(text: &str) -> Query {
        if text.is_empty() {
            return Query::Any;
        }
        let bytes = hex::decode(text).ok().filter(|bytes| !bytes.is_empty());
        Query::Text { text: lower(text), bytes }
    }

    /// Whether every message matches.
    pub fn is_any(&self) -> bool {
        matches!(self, Query::Any)
    }

    /// Whether the query occurs in a message: in its characters or in its bytes.
    pub fn is_in(&self, payload: &Payload) -> bool {
        let is_text = matches!(payload, Payload::Text(_));
        if let Query::Text { text, bytes: Some(wanted) } = self
            && (!is_text || text.trim().contains(' '))
            && payload.bytes().windows(wanted.len()).any(|window| window == wanted)
        {
            return true;
        }
        self.is_in_text(&String::from_utf8_lossy(payload.bytes()))
    }

    /// Whether the query occurs in a text.
    pub fn is_in_text(&self, text: &str) -> bool {
        match self {
            Query::Any => true,
            Query::Text { text: wanted, .. } => lower(text).contains(wanted),
            Query::Pattern(find) => !find(text, 1).is_empty(),
        }
    }

    /// The byte ranges of the first hits in a text, at most `most`.
    pub fn hits(&self, text: &str, most: usize) -> Vec<Range<usize>> {
        match self {
            Query::Any => Vec::new(),
            Query::Text { text: wanted, .. } => hits(text, wanted, most),
            Query::Pattern(find) => find(text, most),
        }
    }
}

/// A text in lower case, character by character. `str::to_lowercase` would write a sigma at the end
/// of a word as `ς`, so that a search for a part of a word would miss it.
fn lower(text: &str) -> String {
    text.chars().flat_map(char::to_lowercase).collect()
}

/// The hits of a text in lower case. Lower case may have another length than the original.
fn hits(text: &str, wanted: &str, most: usize) -> Vec<Range<usize>> {
    let mut lower = String::with_capacity(text.len());
    // The range in the original of the character of each byte of the lower case.
    let mut origins = Vec::with_capacity(text.len());
    for (at, c) in text.char_indices() {
        lower.extend(c.to_lowercase());
        origins.resize(lower.len(), at..at + c.len_utf8());
    }
    let found = lower.match_indices(wanted).take(most);
    found.map(|(at, hit)| origins[at].start..origins[at + hit.len() - 1].end).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn text_is_found_in_any_case_and_in_binary_messages() {
        let query = Query::text("hELLO");
        assert!(query.is_in(&"say Hello".into()));
        assert!(query.is_in(&b"\xffhello\0".to_vec().into()));
        assert!(!query.is_in(&"hell".into()));
        assert_eq!(query.hits("Hello, hello", 9), [0..5, 7..12]);
        assert_eq!(query.hits("Hello, hello", 1).len(), 1);
    }

    #[test]
    fn a_letter_is_found_wherever_it_is_in_a_word() {
        let query = Query::text("ΟΔΟΣ");
        assert!(query.is_in_text("ΟΔΟΣΑ"));
        assert_eq!(query.hits("ΟΔΟΣ", 9).len(), 1);
    }

    #[test]
    fn hexadecimal_digits_are_found_as_bytes() {
        assert!(Query::text("61 FF").is_in(&vec![0, 0x61, 0xff].into()));
        assert!(!Query::text("61 FF").is_in(&"aÿ".into()));
        assert!(Query::text("7b 22").is_in(&r#"{"a":1}"#.into()));
        assert!(!Query::text("20").is_in(&"a b".into()), "a number in a text");
        assert!(Query::text("20").is_in(&b"a b".to_vec().into()));
    }

    #[test]
    fn a_pattern_is_asked() {
        let find = |text: &str, most: usize| {
            text.match_indices('x').take(most).map(|(at, _)| at..at + 1).collect()
        };
        let query = Query::Pattern(Rc::new(find));
        assert!(query.is_in_text("axbx") && !query.is_in_text("ab"));
        assert_eq!(query.hits("axbx", 9), [1..2, 3..4]);
    }

    proptest! {
        #[test]
        fn hits_are_ranges_of_characters_that_contain_the_text(text: String, from in 0..9usize) {
            let wanted: String = text.chars().skip(from).take(2).collect();
            for hit in Query::text(&wanted).hits(&text, usize::MAX) {
                prop_assert!(lower(&text[hit]).contains(&lower(&wanted)));
            }
        }
    }
}
