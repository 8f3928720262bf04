//! Suggestions for misspelt words.

use strsim::osa_distance;

/// A suffix for an error about `word`: `; did you mean "KNOWN"?` with the most similar of the
/// `known` words. The suffix is empty if no word is similar.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let similar = known.into_iter().filter(|known| is_similar(word, known));
    let nearest = similar.min_by_key(|known| osa_distance(word, known));
    nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
}

/// Whether a word may be a misspelling of a known one: at most a third of the letters differ, or
/// one letter.
pub(crate) fn is_similar(word: &str, known: &str) -> bool {
    let letters = word.chars().count().max(known.chars().count());
    osa_distance(word, known) <= (letters / 3).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_gets_a_suggestion_and_another_word_none() {
        let known = ["upper", "echo", "time"];
        assert_eq!(suggestion("uper", known), "; did you mean \"upper\"?");
        assert_eq!(suggestion("tmie", known), "; did you mean \"time\"?");
        assert_eq!(suggestion("conect", ["bench", "connect"]), "; did you mean \"connect\"?");
        assert_eq!(suggestion("lower", ["echo", "time"]), "");
        assert_eq!(suggestion("nope", ["echo", "operator"]), "");
        assert_eq!(suggestion("nosuch", ["bench", "connect"]), "");
        assert_eq!(suggestion("", known), "");
    }
}
