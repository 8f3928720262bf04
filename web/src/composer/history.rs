//! What was sent before, to be had again by the arrow keys, as in a shell.

use std::collections::VecDeque;

use super::Mode;

/// What was sent, and where in it somebody is.
#[derive(Debug, Default)]
pub struct History {
    sent: VecDeque<Draft>,
    /// How far back: 0 is the draft that is not sent yet.
    back: usize,
    /// The draft that somebody left to go back.
    draft: Option<Draft>,
}

/// What is in the composer, and how it is read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Draft {
    /// How the text is read.
    pub mode: Mode,
    /// The text.
    pub text: String,
}

impl History {
    /// The most messages that are remembered.
    pub const MAX: usize = 100;
    /// The longest text that is remembered, in bytes.
    pub const MAX_TEXT: usize = 1 << 16;

    /// Remembers what was sent, unless it is what was sent just before; and goes to the front.
    pub fn push(&mut self, draft: Draft) {
        self.back = 0;
        self.draft = None;
        let worth = !draft.text.is_empty() && draft.text.len() <= Self::MAX_TEXT;
        if !worth || self.sent.back() == Some(&draft) {
            return;
        }
        if self.sent.len() == Self::MAX {
            self.sent.pop_front();
        }
        self.sent.push_back(draft);
    }

    /// What was sent before what is shown; nothing at the oldest. `now` is what is shown.
    pub fn older(&mut self, now: Draft) -> Option<Draft> {
        let index = self.sent.len().checked_sub(self.back + 1)?;
        if self.back == 0 {
            self.draft = Some(now);
        }
        self.back += 1;
        Some(self.sent[index].clone())
    }

    /// What was sent after what is shown, and in the end the draft that was left.
    pub fn newer(&mut self) -> Option<Draft> {
        self.back = self.back.checked_sub(1)?;
        if self.back == 0 {
            return self.draft.take();
        }
        self.sent.get(self.sent.len() - self.back).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn draft(text: &str) -> Draft {
        Draft { mode: Mode::Text, text: text.to_owned() }
    }

    #[test]
    fn one_goes_back_and_forth_and_finds_the_draft_again() {
        let mut history = History::default();
        for text in ["a", "b", "b", ""] {
            history.push(draft(text));
        }
        assert_eq!(history.older(draft("half")), Some(draft("b")));
        assert_eq!(history.older(draft("b")), Some(draft("a")));
        assert_eq!(history.older(draft("a")), None);
        assert_eq!(history.newer(), Some(draft("b")));
        assert_eq!(history.newer(), Some(draft("half")));
        assert_eq!(history.newer(), None);
    }

    #[test]
    fn sending_goes_to_the_front() {
        let mut history = History::default();
        history.push(draft("a"));
        history.older(draft(""));
        history.push(draft("c"));
        assert_eq!(history.older(draft("")), Some(draft("c")));
    }

    #[test]
    fn it_is_bounded() {
        let mut history = History::default();
        for n in 0..2 * History::MAX {
            history.push(draft(&n.to_string()));
        }
        history.push(draft(&"x".repeat(History::MAX_TEXT + 1)));
        assert_eq!(history.sent.len(), History::MAX);
        assert_eq!(history.older(draft("")), Some(draft("199")));
    }
}
