//! Ready-made messages.

use super::Mode;
use crate::{composer::history::Draft, time::Millis};

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
}

impl Template {
    /// All templates.
    pub const ALL: [Template; 4] =
        [Template::UnixTime, Template::Large, Template::Emoji, Template::Invalid];

    /// The template's name in the page's attributes.
    pub fn name(self) -> &'static str {
        match self {
            Template::UnixTime => "time",
            Template::Large => "large",
            Template::Emoji => "emoji",
            Template::Invalid => "invalid",
        }
    }

    /// The draft that the template puts into the composer.
    pub fn draft(self, now: Millis) -> Draft {
        let (mode, text) = match self {
            Template::UnixTime => (Mode::Text, ((now / 1000.0) as u64).to_string()),
            Template::Large => (Mode::Text, ('a'..='z').cycle().take(64 << 10).collect()),
            Template::Emoji => (Mode::Text, "é ß 世界 👋 👩🏽‍🚀 🏳️‍🌈".to_owned()),
            Template::Invalid => (Mode::Hex, "68 69 20 c0 af ed a0 80 f5 ff fe".to_owned()),
        };
        Draft { mode, text }
    }

    /// Whether the draft is refreshed with each send.
    pub fn is_refreshed(self) -> bool {
        self == Template::UnixTime
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::composer;

    #[test]
    fn templates_are_what_their_names_say() {
        let bytes = |template: Template| {
            let draft = template.draft(1_700_000_000_999.0);
            composer::payload(draft.mode, &draft.text).unwrap().bytes().to_vec()
        };
        assert_eq!(bytes(Template::UnixTime), b"1700000000");
        assert_eq!(bytes(Template::Large).len(), 65536);
        assert!(std::str::from_utf8(&bytes(Template::Invalid)).is_err());
        assert!(bytes(Template::Emoji).len() > 20);
    }
}
