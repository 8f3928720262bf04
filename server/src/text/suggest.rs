//! Suggestions for misspelt words.

/// The Jaro similarity (0 to 1) above which a word is suggested; clap uses the same value.
const THRESHOLD: f64 = 0.7;

/// A suffix for an error about `word`: `; did you mean "KNOWN"?` with the most similar of the
/// `known` words; empty if none is similar.
pub(crate) fn suggestion<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let similarity = |known| strsim::jaro(word, known);
    let similar = known.into_iter().filter(|known| similarity(known) > THRESHOLD);
    let nearest = similar.max_by(|a, b| similarity(a).total_cmp(&similarity(b)));
    nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_word_gets_a_suggestion_and_another_word_none() {
        let known = ["upper", "echo", "time"];
        assert_eq!(suggestion("uper", known), "; did you mean \"upper\"?");
        assert_eq!(suggestion("tmie", known), "; did you mean \"time\"?");
        assert_eq!(suggestion("lower", ["echo", "time"]), "");
        assert_eq!(suggestion("", known), "");
    }
}
