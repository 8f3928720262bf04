//! The page's texts in all languages: each stands beside its translation, so that none can be
//! missing. English is part of the WebAssembly module; a translation is a file that the page loads
//! when it is wanted.

mod checksum;
mod close_codes;
mod reasons;
mod table;

use std::sync::OnceLock;

use echogate_proto::reason;

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

    /// The name of the file with the translation, beside the page; `None` if there is nothing to
    /// load.
    pub fn file_to_load(self) -> Option<&'static str> {
        (self == Language::Chinese && CHINESE.get().is_none()).then_some(CHINESE_FILE)
    }

    /// Takes the file with the translation, unless it is that of another version.
    pub fn load(self, file: String) {
        if self.file_to_load().is_some()
            && let Some(texts) = Texts::read(file.leak())
        {
            CHINESE.set(texts).ok();
        }
    }

    /// The texts of the language, or English texts until they are loaded.
    pub fn texts(self) -> &'static Texts {
        match self {
            Language::English => &table::ENGLISH,
            Language::Chinese => CHINESE.get().unwrap_or(&table::ENGLISH),
        }
    }
}

/// The name of the file with the Chinese texts.
pub const CHINESE_FILE: &str = "zh-Hans.txt";

static CHINESE: OnceLock<Texts> = OnceLock::new();

/// The file with the Chinese texts: one per line, in the order of the table, and then the reasons of
/// the server, each after its English template.
#[cfg(not(target_arch = "wasm32"))]
pub fn chinese_file() -> String {
    let texts = table::ALL.iter().flat_map(|(_, _, chinese)| [*chinese, "\n"]);
    let reasons = reasons::ALL.iter().flat_map(|(template, it)| [*template, "\t", *it, "\n"]);
    texts.chain(reasons).collect()
}

/// A text with its placeholders filled: `{0}` by the first of `parts`, and so on. The page has this one
/// instance of the generic function.
pub fn fill(sentence: &str, parts: &[&str]) -> String {
    reason::fill(sentence, parts)
}

#[cfg(test)]
mod tests {
    use echogate_proto::close::CloseCode;

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
            assert!(!chinese.contains(['\r', '\n']), "{name}: the file has a line for each text");
        }
    }

    #[test]
    fn numbers_have_their_noun_in_the_singular_or_plural() {
        let texts = Language::English.texts();
        let end = "the page was slower than the connection.";
        assert_eq!(texts.lost(1, 5), format!("Missing: 1 event (5 B); {end}"));
        assert_eq!(texts.lost(1200, 5000), format!("Missing: 1,200 events (5,000 B); {end}"));
    }

    #[test]
    fn a_translation_is_loaded_whole_or_not_at_all() {
        Language::Chinese.load("连接\n".to_owned());
        assert_eq!(Language::Chinese.file_to_load(), Some(CHINESE_FILE));
        assert_eq!(Language::Chinese.texts().connect, "Connect");
        let other_order: String = chinese_file().lines().rev().flat_map(|it| [it, "\n"]).collect();
        Language::Chinese.load(other_order);
        assert_eq!(Language::Chinese.texts().connect, "Connect");
        Language::Chinese.load(chinese_file());
        assert_eq!(Language::Chinese.file_to_load(), None);
        let texts = Language::Chinese.texts();
        assert_eq!((texts.language, texts.connect), (Language::Chinese, "连接"));
        assert_eq!(close_code(texts, CloseCode(1000)), "正常关闭");
    }
}
