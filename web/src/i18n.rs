//! The page's texts in all languages: each stands beside its translation, so that none can be
//! missing.

mod close_codes;
mod table;

pub use self::{
    close_codes::{advice, close_code},
    table::Texts,
};

/// A language of the page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Language {
    /// English.
    English,
    /// Simplified Chinese.
    Chinese,
}

impl Language {
    /// All languages.
    pub const ALL: [Language; 2] = [Language::English, Language::Chinese];

    /// The BCP 47 tag.
    pub fn tag(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Chinese => "zh-Hans",
        }
    }

    /// The language's name in the language itself.
    pub fn name(self) -> &'static str {
        match self {
            Language::English => "English",
            Language::Chinese => "简体中文",
        }
    }

    /// The language of a BCP 47 tag; English for languages that the page does not have.
    pub fn of(tag: &str) -> Language {
        match tag.split('-').next() {
            Some(first) if first.eq_ignore_ascii_case("zh") => Language::Chinese,
            _ => Language::English,
        }
    }

    /// The texts of the language.
    pub fn texts(self) -> &'static Texts {
        match self {
            Language::English => &table::ENGLISH,
            Language::Chinese => &table::CHINESE,
        }
    }
}

/// A text with its placeholders filled: `{0}` by the first of `parts`, and so on.
pub fn fill(sentence: &str, parts: &[&str]) -> String {
    let mut text = String::with_capacity(sentence.len() + 16);
    let mut rest = sentence;
    while let Some(at) = rest.find('{') {
        let gap = rest[at + 1..].find('}').map(|length| &rest[at + 1..at + 1 + length]);
        let part = gap.and_then(|gap| parts.get(gap.parse::<usize>().ok()?));
        let (Some(gap), Some(part)) = (gap, part) else { break };
        text.push_str(&rest[..at]);
        text.push_str(part);
        rest = &rest[at + gap.len() + 2..];
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_browsers_language_is_chosen_or_else_english() {
        assert_eq!(Language::of("zh-CN"), Language::Chinese);
        assert_eq!(Language::of("ZH"), Language::Chinese);
        assert_eq!(Language::of("de-AT"), Language::English);
        assert_eq!(Language::of(""), Language::English);
        for language in Language::ALL {
            assert_eq!(Language::of(language.tag()), language, "a choice is remembered");
        }
    }

    #[test]
    fn placeholders_are_filled_in_any_order_and_other_braces_stay() {
        assert_eq!(fill("{1} of {0}", &["a", "b"]), "b of a");
        assert_eq!(fill("{0}{0}", &["{0}"]), "{0}{0}");
        assert_eq!(fill("{2} {", &["a"]), "{2} {");
    }

    #[test]
    fn a_translation_has_the_placeholders_of_its_sentence() {
        let gaps = |text: &str| {
            let mut gaps: Vec<char> =
                text.split('{').skip(1).filter_map(|s| s.chars().next()).collect();
            gaps.sort_unstable();
            gaps.dedup();
            gaps
        };
        for (name, english, chinese) in table::ALL {
            assert_eq!(gaps(english), gaps(chinese), "{name}");
            assert!(!english.is_empty() && !chinese.is_empty(), "{name}");
        }
    }
}
