//! Announcements for screen readers (an ARIA live region): every change of state at once, and
//! received messages at most every [`Announcer::PAUSE`].

use crate::{
    format,
    i18n::{Texts, fill},
    time::Millis,
};

/// Collects events, and announces them a sentence at a time.
#[derive(Debug, Default)]
pub struct Announcer {
    state: Option<String>,
    /// Whether the change of state came before the messages.
    state_is_first: bool,
    messages: u64,
    latest: String,
    /// The time of the latest announcement of messages.
    announced_at: Option<Millis>,
}

impl Announcer {
    /// The time between two announcements of messages.
    pub const PAUSE: Millis = 2000.0;

    /// Announces a change of the connection's state at once, in place of one that is not announced
    /// yet.
    pub fn set_state(&mut self, sentence: String) {
        self.state = Some(sentence);
        self.state_is_first = self.messages == 0;
    }

    /// Counts a received message. The only one within [`Self::PAUSE`] is read out as `preview`.
    pub fn received(&mut self, preview: String) {
        self.messages += 1;
        self.latest = preview;
    }

    /// The announcement that is due, if any.
    pub fn announce(&mut self, texts: &Texts, now: Millis) -> Option<String> {
        if self.due()? > now {
            return None;
        }
        let messages = match std::mem::take(&mut self.messages) {
            0 => None,
            1 => Some(fill(texts.received_this, &[&std::mem::take(&mut self.latest)])),
            many => Some(texts.counted(many, texts.received_many, texts.received_many)),
        };
        if messages.is_some() {
            self.announced_at = Some(now);
        }
        let state = self.state.take();
        let both = if self.state_is_first { [state, messages] } else { [messages, state] };
        let sentences: Vec<String> = both.into_iter().flatten().collect();
        Some(format::joined(&sentences, ". "))
    }

    /// The time at which the next announcement is due; `None` if there is none.
    pub fn due(&self) -> Option<Millis> {
        match (&self.state, self.messages, self.announced_at) {
            (None, 0, _) => None,
            (Some(_), ..) | (.., None) => Some(0.0),
            (None, _, Some(last)) => Some(last + Self::PAUSE),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::i18n::Language;

    fn announce(announcer: &mut Announcer, now: Millis) -> Option<String> {
        announcer.announce(Language::English.texts(), now)
    }

    #[test]
    fn a_single_message_is_read_out() {
        let mut announcer = Announcer::default();
        announcer.received("HELLO".to_owned());
        assert_eq!(announce(&mut announcer, 0.0).as_deref(), Some("Received HELLO"));
        assert_eq!(announce(&mut announcer, 0.0), None);
    }

    #[test]
    fn a_flood_is_counted_and_announced_once_in_a_while() {
        let mut announcer = Announcer::default();
        let mut announced = Vec::new();
        for now in 0..5000 {
            announcer.received(now.to_string());
            announced.extend(announce(&mut announcer, f64::from(now)));
        }
        assert_eq!(announced, ["Received 0", "2,000 messages received", "2,000 messages received"]);
        assert_eq!(announcer.due(), Some(6000.0));
    }

    #[test]
    fn a_change_of_state_does_not_wait() {
        let mut announcer = Announcer::default();
        announcer.received("A".to_owned());
        announce(&mut announcer, 0.0);
        announcer.received("B".to_owned());
        announcer.set_state("Connection lost".to_owned());
        assert_eq!(announce(&mut announcer, 1.0).as_deref(), Some("Received B. Connection lost"));
    }

    #[test]
    fn events_are_announced_in_their_order() {
        let mut announcer = Announcer::default();
        announcer.set_state("Connected".to_owned());
        announcer.received("HELLO".to_owned());
        assert_eq!(announce(&mut announcer, 0.0).as_deref(), Some("Connected. Received HELLO"));
    }

    #[test]
    fn the_first_message_after_a_change_of_state_does_not_wait() {
        let mut announcer = Announcer::default();
        announcer.set_state("Connected".to_owned());
        announce(&mut announcer, 0.0);
        announcer.received("HELLO".to_owned());
        assert_eq!(announce(&mut announcer, 1.0).as_deref(), Some("Received HELLO"));
    }
}
