//! Repeated sending of the composer's draft.

use super::Connection;
use crate::{i18n::Texts, time::Millis};

impl Connection {
    /// Sends the repetitions that are due, and ends the repetition with the connection; returns
    /// the time of the next one.
    pub(super) fn step_repeat(&mut self, texts: &Texts, now: Millis) -> Option<Millis> {
        let mut pace = self.compose.pace.take()?;
        let due = pace.due(now);
        let all_sent = (0..due).all(|_| self.send_draft(texts, false));
        if !all_sent && !self.session.state().takes_messages() {
            return None;
        }
        let next = pace.next();
        self.compose.pace = Some(pace);
        Some(next)
    }
}
