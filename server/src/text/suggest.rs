//! What a misspelt word may have been meant to be.

/// How alike two words are at least, from 0 to 1 (Jaro), for one to be a slip of the
/// other. The command line's parser asks for the same.
const LIKENESS: f64 = 0.7;

/// A tip to be put behind a complaint of `word`, which is none of `known`; nothing if it
/// is like none of them.
pub(crate) fn tip<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> String {
    let likeness = |known| strsim::jaro(word, known);
    let alike = known.into_iter().filter(|known| likeness(known) > LIKENESS);
    let nearest = alike.max_by(|a, b| likeness(a).total_cmp(&likeness(b)));
    nearest.map_or_else(String::new, |nearest| format!("; did you mean \"{nearest}\"?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_gets_a_tip_and_another_word_none() {
        let known = ["upper", "echo", "time"];
        assert_eq!(tip("uper", known), "; did you mean \"upper\"?");
        assert_eq!(tip("tmie", known), "; did you mean \"time\"?");
        assert_eq!(tip("lower", ["echo", "time"]), "");
        assert_eq!(tip("", known), "");
    }
}
