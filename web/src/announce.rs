//! What a screen reader is told: every change of state, and of the messages as many as one can
//! listen to.

use crate::{
    time::Millis,
    words::{Words, fill},
};

/// Collects what happens, and says it a sentence at a time.
#[derive(Debug, Default)]
pub struct Announcer {
    state: Option<String>,
    messages: u64,
    latest: String,
    spoken_at: Option<Millis>,
}

impl Announcer {
    /// The time between two announcements of messages.
    pub const PAUSE: Millis = 2000.0;

    /// The connection's state changed: said as soon as possible, in place of what was not said
    /// yet.
    pub fn state(&mut self, sentence: String) {
        self.state = Some(sentence);
    }

    /// A message came in. If it is the only one in a while it is read out, in these words.
    pub fn received(&mut self, words: String) {
        self.messages += 1;
        self.latest = words;
    }

    /// What is to be said now, if anything.
    pub fn speak(&mut self, words: &Words, now: Millis) -> Option<String> {
        let wait = self.wait(now)?;
        if wait > 0.0 {
            return None;
        }
        let messages = match std::mem::take(&mut self.messages) {
            0 => None,
            1 => Some(fill(words.received_this, &[&std::mem::take(&mut self.latest)])),
            many => Some(words.counted(many, words.received_many, words.received_many)),
        };
        self.spoken_at = Some(now);
        let sentences: Vec<String> = messages.into_iter().chain(self.state.take()).collect();
        Some(sentences.join(". "))
    }

    /// How long until there is something to say; `None` if nothing waits.
    pub fn wait(&self, now: Millis) -> Option<Millis> {
        match (&self.state, self.messages, self.spoken_at) {
            (None, 0, _) => None,
            (Some(_), ..) | (.., None) => Some(0.0),
            (None, _, Some(then)) => Some((then + Self::PAUSE - now).max(0.0)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Language;

    fn speak(announcer: &mut Announcer, now: Millis) -> Option<String> {
        announcer.speak(Language::English.words(), now)
    }

    #[test]
    fn a_single_message_is_read_out() {
        let mut announcer = Announcer::default();
        announcer.received("HELLO".to_owned());
        assert_eq!(speak(&mut announcer, 0.0).as_deref(), Some("Received HELLO"));
        assert_eq!(speak(&mut announcer, 0.0), None);
    }

    #[test]
    fn a_flood_is_counted_and_said_once_in_a_while() {
        let mut announcer = Announcer::default();
        let mut said = Vec::new();
        for now in 0..5000 {
            announcer.received(now.to_string());
            said.extend(speak(&mut announcer, f64::from(now)));
        }
        assert_eq!(said, ["Received 0", "2,000 messages received", "2,000 messages received"]);
        assert_eq!(announcer.wait(5000.0), Some(1000.0));
    }

    #[test]
    fn a_change_of_state_does_not_wait() {
        let mut announcer = Announcer::default();
        announcer.received("A".to_owned());
        speak(&mut announcer, 0.0);
        announcer.received("B".to_owned());
        announcer.state("Connection lost".to_owned());
        assert_eq!(speak(&mut announcer, 1.0).as_deref(), Some("Received B. Connection lost"));
    }
}
