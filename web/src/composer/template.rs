//! Ready-made messages.

use super::Draft;
use crate::time::Millis;

/// A ready-made message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Template {
    /// The Unix time in seconds, refreshed with each send.
    UnixTime,
    /// 64 KiB of letters.
    Large,
    /// Characters of two to four bytes, with joiners and modifiers.
    Emoji,
    /// Bytes that are not UTF-8.
    Invalid,
    /// An empty message.
    Empty,
}

impl Template {
    /// All templates.
    pub const ALL: [Template; 5] =
        [Template::UnixTime, Template::Large, Template::Emoji, Template::Invalid, Template::Empty];

    /// The template's name in the page's attributes.
    pub fn name(self) -> &'static str {
        match self {
            Template::UnixTime => "time",
            Template::Large => "large",
            Template::Emoji => "emoji",
            Template::Invalid => "invalid",
            Template::Empty => "empty",
        }
    }

    /// The draft that the template puts into the composer.
    pub fn draft(self, now: Millis) -> Draft {
        match self {
            Template::UnixTime => Draft::text(&((now / 1000.0) as u64).to_string()),
            Template::Large => {
                let letters: String = ('a'..='z').cycle().take(64 << 10).collect();
                Draft::text(&letters)
            }
            Template::Emoji => Draft::text("é ß 世界 👋 👩🏽‍🚀 🏳️‍🌈"),
            Template::Invalid => Draft::hex("68 69 20 c0 af ed a0 80 f5 ff fe"),
            Template::Empty => Draft::default(),
        }
    }

    /// Whether the draft is refreshed with each send.
    pub fn is_refreshed(self) -> bool {
        self == Template::UnixTime
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn templates_are_what_their_names_say() {
        let bytes = |template: Template| {
            template.draft(1_700_000_000_999.0).payload().unwrap().bytes().to_vec()
        };
        assert_eq!(bytes(Template::UnixTime), b"1700000000");
        assert_eq!(bytes(Template::Large).len(), 65536);
        assert!(std::str::from_utf8(&bytes(Template::Invalid)).is_err());
        assert!(bytes(Template::Emoji).len() > 20);
    }
}
