//! Repeated sending of a message.

use super::{Connection, browser};
use crate::{i18n::Texts, time::Millis};

impl Connection {
    /// Sends the repetitions that are due, and ends the repetition with the connection; returns
    /// the time of the next one.
    pub(super) fn step_repeat(&mut self, texts: &Texts, now: Millis) -> Option<Millis> {
        let (mut draft, mut pace) = self.compose.repeated.take()?;
        for _ in 0..pace.due(now) {
            if let Some(template) = self.compose.repeated_template {
                draft = template.draft(browser::now());
            }
            if !self.send_message(&draft, texts) && !self.session.state().takes_messages() {
                texts.repeat_ended.clone_into(&mut self.compose.problem);
                return None;
            }
        }
        let next = pace.next();
        self.compose.repeated = Some((draft, pace));
        Some(next)
    }
}
