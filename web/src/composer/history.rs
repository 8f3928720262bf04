//! Sent messages, recalled with the arrow keys as in a shell.

use std::collections::VecDeque;

use super::Draft;

/// Sent messages and the position among them.
#[derive(Debug, Default)]
pub struct History {
    sent: VecDeque<Draft>,
    /// The bytes of their texts.
    bytes: usize,
    /// Steps back in the history; 0 is the unsent draft.
    back: usize,
    /// The unsent draft while an older message is shown.
    draft: Option<Draft>,
}

impl History {
    /// The most messages that are kept.
    pub const MAX: usize = 100;
    /// The most bytes of text that are kept. The latest message stays, whatever its size.
    pub const MAX_BYTES: usize = 16 << 20;

    /// Adds a sent message, unless it equals the last one, and returns to the newest position.
    pub fn push(&mut self, draft: Draft) {
        self.back = 0;
        self.draft = None;
        if draft.text.is_empty() || self.sent.back() == Some(&draft) {
            return;
        }
        self.bytes += draft.text.len();
        self.sent.push_back(draft);
        while self.sent.len() > 1 && (self.sent.len() > Self::MAX || self.bytes > Self::MAX_BYTES) {
            self.bytes -= self.sent.pop_front().map_or(0, |oldest| oldest.text.len());
        }
    }

    /// The messages, oldest first.
    pub fn messages(&self) -> impl DoubleEndedIterator<Item = &Draft> {
        self.sent.iter()
    }

    /// The message before the one shown, `shown`; `None` at the oldest.
    pub fn older(&mut self, shown: Draft) -> Option<Draft> {
        let index = self.sent.len().checked_sub(self.back + 1)?;
        if self.back == 0 {
            self.draft = Some(shown);
        }
        self.back += 1;
        Some(self.sent[index].clone())
    }

    /// The message after the one shown, and finally the unsent draft.
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
        Draft::text(text)
    }

    #[test]
    fn the_history_leads_back_and_forth_and_to_the_draft() {
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
    fn sending_returns_to_the_newest_position() {
        let mut history = History::default();
        history.push(draft("a"));
        history.older(draft(""));
        history.push(draft("c"));
        assert_eq!(history.older(draft("")), Some(draft("c")));
    }

    #[test]
    fn the_history_is_bounded() {
        let mut history = History::default();
        for n in 0..2 * History::MAX {
            history.push(draft(&n.to_string()));
        }
        assert_eq!(history.sent.len(), History::MAX);
        assert_eq!(history.older(draft("")), Some(draft("199")));
        for _ in 0..2 {
            history.push(draft("small"));
            history.push(draft(&"x".repeat(History::MAX_BYTES)));
        }
        assert_eq!(history.sent.len(), 1, "the latest stays, whatever its size");
    }
}
